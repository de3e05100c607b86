"""Spatial compression: a convolution or pooling of stride 2 is moved to an earlier layer of stride 1.

What lies between works on a quarter of the pixels, and everything after it on as many as before. The weights stay, so
the network computes something else, at a loss that only training gives back (`reconv.distill`). Where a map that would
shrink is needed at its old size, the move is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconv.compress.result import Compressed, Entry, LayerReport, Report
from reconv.compress.spatial import changed_outputs
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, Node, remade, shapes_of

if TYPE_CHECKING:
    from reconv.compress.forward import Feeds, Forward

__all__ = ["EARLIER_STRIDE", "earlier_stride", "strides_to_move"]

TRIED = 6  # layers that a search tries: those where the fewest maps shrink
# Operators that work pixel by pixel, so that they do not mind how many pixels there are.
POINTWISE = frozenset(
    {"Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Softplus", "Mish"}
    | {"Exp", "Abs", "Neg", "BatchNormalization", "Add", "Sub", "Mul", "Div", "Max", "Min", "Concat", "Identity"}
)
OVER_ALL = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
WINDOWED = frozenset({"Conv", "MaxPool", "AveragePool"})


def earlier_stride(graph: Graph, *, node: str | None = None) -> Compressed:
    """Move a stride of 2 to an earlier layer.

    Args:
        graph: the model.
        node: the layer of stride 1 that gets it: one of `strides_to_move`; None: the one where the fewest maps shrink.

    Raises:
        InputError: the node cannot take it; the message says why.
        ModelError: no layer can.
    """
    found = dict(_moves(graph))
    if node is None:
        if not found:
            raise ModelError("no layer can take the stride of a later one: the maps between them are needed elsewhere")
        node = min(found, key=lambda name: len(found[name].between))
    if node not in found:
        here = next((each for each in graph.nodes if each.name == node), None)
        reason = "the model has no node of that name" if here is None else str(_move(graph, _Look(graph), here))
        raise InputError(f"{node!r} cannot take the stride of a later layer: {reason}")
    move = found[node]
    changes = {each.name: [_strided(each, 1)] for each in move.exits} | {node: [_strided(move.start, 2)]}
    made = remade(graph, changes, {})
    if changed := changed_outputs(graph, shapes_of(graph), shapes_of(made)):
        raise ModelError(f"{changed[0]}: the stride cannot be moved")
    layers = [LayerReport(node, {"stride": 2})] + [LayerReport(each.name, {"stride": 1}) for each in move.exits]
    notes = [f"{len(move.between)} nodes work on a quarter of the pixels"]
    report = Report.of("earlier_stride", graph, made, settings={"node": node}, layers=layers, notes=notes)
    return Compressed(made, report)


def strides_to_move(graph: Graph) -> list[str]:
    """The layers that can take the stride of later ones, those first where the fewest nodes lie between."""
    return [name for name, move in sorted(_moves(graph), key=lambda pair: len(pair[1].between))]


def _stride(graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
    del samples, forward
    return earlier_stride(graph, **settings)


def _strides(graph: Graph) -> Iterator[Mapping[str, Any]]:
    yield from ({"node": name} for name in strides_to_move(graph)[:TRIED])


EARLIER_STRIDE = Entry("earlier_stride", frozenset(), _stride, _strides)
"""`earlier_stride` as a method that a search may try."""


class _Look:
    """Who makes and who reads the values of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.reads:
                self.readers.setdefault(name, []).append(node)
        self.results = {info.name for info in graph.outputs}
        self.shapes = shapes_of(graph)


@dataclass(frozen=True, eq=False)
class _Move:
    """start: the layer that gets the stride; between: nodes whose maps shrink; exits: layers that lose theirs."""

    start: Node
    between: Sequence[Node]
    exits: Sequence[Node]


def _moves(graph: Graph) -> Iterator[tuple[str, _Move]]:
    look = _Look(graph)
    for node in graph.nodes:
        move = _move(graph, look, node)
        if isinstance(move, _Move):
            yield node.name, move


def _move(graph: Graph, look: _Look, start: Node) -> _Move | str:
    """What changes when this layer gets a stride of 2, or why it cannot."""
    if start.op_type not in WINDOWED or _stride_of(start) != 1 or not _centred(graph, start):
        return "it is no convolution or pooling of stride 1 that keeps the size of its map"
    between, exits = [start], list[Node]()
    inside, pending = {start.outputs[0]}, [start.outputs[0]]
    joins: dict[str, Node] = {}
    while pending:
        name = pending.pop()
        if name in look.results:
            return f"{name!r} is an output of the model"
        for node in look.readers.get(name, []):
            if node in exits or node in between:
                continue
            if node.op_type in OVER_ALL:
                continue
            if node.op_type in WINDOWED and _stride_of(node) == 2 and (_centred(graph, node) or _even(node, look)):
                exits.append(node)
            elif node.op_type in POINTWISE or (
                node.op_type in WINDOWED and _stride_of(node) == 1 and _centred(graph, node)
            ):
                between.append(node)
                joins[node.name] = node
                inside.update(node.outputs)
                pending += node.outputs
            else:
                return f"{node.name!r} ({node.op_type}) needs its map at the old size"
    if not exits:
        return "no layer of stride 2 comes after it"
    for node in joins.values():
        for name in node.inputs:
            small = name in inside or name in graph.constants or not name
            if not small and any(n != 1 for n in look.shapes.get(name, (2, 2, 2, 2))[2:]):
                return f"{node.name!r} joins it with {name!r}, which keeps the old size"
    return _Move(start, between, exits)


def _stride_of(node: Node) -> int:
    """The stride of a layer over two axes of space; 0 where they differ."""
    strides = tuple(node.attributes.get("strides", ()) or (1, 1))
    return int(strides[0]) if len(strides) == 2 and len(set(strides)) == 1 else 0


def _centred(graph: Graph, node: Node) -> bool:
    """Whether a window of stride 1 keeps the size of its map, and one of stride 2 makes it half, rounded up."""
    if node.attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return True
    weight = graph.constants.get(node.inputs[1]) if node.op_type == "Conv" else None
    kernel = tuple(node.attributes.get("kernel_shape", ()) or (() if weight is None else weight.shape[2:]))
    if len(kernel) != 2 or node.attributes.get("ceil_mode", 0):
        return False
    pads = tuple(node.attributes.get("pads", ()) or (0, 0, 0, 0))
    dilations = tuple(node.attributes.get("dilations", ()) or (1, 1))
    return all(pads[axis] + pads[axis + 2] == dilations[axis] * (kernel[axis] - 1) for axis in (0, 1))


def _even(node: Node, look: _Look) -> bool:
    """Whether the map that a node reads is known to have even height and width."""
    shape = look.shapes.get(node.inputs[0])
    return shape is not None and len(shape) == 4 and all(size is not None and size % 2 == 0 for size in shape[2:])


def _strided(node: Node, stride: int) -> Node:
    """The layer with another stride. A window of 2x2 that loses its stride is padded at the end, to keep sizes."""
    attributes = {**node.attributes, "strides": (stride, stride)}
    kernel = tuple(node.attributes.get("kernel_shape", ()))
    if stride == 1 and kernel == (2, 2) and not any(node.attributes.get("pads", (0,))):
        attributes["pads"] = (0, 0, 1, 1)
    return replace(node, attributes=attributes)
