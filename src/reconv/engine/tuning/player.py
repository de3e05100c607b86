"""Plays windows of a clip under a profile, beside the dense results of the same frames, which are made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from reconv.engine.inputs import Inputs
from reconv.engine.tolerance import Profile
from reconv.engine.tuning.factors import Trial
from reconv.engine.tuning.stretches import Window

if TYPE_CHECKING:
    from reconv.engine.model import Model

__all__ = ["Played", "Player", "Stopped", "Subject"]


class Subject(Protocol):
    """What tuning asks of a recipe (see `reconv.recipes.Recipe`)."""

    def feeds(self, frame: Any, /) -> Mapping[str, Any]:
        """Input name -> array for one frame."""

    def decode_brief(self, outputs: Mapping[str, Any], /) -> Any:
        """Outputs as a result, or as what `agreement` and `drift` need of it."""

    def agreement(self, results: Sequence[Any], dense_results: Sequence[Any], /) -> Mapping[str, float]:
        """How well results agree with dense ones, 1 where they are equal; the first measure is what is asked for."""

    def drift(self, result: Any, dense_result: Any, /) -> float:
        """How far one result is from the dense one, 0 where they are equal: smooth, for a search to follow."""


class Stopped(Exception):  # noqa: N818  # no error: the user or the budget ends the search
    """Raised out of a play that is to end."""


@dataclass(frozen=True)
class Played:
    """What a profile gave: share of the multiply-adds, drift per frame, agreement by measure, and the drift of each
    block of frames."""

    share: float
    drift: float
    agreement: Mapping[str, float]
    blocks: tuple[float, ...]

    @property
    def measure(self) -> str:
        """Name of the agreement that is asked for."""
        return next(iter(self.agreement))

    @property
    def headline(self) -> float:
        """The agreement that is asked for."""
        return next(iter(self.agreement.values()))

    @property
    def trial(self) -> Trial:
        """As the search for factors takes it."""
        return Trial(self.share, self.drift, self.blocks)

    def to_json(self) -> dict[str, Any]:
        """Share, drift and agreement."""
        agreement = {name: round(float(value), 5) for name, value in self.agreement.items()}
        return {"share": round(self.share, 5), "drift": round(self.drift, 5), "agreement": agreement}


class Player:
    """Windows of a clip, and what a dense run says of those of their frames that count."""

    def __init__(
        self, model: Model, subject: Subject, windows: Sequence[Window], check: Callable[[], None] = lambda: None
    ) -> None:
        """Runs the frames that count dense. `check` is called before each frame and may raise `Stopped`."""
        self._model, self._subject, self._check = model, subject, check
        self._windows = tuple(windows)
        self._dense = [
            {place: self._result(model.run, window.frames[place]) for place in window.counted} for window in windows
        ]

    def play(self, profile: Profile) -> Played:
        """The windows under a profile, each from a dense frame on.

        Raises:
            Stopped: as told to.
        """
        ours, right = [], []
        shares: list[list[float]] = []  # of each block
        drifts: list[list[float]] = []
        for window, dense in zip(self._windows, self._dense, strict=True):
            starts = {block.start for block in window.blocks}
            with self._model.stream(profile=profile) as stream:
                for place in window.needed:
                    outputs = self._outputs(stream, window.frames[place])
                    if place not in dense:
                        continue
                    if place in starts:
                        shares.append([])
                        drifts.append([])
                    ours.append(self._subject.decode_brief(outputs))
                    right.append(dense[place])
                    shares[-1].append(stream.last.recomputed)
                    drifts[-1].append(self._subject.drift(ours[-1], right[-1]))
        share, drift = (float(np.mean(np.concatenate(figures))) for figures in (shares, drifts))
        blocks = tuple(float(np.mean(each)) for each in drifts)
        return Played(share, drift, dict(self._subject.agreement(ours, right)), blocks)

    def _outputs(self, run: Callable[[Inputs], dict[str, Any]], frame: Any) -> dict[str, Any]:
        self._check()
        return run(dict(self._subject.feeds(frame)))

    def _result(self, run: Callable[[Inputs], dict[str, Any]], frame: Any) -> Any:
        return self._subject.decode_brief(self._outputs(run, frame))
