"""The public doors of compression: from files and samples to a smaller model with its size, speed and loss measured.

    made = reconv.quantize("net.onnx", "pictures/", recipe="yolox", calibration="mse")
    made.save("small.onnx")
    made.report.measured          # milliseconds beside the original, in turns, and what the metric lost

Every door takes, beside the settings of its method (`reconv.compress` says what they are), those of `Desk`: what makes
inputs of samples, the metric and the runtime that it is measured on. Batch norm is folded first. The methods of
`reconv.compress` see graphs only; here they get what they may not import: a runtime for values inside (`values`),
samples (`samples`), the judge (`metric`) and measurements in turns (`measured`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from reconv import graph as graphs
from reconv.compress import combine
from reconv.compress.depth import drop_blocks as drop_blocks_
from reconv.compress.lowrank import factorize as factorize_
from reconv.compress.prune import prune as prune_
from reconv.compress.quantize import quantize as quantize_
from reconv.compress.result import Compressed, SizeReport
from reconv.compress.share import share_weights as share_weights_
from reconv.compress.sparse import sparsify as sparsify_
from reconv.compress.spatial import shrink_input as shrink_input_
from reconv.compress.stride import earlier_stride as earlier_stride_
from reconv.compress.train import need_torch
from reconv.compress.train.course import Course
from reconv.engine.inputs import declared_shapes
from reconv.errors import InputError, ReconvError
from reconv.graph import Graph, to_onnx
from reconv.graph import Source as ModelSource
from reconv.measure import PEERS, Job, Peer, allowed_threads
from reconv.optimize.folding import folded
from reconv.optimize.measured import drawn, paired, peer_of, quantized_for, settle_seconds
from reconv.optimize.metric import Judge, Metric, check_metric
from reconv.optimize.samples import Samples, Source, open_samples
from reconv.optimize.values import RuntimeForward

__all__ = [
    "Desk",
    "distil_quantize",
    "distill",
    "drop_blocks",
    "earlier_stride",
    "factorize",
    "prune",
    "prune_distil_quantize",
    "prune_quantize",
    "quantize",
    "share_weights",
    "shrink_input",
    "sparsify",
]

Array = np.ndarray[Any, Any]
JUDGED = 64  # samples at most that the loss is measured on
HELD_FROM = 8  # samples from which on some are held out to judge by
SECONDS = 1.0  # of the paired measurement


@dataclass(frozen=True)
class Desk:
    """What every door takes beside the settings of its method.

    recipe, size, labels: of the samples, see `reconv.optimize.samples.open_samples`; metric: see
    `reconv.optimize.metric.Judge`; target: the runtime that it is measured on, and quantized for; threads: of that
    runtime, None: as many as this process may use; fold: batch norm is folded first; measure: milliseconds and loss;
    held: share of the samples that the loss is measured on and that the method does not see (where nothing is measured,
    or with fewer than eight samples, it sees all); say: told what goes on, in a few words.

    Raises:
        InputError: ``held`` is no share.
    """

    recipe: str | None = None
    size: tuple[int, int] | None = None
    labels: Sequence[int] | None = None
    metric: Metric | None = None
    target: str = "onnxruntime"
    threads: int | None = None
    fold: bool = True
    measure: bool = True
    held: float = 0.25
    say: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        if not 0 <= self.held < 1:
            raise InputError(f"held is the share of the samples that judge, from 0 to below 1; got {self.held}")

    def parted(self, samples: Samples | None) -> tuple[Samples | None, Samples | None, str]:
        """The samples that a method is given, those that judge it, and what is to be said of them."""
        if samples is None or not self.measure:
            return samples, None, ""
        if len(samples) < HELD_FROM or not self.held:
            return samples, samples, "the loss is on the samples that the method was given"
        seen, judges = samples.split(1 - self.held, self.held)
        return seen, judges, f"the loss is on {len(judges.most(JUDGED))} samples that the method was not given"

    @property
    def count(self) -> int:
        """Threads, as a number."""
        return allowed_threads() if self.threads is None else self.threads


def quantize(source: ModelSource, samples: Source, **settings: Any) -> Compressed:
    """Weights and activations of 8 bits: `reconv.compress.quantize.quantize`.

    Args:
        source: a path, the bytes of a file, or an ``onnx.ModelProto`` (which is not changed).
        samples: a folder of pictures, an .npz or .npy, a video, or an iterable of inputs.
        settings: of the method, and those of `Desk`.

    Raises:
        ModelError: the model cannot be read, is not valid ONNX, or cannot be compressed so.
        InputError: samples or settings that do not fit.
        SourceError: samples that cannot be read.
        MissingError: a library of an extra is not installed.
    """
    desk, rest = _split(settings)
    target = quantized_for(desk.target)
    return _run(source, samples, desk, lambda g, s, f: quantize_(g, s or (), f, **{"target": target, **rest}))


def prune(source: ModelSource, samples: Source | None = None, **settings: Any) -> Compressed:
    """Whole channels removed: `reconv.compress.prune.prune`. Arguments and errors as `quantize`.

    Samples may be left out where the weights alone say what matters (``importance="magnitude"``, the default then).
    With ``importance="taylor"`` the gradients are those of the labels' loss, or of what the model itself says.
    """
    desk, rest = _split(settings)

    def call(graph: Graph, found: Samples | None, forward: RuntimeForward) -> Compressed:
        extra: dict[str, Any] = {"samples": () if found is None else found, "forward": forward}
        if rest.get("importance") == "taylor" and "gradients" not in rest:
            extra["gradients"] = _gradients(graph, found, desk)
        return prune_(graph, **{**extra, **rest})

    return _run(source, samples, desk, call)


def distill(student: ModelSource, teacher: ModelSource, samples: Source, **settings: Any) -> Compressed:
    """The student trained on what the teacher gives: `reconv.compress.train.distil.distil`. Errors as `quantize`.

    The student is any model with the teacher's inputs and outputs: a pruned one, one of low rank, a quantized one. Its
    batch norms stay as they are. Labels among the samples are used.
    """
    desk, rest = _split({"fold": False, **settings})
    above = graphs.load(teacher)

    def call(graph: Graph, found: Samples | None, forward: RuntimeForward) -> Compressed:
        del forward
        return combine.distilled(graph, above, found or (), **_lesson(rest, found, desk))

    need_torch()
    made = _run(student, samples, desk, call, beside=above)
    return made.noted(notes=(*made.report.notes, "time and loss are those of the student beside the teacher"))


def sparsify(source: ModelSource, samples: Source | None = None, **settings: Any) -> Compressed:
    """The smallest weights to zero: `reconv.compress.sparse.sparsify`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    return _run(source, samples, desk, lambda g, _s, _f: sparsify_(g, **rest))


def share_weights(source: ModelSource, samples: Source | None = None, **settings: Any) -> Compressed:
    """Weights as codes of few values: `reconv.compress.share.share_weights`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    return _run(source, samples, desk, lambda g, _s, _f: share_weights_(g, **rest))


def drop_blocks(source: ModelSource, samples: Source, **settings: Any) -> Compressed:
    """Whole residual blocks removed: `reconv.compress.depth.drop_blocks`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    return _run(source, samples, desk, lambda g, s, f: drop_blocks_(g, s or (), f, **rest))


def factorize(source: ModelSource, samples: Source | None = None, **settings: Any) -> Compressed:
    """Thin layers for thick ones: `reconv.compress.lowrank.factorize`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    return _run(source, samples, desk, lambda g, s, f: factorize_(g, samples=s or (), forward=f, **rest))


def shrink_input(source: ModelSource, samples: Source | None = None, **settings: Any) -> Compressed:
    """A smaller picture for the layers: `reconv.compress.spatial.shrink_input`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    return _run(source, samples, desk, lambda g, s, f: shrink_input_(g, samples=s or (), forward=f, **rest))


def earlier_stride(source: ModelSource, samples: Source | None = None, **settings: Any) -> Compressed:
    """A stride moved forward: `reconv.compress.stride.earlier_stride`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    return _run(source, samples, desk, lambda g, _s, _f: earlier_stride_(g, **rest))


def prune_quantize(source: ModelSource, samples: Source, **settings: Any) -> Compressed:
    """Prune, then quantize: `reconv.compress.combine.prune_quantize`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    return _run(source, samples, desk, lambda g, s, f: combine.prune_quantize(g, s or (), f, **_for(desk, rest)))


def distil_quantize(source: ModelSource, samples: Source, **settings: Any) -> Compressed:
    """Quantize, then distil: `reconv.compress.combine.distil_quantize`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    need_torch()

    def call(graph: Graph, found: Samples | None, forward: RuntimeForward) -> Compressed:
        return combine.distil_quantize(graph, found or (), forward, **_for(desk, _lessons(rest, found, desk)))

    return _run(source, samples, desk, call)


def prune_distil_quantize(source: ModelSource, samples: Source, **settings: Any) -> Compressed:
    """Prune, distil, quantize: `reconv.compress.combine.prune_distil_quantize`. Arguments and errors as `quantize`."""
    desk, rest = _split(settings)
    need_torch()

    def call(graph: Graph, found: Samples | None, forward: RuntimeForward) -> Compressed:
        return combine.prune_distil_quantize(graph, found or (), forward, **_for(desk, _lessons(rest, found, desk)))

    return _run(source, samples, desk, call)


def _split(settings: Mapping[str, Any]) -> tuple[Desk, dict[str, Any]]:
    """The settings of the desk, and those of the method."""
    common = {field.name for field in fields(Desk)}
    desk = Desk(**{key: value for key, value in settings.items() if key in common})
    return desk, {key: value for key, value in settings.items() if key not in common}


def _for(desk: Desk, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a combination, quantized for the desk's target."""
    target = {"target": quantized_for(desk.target)}
    return {**settings, "quantize": {**target, **(settings.get("quantize") or {})}}


def _lessons(settings: Mapping[str, Any], samples: Samples | None, desk: Desk) -> dict[str, Any]:
    """The settings of a combination, with those of its trainings filled in."""
    found = dict(settings)
    for key in ("distil", "aware"):
        if key == "distil" or found.get(key) is not None:
            found[key] = _lesson(found.get(key) or {}, samples, desk)
    return found


def _lesson(settings: Mapping[str, Any], samples: Samples | None, desk: Desk) -> dict[str, Any]:
    """The settings of a training: with the labels that came with the samples, on as many threads as was asked for."""
    labels = None if samples is None else samples.labels
    return {"labels": labels, "course": Course(threads=desk.count), **settings}


def _gradients(graph: Graph, samples: Samples | None, desk: Desk) -> Any:
    """What taylor importance asks for.

    Raises:
        InputError: there are no samples.
        MissingError: torch is not installed.
    """
    need_torch()
    if samples is None:
        raise InputError("importance 'taylor' needs samples: pass some inputs as the model will meet them")
    from reconv.compress.train.gradients import gradients  # noqa: PLC0415  # torch, where it is used

    desk.say("gradients of the loss")
    return gradients(graph, samples, labels=samples.labels)


Call = Callable[[Graph, "Samples | None", RuntimeForward], Compressed]


def _run(
    source: ModelSource, samples: Source | None, desk: Desk, call: Call, *, beside: Graph | None = None
) -> Compressed:
    """Open, compress, check and measure; ``beside``: what the result is compared with, where it is not the source."""
    peer_of(desk.target)
    original = graphs.load(source)
    graphs.check(original)
    found = None
    if samples is not None:
        found = open_samples(samples, original, recipe=desk.recipe, size=desk.size, labels=desk.labels)
        if desk.measure:
            check_metric(desk.metric, found)  # a mistake is told before the work and not after it
    graph = original
    if desk.fold:
        desk.say("folding batch norm")
        graph = folded(original)
    desk.say("compressing")
    seen, judges, told = desk.parted(found)
    made = call(graph, seen, RuntimeForward(desk.count))
    graphs.check(made.graph)
    sizes = {"before": SizeReport.of(original, packed=True), "after": SizeReport.of(made.graph, packed=True)}
    made = made.noted(**sizes)
    if not desk.measure:
        return made
    desk.say("measuring")
    try:
        made = made.noted(measured=_measured(beside or original, made.graph, judges, desk))
        return made.noted(notes=(*made.report.notes, told)) if told else made
    except (_UnlikeError, ReconvError) as error:  # what has been made is given all the same
        return made.noted(notes=(*made.report.notes, f"not measured: {error}"))


class _UnlikeError(Exception):
    """Both models cannot be run on the same inputs; the message says why."""


def _measured(before: Graph, after: Graph, samples: Samples | None, desk: Desk) -> dict[str, Any]:
    """Milliseconds of both, taking turns, and the loss over samples.

    Raises:
        _UnlikeError: they cannot be compared.
    """
    if samples is None:
        try:
            shapes = declared_shapes(before.inputs)
        except InputError as error:
            raise _UnlikeError(f"the model leaves sizes open, and there are no samples ({error})") from error
        frame = drawn(shapes, {info.name: info.dtype for info in before.inputs})
    else:
        shapes, frame = samples.shapes, dict(samples[0])
    declared = {info.name: info.shape for info in before.inputs}
    if declared != {info.name: info.shape for info in after.inputs}:
        raise _UnlikeError("it takes other inputs than the original")
    peer = PEERS[peer_of(desk.target)]
    found: dict[str, Any] = {"target": desk.target, "threads": desk.count}
    with tempfile.TemporaryDirectory() as folder:
        runners, loads = [], []
        for name, graph in (("before", before), ("after", after)):
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(to_onnx(graph).SerializeToString())
            job = Job(str(path), shapes, desk.count)
            runners.append(closing(peer.open(job)))
            loads.append(_load_ms(peer, job))
        found["load_ms"] = {"before": loads[0], "after": loads[1]}
        with runners[0] as first, runners[1] as second:
            settle = settle_seconds(desk.count)
            found["paired"] = paired(lambda: first(frame), lambda: second(frame), SECONDS, settle).to_json()
            if samples is not None:
                judged = samples.most(JUDGED)
                found |= _judged(judged, (first(dict(x)) for x in judged), (second(dict(x)) for x in judged), desk)
    return found


def _load_ms(peer: Peer, job: Job) -> float:
    """Milliseconds that opening takes, the shorter of two."""
    found = []
    for _ in range(2):
        start = time.perf_counter()
        runner = peer.open(job)
        found.append((time.perf_counter() - start) * 1e3)
        runner.close()
    return min(found)


def _judged(
    samples: Samples, before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]], desk: Desk
) -> dict[str, Any]:
    """The metric of both, and the error of the raw outputs."""
    judge = Judge(samples, before, desk.metric)
    verdict = judge(after)
    facts = {"metric": judge.name, "value_before": judge.of_original, "value": verdict.value, "loss": verdict.loss}
    return {**facts, "output_error": verdict.error, "samples": len(samples)}
