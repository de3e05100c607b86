"""The loop of every training: seeded, resumable in the middle of an epoch, stopped early by a held-out part.

Order, augmentation and learning rate of a step are functions of the seed and the step's number. A run that goes on from
a checkpoint therefore repeats what an uninterrupted one would have done, bit for bit on the same number of threads.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from reconv.compress.train.course import Course, Progress
from reconv.errors import InputError, SourceError, one_line
from reconv.graph import write_whole

__all__ = ["Course", "Judge", "Loss", "Outcome", "Progress", "Say", "limited_threads", "train"]

Rows: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Loss: TypeAlias = Callable[[Rows, np.random.Generator], torch.Tensor]
Judge: TypeAlias = Callable[[Rows], float]
Say: TypeAlias = Callable[[Progress], None]


@dataclass
class Outcome:
    """What came of a training. losses: mean of each epoch; judged: after each epoch; best: the epoch whose weights the
    module has now, None: the last; stopped: whether patience ended it; notes: what went wrong without harm."""

    losses: list[float] = field(default_factory=list)
    judged: list[float] = field(default_factory=list)
    best: int | None = None
    stopped: bool = False
    notes: list[str] = field(default_factory=list)


def train(
    module: nn.Module,
    count: int,
    loss: Loss,
    course: Course,
    *,
    judge: Judge | None = None,
    say: Say | None = None,
    about: str = "",
) -> Outcome:
    """Train the parameters of a module that want gradients.

    Args:
        module: changed in place.
        count: of samples; a step is told the rows of its samples, from 0 to count - 1.
        loss: (rows, random generator of the step) -> mean loss of these samples.
        course: how.
        judge: (rows of the held-out part) -> a number, lower is better; None: the mean loss over them.
        say: called after every step; what it raises ends the training, with a checkpoint if one is kept.
        about: what else decides the result (the loss, the samples): a checkpoint goes on only with the same.

    Raises:
        InputError: no samples, fewer than the held-out part leaves for training, a loss that is not finite, or a
            checkpoint of another training.
        SourceError: the checkpoint cannot be read, or the folder for it does not exist.
    """
    if course.checkpoint is not None and not Path(course.checkpoint).absolute().parent.is_dir():
        raise SourceError(f"the folder for the checkpoint {course.checkpoint} does not exist: make it first")
    if not count:
        raise InputError("there are no samples to train on")
    held = round(count * course.hold_out) if course.hold_out else 0
    if held >= count or (course.hold_out and not held):
        raise InputError(f"hold_out {course.hold_out} of {count} samples leaves nothing to train on or to judge by")
    shuffled = np.random.default_rng([course.seed, 0]).permutation(count)
    with limited_threads(course.threads):
        return _Run(
            module, np.sort(shuffled[held:]), np.sort(shuffled[:held]), loss, course, judge=judge, say=say, about=about
        ).run()


class _Run:
    def __init__(
        self, module: nn.Module, rows: Rows, held: Rows, loss: Loss, course: Course, *, judge: Judge | None,
        say: Say | None, about: str,
    ) -> None:  # fmt: skip
        self.module, self.rows, self.held, self.loss, self.course = module, rows, held, loss, course
        self.judge = judge or self._mean_loss
        self.say = say or (lambda _: None)
        weights = [p for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": course.weight_decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        kind: Any = torch.optim.AdamW if course.optimizer == "adamw" else torch.optim.SGD
        extra = {} if course.optimizer == "adamw" else {"momentum": course.momentum, "nesterov": course.momentum > 0}
        self.weights = weights
        self.optimizer: torch.optim.Optimizer = kind(groups, lr=course.learning_rate, foreach=True, **extra)
        self.steps = max(len(rows) // course.batch, 1)  # a rest smaller than a batch waits for another epoch's order
        self.total = self.steps * course.epochs
        self.step = 0
        self.running = 0.0  # sum of the losses of this epoch
        self.outcome = Outcome()
        self.best_state: dict[str, torch.Tensor] | None = None
        self.fingerprint = _fingerprint(module, course, [len(rows), len(held), about])
        self.saved_at = time.monotonic()
        self.note = ""  # for the next report of progress

    def run(self) -> Outcome:
        if self.course.resume:
            self._resume()
        while self.step < self.total and not self.outcome.stopped:
            epoch, begin = divmod(self.step, self.steps)
            order = np.random.default_rng([self.course.seed, 1, epoch]).permutation(self.rows)
            for place in range(begin, self.steps):
                self._step(order[place * self.course.batch : (place + 1) * self.course.batch])
                if self.step % self.steps:
                    self._tell()
                    if time.monotonic() - self.saved_at >= self.course.checkpoint_seconds:
                        self._save()
            self._close_epoch(epoch)
            self._save()
            self._tell()
        if self.best_state is not None:
            self.module.load_state_dict(self.best_state)
        self.module.eval()
        return self.outcome

    def _step(self, rows: Rows) -> None:
        self.module.train()
        rate = self.course.rate(self.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.course.bfloat16):
            loss = self.loss(rows, np.random.default_rng([self.course.seed, 2, self.step]))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InputError(
                f"the loss is {value} at step {self.step + 1} of {self.total}: try a lower learning_rate than "
                f"{self.course.learning_rate}, or look for samples that are not finite"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        if self.course.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self.course.clip)
        self.optimizer.step()
        self.step += 1
        self.running += value

    def _close_epoch(self, epoch: int) -> None:
        outcome = self.outcome
        outcome.losses.append(self.running / self.steps)
        self.running = 0.0
        if not len(self.held):
            return
        self.module.eval()
        with torch.no_grad():
            outcome.judged.append(float(self.judge(self.held)))
        if outcome.best is None or outcome.judged[-1] < outcome.judged[outcome.best]:
            outcome.best = epoch
            self.best_state = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
        elif self.course.patience is not None and epoch - outcome.best >= self.course.patience:
            outcome.stopped = True

    def _mean_loss(self, rows: Rows) -> float:
        batch = self.course.batch
        parts = [rows[i : i + batch] for i in range(0, len(rows), batch)]
        random = np.random.default_rng([self.course.seed, 3])
        return sum(float(self.loss(part, random)) * len(part) for part in parts) / len(rows)

    def _tell(self) -> None:
        epoch, inside = divmod(self.step, self.steps)
        losses, judged = self.outcome.losses, self.outcome.judged
        loss = self.running / inside if inside else losses[-1]
        last = judged[-1] if judged else None
        note, self.note = self.note, ""
        try:
            self.say(Progress(epoch, self.course.epochs, self.step, self.total, loss, last, note))
        except BaseException:  # between two steps, where the state is whole
            if inside:  # else it was just saved
                self._save()
            raise

    # --- checkpoints

    def _save(self) -> None:
        """Whole or not at all. A disk that is full costs the checkpoint, not the training: the last one stays."""
        if self.course.checkpoint is None:
            return
        self.saved_at = time.monotonic()
        outcome = self.outcome
        state = {
            "fingerprint": self.fingerprint,
            "step": self.step,
            "running": self.running,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_state": self.best_state,
            "outcome": [outcome.losses, outcome.judged, outcome.best, outcome.stopped, outcome.notes],
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        try:
            write_whole(Path(self.course.checkpoint), buffer.getvalue())
        except OSError as error:
            note = f"the checkpoint {self.course.checkpoint} was not written at step {self.step}: {one_line(error)}"
            if not any("was not written" in said for said in outcome.notes):
                outcome.notes.append(note)
                self.note = note

    def _resume(self) -> None:
        path = Path(self.course.checkpoint or "")
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            known = state["fingerprint"]
        except Exception as error:  # torch raises many kinds for a file that is none of its own
            raise SourceError(
                f"{path} is not a readable checkpoint: {one_line(error)}; remove it to begin anew"
            ) from error
        if known != self.fingerprint:
            raise InputError(f"{path} is of another training (other model, samples or settings); name another file")
        self.step, self.running = state["step"], state["running"]
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_state = state["best_state"]
        self.outcome = Outcome(*state["outcome"])


def _fingerprint(module: nn.Module, course: Course, besides: list[Any]) -> str:
    """Of all that decides the result and can be compared: settings, counts of samples, the weights to begin with."""
    state = hashlib.sha256(json.dumps([course.told(), besides], sort_keys=True).encode())
    for name, tensor in module.state_dict().items():
        state.update(f"{name} {tuple(tensor.shape)}".encode())
        state.update(tensor.detach().contiguous().numpy().tobytes())
    return state.hexdigest()


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """torch works on this many threads inside; None: on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
