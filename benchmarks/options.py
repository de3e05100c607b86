"""What a suite is told: how thorough to be, and where the models and clips are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconv.measure import PEERS, Contestant, Pace, allowed_threads


@dataclass(frozen=True)
class Options:
    """tiny: small sizes and few frames, to see that a suite still runs; its figures mean nothing."""

    tiny: bool
    asset: Callable[[str], Path]
    say: Callable[[str], None]

    @property
    def threads(self) -> tuple[int, ...]:
        return (1,) if self.tiny or allowed_threads() == 1 else (1, 2)

    @property
    def pace(self) -> Pace:
        return Pace(1, 2, 0.0) if self.tiny else Pace()


def field(model: Path, threads: int, tolerance: float | None) -> list[Contestant]:
    """Our dense run and every rival that is installed, and our stream unless `tolerance` is None."""
    peers = [name for name, peer in PEERS.items() if (peer.rival or name == "reconv") and not peer.missing()]
    if tolerance is not None:
        peers.insert(1, "reconv-stream")
    return [Contestant(peer, peer, str(model), threads, tolerance or 0.0) for peer in peers]
