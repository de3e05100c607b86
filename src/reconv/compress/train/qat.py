"""Quantization-aware training: a float network is quantized, then learns, quantized, to give what it gave before.

    better = train_quantized(graph, samples, forward, course=Course(epochs=2, learning_rate=1e-4))

The codes and ranges to begin with are those of `reconv.compress.quantize`; what follows is `distil` through the QDQ
nodes (Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
2018), with scales that are fixed or learn too (`fake`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from reconv.compress.forward import Feeds, Forward
from reconv.compress.quantize import quantize
from reconv.compress.result import Compressed, Report
from reconv.compress.train.batches import check_samples
from reconv.compress.train.distil import Augment, distil
from reconv.compress.train.loop import Course, Say
from reconv.errors import InputError
from reconv.graph import Graph

__all__ = ["is_quantized", "train_quantized"]


def is_quantized(graph: Graph) -> bool:
    """Whether a graph has codes of 8 bits that training can learn through."""
    return any(node.op_type == "DequantizeLinear" for node in graph.nodes)


def train_quantized(
    graph: Graph,
    samples: Sequence[Feeds],
    forward: Forward | None = None,
    *,
    teacher: Graph | None = None,
    labels: Sequence[int] | np.ndarray[Any, Any] | None = None,
    calibrate: int = 256,
    scales: Literal["fixed", "learned"] = "learned",
    temperature: float = 4.0,
    soft: float = 0.9,
    course: Course | None = None,
    augment: Augment | None = None,
    progress: Say | None = None,
    **settings: Any,
) -> Compressed:
    """A graph of 8 bits that has learnt to make up for them.

    Args:
        graph: float, with its batch norms folded, or quantized already.
        samples: inputs as the model will meet them, each with a batch axis of 1.
        forward: runs the float graph to find its ranges.
        teacher: whose answers are learnt; None: the float graph's own.
        calibrate: how many of the samples find the ranges, evenly chosen.
        course: a tenth of the learning rate of a training from the beginning is usual.
        settings: of `reconv.compress.quantize.quantize`.
        labels, scales, temperature, soft, augment, progress: as in `distil`.

    Raises:
        InputError: a quantized graph without a teacher, a float one without ``forward``, or what `distil` and
            `quantize` refuse.
        ModelError: as `distil` and `quantize`.
    """
    check_samples(graph, samples)
    steps: list[Report] = []
    student = graph
    if is_quantized(graph):
        if teacher is None:
            raise InputError("the graph is quantized already: pass the float one as the teacher")
    else:
        if forward is None:
            raise InputError("a float graph is quantized first: pass forward, which finds the ranges of its maps")
        rows = sorted({int(row) for row in np.linspace(0, len(samples) - 1, calibrate)})
        quantized = quantize(graph, [samples[row] for row in rows], forward, **settings)
        student = quantized.graph
        steps.append(quantized.report)
    course = course or Course(epochs=2, learning_rate=1e-4)
    taught = distil(
        student, teacher or graph, samples, labels=labels, temperature=temperature, soft=soft, course=course,
        norm="frozen", scales=scales, augment=augment, progress=progress,
    )  # fmt: skip
    steps.append(taught.report)
    told = {**taught.report.settings, "calibrate": calibrate}
    report = Report.of("train_quantized", graph, taught.graph, settings=told, notes=taught.report.notes, steps=steps)
    return Compressed(taught.graph, report)
