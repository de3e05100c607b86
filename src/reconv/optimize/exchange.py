"""`reconv.exchange`: the same model from a cheaper order, as standard ONNX, with a report.

The rules and the search are `reconv.exchange`; here they get what they may not import: measurements on the target
(`reconv.optimize.measured`), real activations for their proofs, and the comparison of the whole models at the end
(`reconv.optimize.whole`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv import graph as graphs
from reconv.cache import Cache
from reconv.engine.inputs import check, check_shapes, declared_shapes
from reconv.errors import InputError
from reconv.exchange.meter import METERS, Meter
from reconv.exchange.rule import Rule
from reconv.exchange.rules import RULES
from reconv.exchange.search import Search
from reconv.exchange.view import View, look
from reconv.graph import Graph, Made, Source
from reconv.measure import allowed_threads
from reconv.optimize.activations import Activations
from reconv.optimize.exchange_report import Report, Setting
from reconv.optimize.measured import Measured, Paired, drawn, peer_of
from reconv.optimize.whole import prove_whole

__all__ = ["COSTS", "Exchanged", "exchange"]

Array = np.ndarray[Any, Any]
COSTS = ("measured", *METERS)


@dataclass(frozen=True, eq=False)
class Exchanged(Made):
    """What `exchange` gives: the untouched model where nothing was better."""

    report: Report


def exchange(
    source: Source,
    *,
    target: str = "onnxruntime",
    cost: str = "measured",
    shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    samples: Sequence[Mapping[str, Array]] = (),
    memo: Cache | None = None,
    rules: Sequence[Rule] = RULES,
    seconds: float = float("inf"),
    say: Callable[[str], None] = lambda _: None,
) -> Exchanged:
    """Reorder a model so that it costs less and gives the same result.

    Args:
        source: a path, the bytes of a file, or an ``onnx.ModelProto`` (which is not changed).
        target: the runtime it is for: "reconv", "onnxruntime", "openvino" (its default precision) or "openvino-f32".
        cost: "measured" (milliseconds on the target), "macs" (multiply-adds, and one operation per element of what has
            none) or "memory" (peak bytes of maps).
        shapes: input name -> shape for which costs are told, where the model leaves sizes free. The result is right
            for every size.
        threads: of the target's runtime; None: as many as this process may use.
        samples: real inputs (input name -> array) for the proofs; drawn ones are always tried too.
        memo: where measurements are kept, so that a second search takes none: a `Cache`, on disk by its tier.
        rules: those that may fire.
        seconds: after which the search begins nothing new; what it has found by then counts.
        say: told what goes on, in a few words.

    Raises:
        ModelError: the model cannot be read, or is not valid ONNX.
        InputError: an unknown target or cost, a size that is not known, or samples that do not fit.
        MissingError: the target's library is not installed.
    """
    graph = graphs.load(source)
    if cost not in COSTS:
        raise InputError(f"no cost is called {cost!r}; there are {', '.join(COSTS)}")
    fixed = {**_declared(graph, shapes or {}), **{name: tuple(shape) for name, shape in (shapes or {}).items()}}
    check_shapes(graph.inputs, fixed)
    frames = [check(graph.inputs, sample) for sample in samples]
    for frame in frames:
        if {name: array.shape for name, array in frame.items()} != fixed:
            raise InputError(f"samples have other shapes than the model is measured at: {fixed}; pass shapes=")
    count = allowed_threads() if threads is None else threads
    peer_of(target)
    graphs.check(graph)
    frame = _frame(graph, fixed, "picture", frames)
    view = look(graph, fixed)
    activations = Activations(view, frames[0] if frames else frame, fixed)
    meter: Meter = METERS[cost]() if cost in METERS else Measured(target, count, memo, real=activations)
    view = activations.completed()
    found = Search(rules, meter, activations, seconds=seconds, say=say).run(view)
    say("comparing the whole models")
    tried = [*frames, *(_frame(graph, fixed, kind, frames) for kind in _DRAWS)]
    final, paired, proof = view, None, None
    for candidate in dict.fromkeys((found.view, found.simplified)):
        better, paired = _better(view, candidate, meter)
        if not better:
            continue
        graphs.check(candidate.graph)
        proof = prove_whole(graph, candidate.graph, tried, fixed)
        if proof.holds:
            final = candidate
            break
    setting = Setting(target, cost, meter.unit, count, fixed)
    report = Report.of(setting, (view, final), found, paired, proof)
    return Exchanged(final.graph, report)


def _better(view: View, final: View, meter: Meter) -> tuple[bool, Paired | None]:
    """Whether the meter says that the final model is better, or as good with fewer bytes of weights."""
    if final is view:
        return False, None
    if isinstance(meter, Measured):
        whole = meter.confirmed(view, final)
        return whole.high < 1.0, whole
    change = meter.change(view, final)
    if change is None:
        return False, None
    return change.gain > 0 or (change.gain == 0 and _weights(final) < _weights(view)), None


def _weights(view: View) -> int:
    return sum(array.nbytes for array in view.graph.constants.values())


def _declared(graph: Graph, given: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    names = [info.name for info in graph.inputs]
    if unknown := [name for name in given if name not in names]:
        raise InputError(f"the model has no input {unknown[0]!r}; its inputs are {', '.join(names)}")
    return declared_shapes([info for info in graph.inputs if info.name not in given])


_DRAWS: Mapping[str, Callable[[Array], Array]] = {
    "normal": lambda x: x,
    "picture": lambda x: np.abs(np.sin(x)),
    "bytes": lambda x: np.floor(np.abs(np.sin(x)) * 255),
}


def _frame(
    graph: Graph, shapes: Mapping[str, tuple[int, ...]], kind: str, samples: Sequence[Mapping[str, Array]]
) -> dict[str, Array]:
    """Drawn input. What is not of floats (sizes, positions) is that of the first sample, where there is one.

    Raises:
        InputError: there is no room for so large an input.
    """
    try:
        values = drawn(shapes, {info.name: info.dtype for info in graph.inputs})
    except MemoryError as error:
        raise InputError(f"an input of the shapes {dict(shapes)} does not fit into memory") from error
    real = samples[0] if samples else {}
    return {
        name: np.asarray(_DRAWS[kind](array), array.dtype) if array.dtype.kind == "f" else real.get(name, array)
        for name, array in values.items()
    }
