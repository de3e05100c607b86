"""What a suite is told: how thorough to be, and where the models and clips are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconv.engine.tolerance import Profile
from reconv.measure import PEERS, Contestant, Pace, allowed_threads


@dataclass(frozen=True)
class Options:
    """tiny: small sizes and few frames, to see that a suite still runs; its figures mean nothing. only_threads: measure
    at this number of threads alone. only_model: measure models alone whose asset's name begins so (exchange), or
    networks (compression)."""

    tiny: bool
    asset: Callable[[str], Path]
    say: Callable[[str], None]
    only_threads: int | None = None
    only_model: str | None = None

    @property
    def threads(self) -> tuple[int, ...]:
        if self.only_threads is not None:
            return (self.only_threads,)
        return (1,) if self.tiny or allowed_threads() == 1 else (1, 2)

    @property
    def pace(self) -> Pace:
        return Pace(1, 2, 0.0) if self.tiny else Pace()


def field(model: Path, threads: int, streams: Mapping[str, Profile] | None = None) -> list[Contestant]:
    """Our dense run, our streams (what tells them apart, "" for the main one, and the profile) and every rival that is
    installed."""
    peers = [name for name, peer in PEERS.items() if (peer.rival or name == "reconv") and not peer.missing()]
    plain = [Contestant(peer, peer, str(model), threads) for peer in peers]
    ours = [
        Contestant(
            f"reconv-stream{words and '-'}{words}",
            "reconv-stream",
            str(model),
            threads,
            profile.tolerance,
            profile,
            f"reconv stream{words and ', '}{words}",
        )
        for words, profile in (streams or {}).items()
    ]
    return plain[:1] + ours + plain[1:]
