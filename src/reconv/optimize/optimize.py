"""`reconv.optimize`: the fastest model that keeps the user's limits, with the evidence for each of them.

Reordering comes first (`reconv.exchange`), which loses nothing. Then a sensitivity sweep says what 8 bits cost layer by
layer, and a search goes over recipes of quantization, over which layers stay float, and over every other method and
target (`reconv.optimize.arms`, `reconv.optimize.search`). Samples are dealt into three parts that share none: methods
are given the first (calibration), candidates are judged by the second, and what is returned has kept the limits once
more on the third, measured again. With a journal on disk an interrupted search goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconv import graph as graphs
from reconv.cache import Cache
from reconv.compress import METHODS
from reconv.compress.result import Method
from reconv.errors import InputError
from reconv.graph import Made
from reconv.graph import Source as ModelSource
from reconv.measure import allowed_threads
from reconv.optimize.journal import Journal
from reconv.optimize.limits import Limits
from reconv.optimize.measured import peer_of
from reconv.optimize.metric import Metric
from reconv.optimize.optimize_report import OptimizeReport
from reconv.optimize.samples import Source, open_samples
from reconv.optimize.work import Task, about, done

__all__ = ["Optimized", "optimize"]


@dataclass(frozen=True, eq=False)
class Optimized(Made):
    """What `optimize` gives: the model that keeps the limits, or, where ``met`` is False, the one that came nearest.

    profile: how it was made and is to be run, plain data: target, threads, methods with their settings, the precision
    of each layer.
    """

    report: OptimizeReport
    profile: Mapping[str, Any]

    @property
    def met(self) -> bool:
        """Whether every limit is kept."""
        return self.report.met


def optimize(
    model: ModelSource,
    samples: Source,
    limits: Limits,
    *,
    recipe: str | None = None,
    size: tuple[int, int] | None = None,
    labels: Sequence[int] | None = None,
    metric: Metric | None = None,
    target: str | Sequence[str] = "onnxruntime",
    methods: Mapping[str, Method] | None = None,
    seconds: float = 600.0,
    journal: str | os.PathLike[str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    memo: Cache | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Optimized:
    """Make a model smaller and faster within limits, and prove it.

    Args:
        model: a path, the bytes of a file, or an ``onnx.ModelProto`` (which is not changed).
        samples: what `reconv.optimize.samples.open_samples` takes: a folder, with or without a sub-folder per class,
            an .npz, a video, or a Python iterable.
        limits: what the result has to keep. Of what keeps them the fastest is given.
        recipe: what makes inputs of pictures, and its agreement where no metric is named.
        size: (height, width) of the input where the model leaves it open.
        labels: the class of each sample, where the source does not tell.
        metric: "agreement", "top1", "top1_agreement" or a function (outputs, expected) -> float, larger is better; see
            `reconv.optimize.metric`.
        target: the runtime that it is for, or several, of which the best is taken: "onnxruntime", "reconv",
            "openvino", "openvino-f32".
        methods: that may be applied; None: all of METHODS that need neither a loss nor training, but for the
            combinations, which the search puts together itself.
        seconds: of trials, after which nothing new begins; the proof of what was found comes on top.
        journal: a file where every result is kept as soon as it is there. The same call with the same journal goes on
            where it was stopped, and ends as it would have without the stop.
        seed: deals the samples.
        threads: of the target's runtime; None: as many as this process may use.
        memo: where the measurements of the exchange are kept.
        say: told what goes on, in a few words.

    Raises:
        ModelError: the model cannot be read, or is not valid ONNX.
        InputError: no samples, samples or labels that do not fit, an unknown target, metric or recipe, or a journal of
            another search.
        SourceError: samples or the journal cannot be read or written; what the journal holds is kept.
        MissingError: the target's library, or OpenCV for pictures, is not installed.
    """
    graph = graphs.load(model)
    graphs.check(graph)
    targets = (target,) if isinstance(target, str) else tuple(target)
    if not targets or not seconds > 0:
        raise InputError("name a target" if not targets else f"seconds is {seconds!r}, expected a number above 0")
    for each in targets:
        peer_of(each)
    count = allowed_threads() if threads is None else threads
    found = open_samples(samples, graph, recipe=recipe, size=size, labels=labels)
    usable = {
        name: method
        for name, method in METHODS.items()
        if method.needs <= {"samples"} and (name == "quantize" or "quantize" not in name)
    }
    known = usable if methods is None else dict(methods)
    task = Task(graph, found, limits, targets, metric, known, count, seed, seconds)
    made, report, profile = done(task, Journal(journal, about(task)), memo, say)
    return Optimized(made, report, profile)
