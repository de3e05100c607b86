"""How long, how fast and how safely to train: settings as data, and what a run reports on its way."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any, Literal

from reconv.errors import InputError

__all__ = ["Course", "Progress"]

_WARM = 0.25  # share of a one-cycle course in which the rate rises (Smith and Topin, Super-Convergence, 2019)
_FIRST, _LAST = 1 / 25, 1e-4  # of the highest rate


@dataclass(frozen=True)
class Course:
    """One training.

    epochs, batch: passes over the samples, samples per step; learning_rate: the highest; schedule: "one-cycle" rises
    for a quarter of the steps and falls to nearly nothing, "cosine" falls from the start; weight_decay: on weights
    with more than one axis; momentum: of SGD; clip: the largest norm of a step's gradients; seed: of order,
    augmentation and held-out part; hold_out: share of the samples that judges after every epoch and is not trained on;
    patience: epochs without a better judgement after which the training ends; threads: None takes torch's own number;
    bfloat16: convolutions and products in 16 bits; checkpoint: file that a state is written to, every
    ``checkpoint_seconds``, after every epoch, and when the progress callback raises; resume: go on from that file if
    it is there.
    """

    epochs: int = 10
    batch: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["one-cycle", "cosine"] = "one-cycle"
    weight_decay: float = 1e-4
    momentum: float = 0.9
    clip: float | None = None
    seed: int = 0
    hold_out: float = 0.0
    patience: int | None = None
    threads: int | None = None
    bfloat16: bool = False
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_seconds: float = 60.0
    resume: bool = False

    def __post_init__(self) -> None:
        """Raises InputError for settings that make no sense."""
        for name, least in (("epochs", 0), ("batch", 1), ("patience", 1), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise InputError(f"{name} is {value!r}, expected a whole number from {least} up")
        for name in ("learning_rate", "weight_decay", "momentum", "checkpoint_seconds"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"{name} is {getattr(self, name)!r}, expected a number from 0 up")
        if not 0 <= self.hold_out < 1:
            raise InputError(f"hold_out is {self.hold_out!r}, expected a share from 0 to below 1")
        if self.patience is not None and not self.hold_out:
            raise InputError("patience needs samples to judge by: set hold_out, for example to 0.1")
        if self.optimizer not in ("adamw", "sgd") or self.schedule not in ("one-cycle", "cosine"):
            raise InputError(
                f"optimizer {self.optimizer!r} with schedule {self.schedule!r}: expected adamw or sgd, "
                "with one-cycle or cosine"
            )
        if self.resume and self.checkpoint is None:
            raise InputError("resume needs the checkpoint to go on from")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0: a formula, so that a resumed run has the very same."""
        at = (step + 0.5) / max(steps, 1)
        if self.schedule == "one-cycle" and at < _WARM:
            return self.learning_rate * (_FIRST + (1 - _FIRST) * (1 - math.cos(math.pi * at / _WARM)) / 2)
        fallen = (at - _WARM) / (1 - _WARM) if self.schedule == "one-cycle" else at
        return self.learning_rate * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * fallen)) / 2)

    def told(self) -> dict[str, Any]:
        """What decides the result, as plain values: not where the checkpoint is, nor how many threads there are."""
        left_out = ("checkpoint", "checkpoint_seconds", "resume", "threads")
        return {name: value for name, value in asdict(self).items() if name not in left_out}


@dataclass(frozen=True)
class Progress:
    """After a step: where the training is. Steps count over all epochs; loss is the mean of this epoch so far;
    validation is the judgement after the last finished epoch (lower is better); note: what the user should know."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    validation: float | None = None
    note: str = ""
