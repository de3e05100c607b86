"""The steps of `reconv.optimize`, one after the other, each of which the journal may know already."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from reconv import graph as graphs
from reconv.cache import Cache
from reconv.compress.quantize.quantize import OPSET
from reconv.compress.quantize.scheme import Scheme
from reconv.compress.result import Method
from reconv.errors import ReconvError, SourceError, one_line
from reconv.graph import Graph, load, multiply_adds, to_onnx, write_whole
from reconv.graph.opset import at_least_opset
from reconv.graph.shapes import infer
from reconv.measure import environment
from reconv.optimize.arms import Arm, Halving, Ladder, Notes
from reconv.optimize.exchange import exchange
from reconv.optimize.folding import folded
from reconv.optimize.journal import Journal
from reconv.optimize.layerwise import layer_names, one_by_one
from reconv.optimize.limits import Limits, evidence
from reconv.optimize.measured import quantized_for
from reconv.optimize.metric import Judge, Metric
from reconv.optimize.optimize_report import Baseline, OptimizeReport, OptimizeSetting, Proved, profile_of
from reconv.optimize.samples import Samples
from reconv.optimize.search import Found, search
from reconv.optimize.sensitivity import CACHE_BYTES, Runs, Sensitivity, sensitivities
from reconv.optimize.trial import Bench, Candidate, Trial
from reconv.optimize.values import RuntimeForward
from reconv.reuse.keys import derived_key, input_digest

__all__ = ["Task", "about", "done"]

Say = Callable[[str], None]
FIT, SWEPT, RANGED = 24, 16, 8  # samples at most: methods are given, the sweep runs over, its ranges come from
SHARES = (0.4, 0.3, 0.3)  # of the samples: for methods, to judge by, for the proof
FINALISTS = 6  # that may fail the proof before a limit counts as one that cannot be met
EXCHANGE_SHARE, EXCHANGE_SECONDS = 0.2, 120.0  # of the time, and at most
RECIPES: tuple[Mapping[str, Any], ...] = (
    {"calibration": "mse", "equalize": False},
    {"calibration": "mse", "equalize": True},
    {"calibration": "percentile", "equalize": False},
    {"calibration": "percentile", "equalize": True},
    {"calibration": "minmax", "equalize": False},
    {"calibration": "entropy", "equalize": False},
)
HOW = {
    "max_degradation": "the metric on samples that nothing was chosen by but which of the last few models is given",
    "max_size_bytes": "the file",
    "max_latency_ms": "median of runs in turns with the untouched model, in sessions of their own",
    "max_memory_bytes": "growth of a process of its own that opens the model and runs it",
}


@dataclass(frozen=True, eq=False)
class Task:
    """What was asked for, checked."""

    graph: Graph
    samples: Samples
    limits: Limits
    targets: tuple[str, ...]
    metric: Metric | None
    methods: Mapping[str, Method]
    threads: int
    seed: int
    seconds: float


@dataclass(frozen=True)
class Base:
    """What candidates are made of: the model as reordering left it. said: what that did."""

    graph: Graph
    said: str
    seconds: float


def about(task: Task) -> str:
    """Digest of all that the results of a search depend on; the time it may take is none of it."""
    parts = [task.limits.to_json(), task.targets, _told(task.metric), sorted(task.methods), task.threads, task.seed]
    parts += [sorted(environment().items())]  # times belong to a machine and its versions
    parts += [task.samples.recipe, task.samples.labels, task.samples.ordered]
    state = hashlib.blake2b(repr(parts).encode(), digest_size=16)
    for feeds in task.samples:
        state.update(input_digest(feeds))
    return derived_key("optimize", graphs.digest(task.graph), state.digest()).hex()


def _told(metric: Metric | None) -> str:
    """What tells a metric from others: its name, and of a function what it does and what it has taken along."""
    if metric is None or isinstance(metric, str):
        return str(metric)
    code = getattr(metric, "__code__", None)
    if code is None:
        return f"{type(metric).__qualname__} {metric!r}"  # an object of its own: told apart by how it shows itself
    held = [cell.cell_contents for cell in getattr(metric, "__closure__", None) or ()]
    return repr((metric.__module__, metric.__qualname__, code.co_code, code.co_names, code.co_consts, held))


def done(task: Task, journal: Journal, memo: Cache | None, say: Say) -> tuple[Graph, OptimizeReport, Mapping[str, Any]]:
    """The model, the report and the profile."""
    samples, shares = task.samples, SHARES
    fit, judged, proof = samples.split(*shares, seed=task.seed)
    fit, shapes = fit.most(FIT), samples.shapes
    say("the untouched model")
    right = _outputs(task, {"judged": judged, "proof": proof})
    judge, prover = (Judge(part, right[name], task.metric) for name, part in (("judged", judged), ("proof", proof)))
    base = based(task, fit, journal, memo, say)
    forward = RuntimeForward(task.threads)
    costs = swept(task, base.graph, fit, journal, say)
    spent = base.seconds + sum(value["seconds"] for key, value in journal.items() if key.startswith("sensitivity "))
    bench = Bench(
        base.graph,
        task.graph,
        fit,
        judge,
        methods=task.methods,
        forward=forward,
        threads=task.threads,
        memory=task.limits.max_memory_bytes is not None,
        journal=journal,
        say=say,
    )
    try:
        firsts = [Candidate((), target) for target in task.targets]
        arms = _arms(task, base.graph, costs, shapes)
        found = search(bench.trial, firsts, arms, task.limits, seconds=task.seconds, spent=spent)
        say("proving the result")
        proved = _proved(task, bench, found, prover)
        best = proved[-1].trial
        graph = bench.graph(best.candidate.steps)
    finally:
        bench.close()
    precision = _precision(graph)
    setting = OptimizeSetting(
        task.targets,
        task.limits,
        judge.name,
        (len(fit), len(judged), len(proof)),
        len(samples) < len(shares),
        task.threads,
        task.seconds,
        shapes,
    )
    seen = [*found.trials, *(each.trial for each in proved)]
    closest = {
        each.limit: min(value for trial in seen if (value := trial.figures.of(each.limit)) is not None)
        for each in proved[-1].evidence
        if not each.met
    }
    baseline = Baseline(prover.of_original, len(to_onnx(task.graph).SerializeToString()), base.said)
    report = OptimizeReport(
        setting,
        baseline,
        tuple(costs),
        found.trials,
        found.turns,
        tuple(proved),
        closest,
        precision,
        spent + sum(trial.seconds for trial in found.trials),
        found.complete,
        _notes(task, found, fit),
    )
    return graph, report, profile_of(best.candidate, precision, graphs.digest(graph), task.threads)


def _outputs(task: Task, parts: Mapping[str, Samples]) -> dict[str, list[Any]]:
    """The untouched model's, on ONNX Runtime."""
    session = RuntimeForward(task.threads)
    names = [info.name for info in task.graph.outputs]
    return {name: list(session(task.graph, names, part)) for name, part in parts.items()}


def based(task: Task, fit: Samples, journal: Journal, memo: Cache | None, say: Say) -> Base:
    """The model reordered for the first target, if that pays; kept beside the journal, since it rests on measurements.

    Raises:
        SourceError: the model beside the journal cannot be written or read.
    """
    path = None if journal.path is None else Path(f"{journal.path}.onnx")
    if "base" not in journal:
        say(f"reordering for {task.targets[0]}")
        start = time.perf_counter()
        said, graph = _exchanged(task, fit, memo)
        if path is not None and graph is not None:
            try:
                write_whole(path, to_onnx(graph).SerializeToString())
            except OSError as error:
                reason = error.strerror or one_line(error)
                raise SourceError(f"{path} cannot be written: {reason}; make room") from error
        seconds = round(time.perf_counter() - start, 3)
        digest = "" if graph is None else graphs.digest(graph)
        journal.add("base", {"said": said, "digest": digest, "seconds": seconds})
    else:
        graph = None
        if journal["base"]["digest"]:
            graph = load(path) if path is not None and path.exists() else None
            if graph is None or graphs.digest(graph) != journal["base"]["digest"]:
                raise SourceError(
                    f"{path}, which belongs to the journal, is not there any more: remove the journal too"
                )
    known = journal["base"]
    made = task.graph if graph is None else graph
    with suppress(ReconvError):  # quantization will say the same where it is tried
        made = at_least_opset(folded(made), OPSET)
    return Base(made, known["said"], known["seconds"])


def _exchanged(task: Task, fit: Samples, memo: Cache | None) -> tuple[str, Graph | None]:
    room = min(EXCHANGE_SHARE * task.seconds, EXCHANGE_SECONDS)
    model = to_onnx(task.graph)
    frames = [dict(fit[0])]
    shapes = task.samples.shapes
    try:
        found = exchange(
            model, target=task.targets[0], shapes=shapes, threads=task.threads, samples=frames, memo=memo, seconds=room
        )
    except ReconvError as error:
        return f"not reordered: {one_line(error)}", None
    if not found.report.applied:
        return f"not reordered: {found.report.reason}", None
    swaps = sum(found.report.counts.values())
    whole = found.report.whole
    gain = "" if whole is None else f", {whole.ratio:.3f} of the time"
    return f"{swaps} swap{'s' * (swaps != 1)}{gain}", load(to_onnx(found.graph))


def swept(task: Task, base: Graph, fit: Samples, journal: Journal, say: Say) -> list[Sensitivity]:
    """What 8 bits cost layer by layer; nothing where no layer can be quantized or nobody may quantize."""
    layers = layer_names(base) if "quantize" in task.methods else ()
    known = {f"sensitivity {name}": name for name in layers}
    if all(key in journal for key in known):
        return [Sensitivity(name, journal[key]["loss"], journal[key]["error"]) for key, name in known.items()]
    few = fit.most(SWEPT)
    made_for = quantized_for(task.targets[0])
    variants = one_by_one(base, few.most(RANGED), RuntimeForward(task.threads), Scheme(target=made_for))
    runs = Runs(base, few, layers, Cache(CACHE_BYTES, "lru"), task.threads)
    return sensitivities(runs, variants, Judge(few, runs.original(), task.metric), journal=journal, say=say)


def _arms(task: Task, base: Graph, costs: list[Sensitivity], shapes: Mapping[str, tuple[int, ...]]) -> list[Arm]:
    names = [info.name for info in base.inputs]
    made = {name for node in base.nodes for name in node.outputs}
    outputs = [info.name for info in base.outputs if info.name in made]
    sizes = infer(graphs.extract(base, names, outputs, shapes))
    work = {node.name: multiply_adds(node, sizes) or 0 for node in base.nodes}
    order = sorted(costs, key=lambda c: (-c.error, c.layer))
    per_work = sorted(costs, key=lambda c: (-c.error / max(work.get(c.layer, 0), 1), c.layer))
    orders = {"error": [c.layer for c in order], "error per work": [c.layer for c in per_work]}
    limit = task.limits.max_degradation

    def within(trial: Trial) -> bool:
        return limit is None or trial.loss <= limit + 1e-9

    notes = Notes(within, orders, work)
    arms: list[Arm] = []
    for target in task.targets:
        if costs:
            made_for = quantized_for(target)
            arms.append(Halving(notes, target, [{**recipe, "target": made_for} for recipe in RECIPES]))
        for name, method in task.methods.items():
            if name != "quantize":  # what others give is quantized by arms of its own, with what was found
                arms.append(Ladder(notes, target, name, list(method.settings(base))))
    return arms


def _proved(task: Task, bench: Bench, found: Found, prover: Judge) -> list[Proved]:
    """Finalists, the nearest to the limits and among these the fastest first, until one keeps every limit; else the
    nearest of them at the end.

    One whose loss is larger in the proof than it was judged says how far that may go: who comes next has to have been
    judged better by as much.
    """
    limit = task.limits.max_degradation
    most = float("inf")
    proved: list[Proved] = []
    waiting = found.nearest(task.limits)
    for place in range(FINALISTS):
        waiting = [trial for trial in waiting if trial.loss < most]
        if not waiting:
            break
        last = place == FINALISTS - 1
        trial = min(waiting, key=lambda each: each.loss) if last else waiting[0]
        waiting.remove(trial)
        again = bench.proof(trial.candidate, prover)
        proved.append(Proved(again, evidence(task.limits, again.figures, HOW)))
        if proved[-1].met:
            return proved
        if limit is not None and again.loss > limit:
            most = (
                max(trial.loss, 1e-12) * max(limit, 0.1 * again.loss) / again.loss
                if isfinite(again.loss)
                else trial.loss
            )
        elif place:
            break  # what is slower or larger will not keep what this one misses
    nearest = min(
        proved, key=lambda each: (len([e for e in each.evidence if not e.met]), sum(e.over for e in each.evidence))
    )
    proved.remove(nearest)
    return [*proved, nearest]


def _precision(graph: Graph) -> dict[str, str]:
    """Of each layer that multiplies: whether it reads codes and has weights that are codes."""
    real = {name for node in graph.nodes if node.op_type == "DequantizeLinear" for name in node.outputs}
    layers = [node for node in graph.nodes if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
    return {node.name: "int8" if {*node.inputs[:2]} <= real else "float32" for node in layers}


def _notes(task: Task, found: Found, fit: Samples) -> tuple[str, ...]:
    said = []
    if len(task.samples) < len(SHARES):
        said.append("too few samples to keep apart what is fitted, judged and proved: the loss may be larger elsewhere")
    elif len(fit) < RANGED:
        said.append(f"methods were given {len(fit)} samples only: ranges of activations want 32 or more")
    failed = sum(bool(trial.failed) for trial in found.trials)
    if failed:
        said.append(f"{failed} candidates could not be made or run")
    if not found.complete:
        said.append("the time was up with candidates left to try")
    return tuple(said)
