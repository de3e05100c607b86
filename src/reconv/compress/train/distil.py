"""Distillation: a smaller, or quantized, network learns to give what the larger one gives.

    smaller = prune(graph, ratio=0.5).graph
    taught = distil(smaller, graph, samples, course=Course(epochs=10, learning_rate=1e-3))

The student is any graph whose outputs have the names of the teacher's. One with QuantizeLinear and DequantizeLinear
learns through them (straight through, `fake`), and comes back with new codes in the same nodes. Labels are used where
there are some; without them the teacher's answers are all that the student needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from reconv.compress.forward import Feeds
from reconv.compress.result import Compressed, Report
from reconv.compress.train import losses
from reconv.compress.train.batches import Runner, check_samples, digest_of, stacked
from reconv.compress.train.loop import Course, Outcome, Rows, Say, train
from reconv.compress.train.net import Net
from reconv.errors import InputError
from reconv.graph import Graph, digest

__all__ = ["Augment", "Course", "distil"]

Tensor = torch.Tensor
_JUDGED = 64  # samples at a time
Augment = Callable[[dict[str, Tensor], np.random.Generator], dict[str, Tensor]]


@dataclass(frozen=True, eq=False)
class _Settings:
    """What the loss of a batch is made of; the names are those of `distil`."""

    maps: tuple[tuple[str, str], ...]
    kinds: Mapping[str, losses.Kind]
    temperature: float
    soft: float
    map_weight: float


def distil(
    student: Graph,
    teacher: Graph,
    samples: Sequence[Feeds],
    *,
    labels: Sequence[int] | np.ndarray[Any, Any] | None = None,
    maps: Sequence[tuple[str, str]] = (),
    kinds: Mapping[str, losses.Kind] | None = None,
    temperature: float = 4.0,
    soft: float = 0.9,
    map_weight: float = 1.0,
    course: Course | None = None,
    norm: Literal["training", "frozen"] = "training",
    scales: Literal["fixed", "learned"] = "fixed",
    augment: Augment | None = None,
    progress: Say | None = None,
) -> Compressed:
    """The student with weights that it learnt from the teacher.

    Args:
        student: the graph to train; it is not changed. Pruned, of low rank, with QuantizeLinear and DequantizeLinear,
            with batch norms or without.
        teacher: with the same inputs and outputs by name, usually the network that the student was made of.
        samples: the models' inputs, each with a batch axis of 1.
        labels: a class for each sample, where the only output is one of classes.
        maps: pairs (value of the student, value of the teacher) that are pulled together too.
        kinds: how an output is compared, by name: "classes" (softened probabilities) or "values" (squared errors).
            None: see `losses.kinds_of`.
        temperature, soft: of classes: how much they are softened; the teacher's share where there are labels.
        map_weight: of each pair of maps, beside 1 for each output.
        course: how long and how fast; None is `Course()`.
        norm: whether batch norms of the student go on learning their statistics.
        scales: whether the scales of quantization learn too.
        augment: (batch by input, random generator) -> another batch of the same shapes, for student and teacher alike.
        progress: called after every step.

    Raises:
        InputError: no samples, samples or labels that do not fit, names that no value has, outputs of other names or
            shapes, or what `loop.train` refuses.
        ModelError: an operator of either graph cannot be trained.
        SourceError: a checkpoint cannot be read.
    """
    course = course or Course()
    check_samples(student, samples)
    names = [info.name for info in student.outputs]
    if missing := sorted(set(names) ^ {info.name for info in teacher.outputs}):
        raise InputError(f"student and teacher have other outputs: {missing[0]!r} is one of one of them only")
    nets = Net(student, norm=norm, scales=scales), Net(teacher).eval().requires_grad_(False)
    wanted = [[losses.logits_of(g, name) for name in names] for g in (student, teacher)]
    runners = [
        Runner(net, [*values, *(pair[side] for pair in maps)], samples)
        for side, (net, values) in enumerate(zip(nets, wanted, strict=True))
    ]
    known = _known(teacher, names, runners[1], samples, kinds)
    settings = _Settings(tuple((s, t) for s, t in maps), known, temperature, soft, map_weight)
    targets = _targets(labels, len(samples), settings, names)
    lesson = _Lesson(
        runners[0], runners[1], samples, targets=targets, outputs=list(zip(names, *wanted, strict=True)),
        settings=settings, augment=augment,
    )  # fmt: skip
    lesson.adapt(course.seed)
    about = hashlib.sha256(f"{digest(teacher)} {digest_of(samples, targets)} {settings} {scales} {norm}".encode())
    outcome = train(
        lesson,
        len(samples),
        lesson.loss,
        course,
        judge=None if targets is None else lesson.mistakes,
        say=progress,
        about=about.hexdigest(),
    )
    result = nets[0].graph()
    told = {
        "maps": [list(pair) for pair in settings.maps], "kinds": dict(known), "temperature": temperature, "soft": soft,
        "map_weight": map_weight, "labels": labels is not None, "samples": len(samples), "norm": norm, "scales": scales,
        **course.told(),
    }  # fmt: skip
    return Compressed(result, Report.of("distil", student, result, settings=told, notes=outcome_notes(outcome)))


def outcome_notes(outcome: Outcome) -> list[str]:
    """A training in sentences."""
    if not outcome.losses:
        return ["nothing was trained: epochs is 0"]
    first, last = outcome.losses[0], outcome.losses[-1]
    said = [f"loss {first:.4g} in the first epoch, {last:.4g} in the last of {len(outcome.losses)}"]
    if outcome.best is not None:
        ended = ", where it stopped early" if outcome.stopped else ""
        said.append(
            f"best on the held-out part after epoch {outcome.best + 1}: {outcome.judged[outcome.best]:.4g}{ended}"
        )
    return said + outcome.notes


def _known(
    teacher: Graph,
    names: Sequence[str],
    runner: Runner,
    samples: Sequence[Feeds],
    kinds: Mapping[str, losses.Kind] | None,
) -> dict[str, losses.Kind]:
    with torch.no_grad():
        found = runner(samples, [0])
    ranks = {name: found[value].ndim for name, value in zip(names, runner.outputs, strict=False)}
    if unknown := sorted(set(kinds or {}) - set(names)):
        raise InputError(f"kinds names {unknown[0]!r}, which is no output; the outputs are {', '.join(names)}")
    return {**losses.kinds_of(teacher, ranks), **(kinds or {})}


def _targets(labels: Any, count: int, settings: _Settings, names: Sequence[str]) -> np.ndarray[Any, Any] | None:
    if labels is None:
        return None
    found = np.asarray(labels)
    if len(names) != 1 or settings.kinds[names[0]] != "classes":
        raise InputError(
            "labels are used where the only output is one of classes (samples, classes); this model has other outputs"
        )
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer):
        raise InputError(
            f"labels are {found.dtype} {found.shape}, expected one whole number for each of {count} samples"
        )
    return found.astype(np.int64)


class _Lesson(nn.Module):
    """The student with its adapters; the teacher stands beside it, where no checkpoint sees it."""

    def __init__(
        self, student: Runner, teacher: Runner, samples: Sequence[Feeds], *, targets: np.ndarray[Any, Any] | None,
        outputs: Sequence[tuple[str, str, str]], settings: _Settings, augment: Augment | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.student_net = student.net
        self.adapters = nn.ModuleDict()
        self._student, self._teacher_of = student, [teacher]  # a list hides it from torch
        self._samples, self._targets, self._outputs = samples, targets, outputs
        self._settings, self._augment = settings, augment

    def adapt(self, seed: int) -> None:
        """Adapters where the channels of a pair of maps differ."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            student, teacher = self._student(self._samples, [0]), self._teacher_of[0](self._samples, [0])
        for place, (mine, other) in enumerate(self._settings.maps):
            s, t = student[mine], teacher[other]
            if s.ndim != t.ndim or s.ndim < 2:
                raise InputError(f"the maps {mine!r} and {other!r} have shapes {tuple(s.shape)} and {tuple(t.shape)}")
            if s.shape[1] != t.shape[1]:
                self.adapters[str(place)] = losses.Adapter(s.shape[1], t.shape[1], generator)

    def loss(self, rows: Rows, random: np.random.Generator) -> Tensor:
        settings, student, teacher = self._settings, self._student, self._teacher_of[0]
        batch = stacked(self._samples, rows) if student.together and teacher.together else None
        if self._augment is not None and self.training:
            if batch is None:
                raise InputError("augment wants samples of one size, and models that take several at once")
            batch = self._augment(batch, random)
        with torch.no_grad():
            wanted = teacher(self._samples, rows) if batch is None else teacher.on(batch)
        given = student(self._samples, rows) if batch is None else student.on(batch)
        total = torch.zeros(())
        for name, mine, other in self._outputs:
            if settings.kinds[name] == "values":
                total = total + losses.values_loss(given[mine], wanted[other])
                continue
            taught = losses.classes_loss(given[mine], wanted[other], settings.temperature)
            if self._targets is not None:
                told = losses.labels_loss(given[mine], torch.from_numpy(self._targets[rows]))
                taught = settings.soft * taught + (1 - settings.soft) * told
            total = total + taught
        for place, (mine, other) in enumerate(settings.maps):
            s, t = given[mine], wanted[other].float()
            if str(place) in self.adapters:
                s = self.adapters[str(place)](s)
            if s.shape[2:] != t.shape[2:] and t.ndim == 4:
                t = F.adaptive_avg_pool2d(t, (int(s.shape[2]), int(s.shape[3])))
            total = total + settings.map_weight * losses.values_loss(s, t)
        return total

    def mistakes(self, rows: Rows) -> float:
        """The share of wrong classes."""
        assert self._targets is not None
        wrong = 0
        for part in np.split(rows, range(_JUDGED, len(rows), _JUDGED)):
            given = self._student(self._samples, part)[self._outputs[0][1]]
            wrong += int((given.argmax(-1).numpy() != self._targets[part]).sum())
        return wrong / len(rows)
