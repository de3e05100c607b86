"""Metrics: one number for how good the outputs over many samples are, larger is better.

- ``agreement``: a recipe's own agreement with the original's results, its headline figure (F1 of boxes, say);
- ``top1``: the share of samples whose best class is the label;
- ``top1_agreement``: the share whose best class is the original's;
- a Python function ``(outputs, expected) -> float`` over all samples at once: ``outputs`` is a list of dicts (output
  name -> array), ``expected`` the labels where there are any, else the original's outputs.

The loss of a candidate is what the metric fell by against the original, in the metric's own unit: points for shares.
Beside it stands the error of the raw outputs, which tells candidates apart where the metric does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from reconv.errors import InputError
from reconv.optimize.samples import Samples
from reconv.recipes import RECIPES

__all__ = ["METRICS", "Function", "Judge", "Metric", "Verdict", "check_metric", "output_error"]

Array = np.ndarray[Any, Any]
Outputs: TypeAlias = Mapping[str, Any]
Function: TypeAlias = Callable[[list[dict[str, Any]], list[Any]], float]
Metric: TypeAlias = str | Function
METRICS = ("agreement", "top1", "top1_agreement")


@dataclass(frozen=True)
class Verdict:
    """value: of the metric; loss: what it fell by against the original; error: of the raw outputs (`output_error`),
    the mean over samples; finite: whether every output is a number."""

    value: float
    loss: float
    error: float
    finite: bool = True


class Judge:
    """A metric over samples, with what the original gives for them."""

    def __init__(self, samples: Samples, original: Iterable[Outputs], metric: Metric | None = None) -> None:
        """
        Args:
            samples: what is judged by.
            original: the untouched model's outputs for them, in their order.
            metric: a name of METRICS or a function; None: "top1" with labels, "agreement" with a recipe other than
                "raw", "top1_agreement" for what looks like a classifier, and the raw recipe's agreement otherwise.

        Raises:
            InputError: an unknown metric, or one that does not fit the samples or the outputs.
        """
        self.samples = samples
        self._outputs = [_plain(outputs) for outputs in original]
        if len(self._outputs) != len(samples):
            raise InputError(f"{len(samples)} samples, but outputs for {len(self._outputs)}")
        self._metric = _default(samples, self._outputs[0]) if metric is None else metric
        check_metric(self._metric, samples)
        if self._metric == "top1":
            _check_labels(samples, self._outputs[0])
        self._expected = self._results(self._outputs)
        self.of_original = self._score(self._expected)
        if not np.isfinite(self.of_original):
            raise InputError(
                f"the metric {self.name} gives {self.of_original} for the untouched model: expected a number"
            )

    @property
    def name(self) -> str:
        """For tables."""
        metric = self._metric
        return metric if isinstance(metric, str) else getattr(metric, "__name__", "function")

    def some(self, share: float) -> Judge:
        """The same on a share of the samples, evenly spread."""
        count = max(1, round(share * len(self.samples)))
        places = sorted({int(i * len(self.samples) / count) for i in range(count)})
        return Judge(self.samples.take(places), [self._outputs[i] for i in places], self._metric)

    def __call__(self, outputs: Iterable[Outputs]) -> Verdict:
        """The verdict on a candidate's outputs for the same samples, in their order.

        Raises:
            InputError: outputs are missing, or the metric's function fails on them.
        """
        found = [_plain(each) for each in outputs]
        errors = [output_error(right, ours) for right, ours in zip(self._outputs, found, strict=True)]
        finite = bool(np.isfinite(errors).all())
        value = self._score(self._results(found)) if finite else float("-inf")
        loss = self.of_original - value if np.isfinite(value) else float("inf")
        return Verdict(value, loss, float(np.mean(errors)), finite and bool(np.isfinite(value)))

    def _results(self, outputs: Sequence[dict[str, Any]]) -> list[Any]:
        """What the metric looks at, sample by sample."""
        if self._metric == "agreement":
            return [self._decoder(i).decode_brief(each) for i, each in enumerate(outputs)]
        if isinstance(self._metric, str):
            return [_best(each) for each in outputs]
        return list(outputs)

    def _score(self, results: list[Any]) -> float:
        if self._metric == "agreement":
            expected = getattr(self, "_expected", results)
            return float(next(iter(self._decoder(0).agreement(results, expected).values())))
        if self._metric == "top1":
            labels = self.samples.labels or ()
            return float(np.mean([a == (b,) * len(a) for a, b in zip(results, labels, strict=True)]))
        if self._metric == "top1_agreement":
            return float(np.mean([a == b for a, b in zip(results, getattr(self, "_expected", results), strict=True)]))
        assert callable(self._metric)
        expected = self._outputs if self.samples.labels is None else list(self.samples.labels)
        try:
            return float(self._metric(results, expected))
        except Exception as error:  # whatever a user's function may raise
            raise InputError(f"the metric {self.name} failed: {type(error).__name__}: {error}") from error

    def _decoder(self, index: int) -> Any:
        found = self.samples.decoder(index)
        return RECIPES["raw"](self.samples.input, None, None) if found is None else found


def output_error(right: Outputs, ours: Outputs) -> float:
    """Root mean square of the difference over that of the right values, the mean over outputs of floats; infinite where
    a value is no number though the right one is, or where shapes differ."""
    found = []
    for name, expected in right.items():
        if not isinstance(expected, np.ndarray) or expected.dtype.kind != "f":
            continue
        got = ours.get(name)
        if not isinstance(got, np.ndarray) or got.shape != expected.shape:
            return float("inf")
        a, b = expected.astype(np.float64), got.astype(np.float64)
        known = np.isfinite(a)
        if not np.isfinite(b[known]).all():
            return float("inf")
        noise, power = float(np.square(b[known] - a[known]).sum()), float(np.square(a[known]).sum())
        found.append(np.sqrt(noise / power) if power else (0.0 if noise == 0 else float("inf")))
    return float(np.mean(found)) if found else 0.0


def _plain(outputs: Outputs) -> dict[str, Any]:
    return dict(outputs)


def _classes(outputs: Outputs) -> Array | None:
    """The first output that has classes along its second axis and nothing else: (items, classes, 1, ...)."""
    for array in outputs.values():
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.ndim >= 2 and array.shape[1] > 1:
            rest = array.shape[2:]
            if all(size == 1 for size in rest):
                return array.reshape(array.shape[:2])
    return None


def _best(outputs: Outputs) -> tuple[int, ...]:
    found = _classes(outputs)
    if found is None:
        shapes = ", ".join(f"{name} {np.shape(array)}" for name, array in outputs.items())
        raise InputError(f"top-1 needs an output of floats (items, classes), the model gives {shapes}")
    return tuple(int(i) for i in found.argmax(1))


def _default(samples: Samples, outputs: Outputs) -> str:
    if samples.labels is not None:
        return "top1"
    if samples.recipe not in ("", "raw"):
        return "agreement"
    return "top1_agreement" if len(outputs) == 1 and _classes(outputs) is not None else "agreement"


def check_metric(metric: Metric | None, samples: Samples) -> None:
    """What can be said against a metric before a model has run.

    Raises:
        InputError: there is none of that name, or the samples lack what it needs.
    """
    if isinstance(metric, str) and metric not in METRICS:
        raise InputError(f"no metric is called {metric!r}; there are {', '.join(METRICS)}, or pass a function")
    if metric == "top1" and samples.labels is None:
        raise InputError("the metric top1 needs labels: a folder with a sub-folder for each class, or labels=")


def _check_labels(samples: Samples, outputs: Outputs) -> None:
    found = _classes(outputs)
    count = 0 if found is None else found.shape[1]
    wrong = [label for label in samples.labels or () if not 0 <= label < count]
    if found is not None and wrong:
        raise InputError(f"a label is {wrong[0]}, but the model's output has the classes 0 to {count - 1}")
