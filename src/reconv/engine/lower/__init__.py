"""Graph to plan: every node becomes ops over maps, a constant, or part of the tail.

1. The nodes are walked in order. Constants fold, sizes are fixed, and `LOWERINGS` turns what it knows into ops of a
   draft; a node that it does not know, or that a function refuses, is tail, and so is all that depends on it.
2. `fuse` rewrites the draft: activations, batch normalization and residuals go into the producer.
3. `place` lets the parts of concats be produced in place.
4. `emit` writes the plan and seals it.

A new op is one function in the file of its family and one line in `LOWERINGS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from reconv import _core
from reconv.engine.lower import conv, integers, matmul, move, pointwise, pool, quantized, resize
from reconv.engine.lower import draft as d
from reconv.engine.lower.borders import input_form, output_form
from reconv.engine.lower.builder import Builder, Result, UnsupportedError, Value
from reconv.engine.lower.emit import Emitter
from reconv.engine.lower.fates import Fates, owner
from reconv.engine.lower.fuse import fuse
from reconv.engine.lower.layout import canonical
from reconv.engine.lower.place import place
from reconv.engine.lower.results import Border, Lowered, PlacedNode, Where
from reconv.engine.lower.rules_eight import why_float
from reconv.errors import ModelError, one_line
from reconv.graph import Graph, Node, TensorInfo, draws_at_random, evaluate, is_half

__all__ = ["LOWERINGS", "Border", "Lowered", "PlacedNode", "Where", "lower"]

LOWERINGS: Mapping[str, Callable[[Builder, Node], list[Result]]] = {
    # convolutions and products
    "Conv": conv.conv,
    "ConvTranspose": conv.conv_transpose,
    "Gemm": matmul.gemm,
    "MatMul": matmul.matmul,
    # pools and reductions
    "MaxPool": pool.max_pool,
    "AveragePool": pool.average_pool,
    "GlobalAveragePool": pool.global_average_pool,
    "GlobalMaxPool": pool.global_max_pool,
    "ReduceMean": pool.reduce_mean,
    "ReduceSum": pool.reduce_sum,
    "ReduceMax": pool.reduce_max,
    # activations
    "Relu": pointwise.activation("relu"),
    "Sigmoid": pointwise.activation("sigmoid"),
    "Tanh": pointwise.activation("tanh"),
    "HardSwish": pointwise.activation("hardswish"),
    "Softplus": pointwise.activation("softplus"),
    "Mish": pointwise.activation("mish"),
    "Erf": pointwise.activation("erf"),
    "Exp": pointwise.activation("exp"),
    "Log": pointwise.activation("log"),
    "Sqrt": pointwise.activation("sqrt"),
    "LeakyRelu": pointwise.alpha_activation("leaky", 0.01),
    "Elu": pointwise.alpha_activation("elu", 1.0),
    "HardSigmoid": pointwise.hard_sigmoid,
    "Clip": pointwise.clip,
    "PRelu": pointwise.prelu,
    "Gelu": pointwise.gelu,
    "Selu": pointwise.selu,
    "Softmax": pointwise.softmax,
    # arithmetic
    "Add": pointwise.arithmetic("add"),
    "Sub": pointwise.arithmetic("sub"),
    "Mul": pointwise.arithmetic("mul"),
    "Div": pointwise.arithmetic("div"),
    "Min": pointwise.arithmetic("min"),
    "Max": pointwise.arithmetic("max"),
    "Pow": pointwise.arithmetic("pow"),
    "Sum": pointwise.arithmetic("add"),
    "Neg": pointwise.negate,
    "Abs": pointwise.absolute,
    "Reciprocal": pointwise.reciprocal,
    "BatchNormalization": pointwise.batch_normalization,
    # sizes and places
    "Resize": resize.resize,
    "Upsample": resize.resize,
    "Concat": move.concat,
    "Split": move.split,
    "Pad": move.pad,
    "Slice": move.moving,
    "Gather": move.moving,
    "GatherElements": move.moving,
    "GatherND": move.moving,
    "Tile": move.moving,
    "DepthToSpace": move.moving,
    "SpaceToDepth": move.moving,
    "Expand": move.expand,
    "Reshape": move.reshape,
    "Flatten": move.flatten,
    "Transpose": move.transpose,
    "Squeeze": move.squeeze,
    "Unsqueeze": move.unsqueeze,
    # 8 bits
    "QuantizeLinear": quantized.quantize_linear,
    "DequantizeLinear": quantized.dequantize_linear,
    # nothing to do
    "Identity": move.identity,
    "Dropout": move.dropout,
    "Cast": move.cast,
}

# What numpy and the layouts raise for a node whose sizes or attributes do not fit together. Such a node is tail, and
# ONNX Runtime says what is wrong with it.
MISTAKES = (ValueError, IndexError, KeyError, TypeError, ArithmeticError, AttributeError)


def lower(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]],
    make_plan: Callable[[], _core.Plan] = _core.Plan,
    seal: Callable[[_core.Plan], None] = lambda plan: plan.seal(),
) -> Lowered:
    """The plan of a graph for inputs of these shapes (batch 1).

    Args:
        graph: the model.
        shapes: shape of every graph input.
        make_plan: makes the empty plan; tests put a slow one here.
        seal: closes it, with what a dense run may need of memory.

    Raises:
        ModelError: a shape is missing.
    """
    return _Lowering(graph, shapes, seal).run(make_plan)


class _Lowering:
    def __init__(self, graph: Graph, shapes: Mapping[str, tuple[int, ...]], seal: Callable[[_core.Plan], None]) -> None:
        self.graph = graph
        self.shapes = shapes
        self.seal = seal
        self.builder = Builder(
            graph.opset,
            constants=dict(graph.constants),
            readers=quantized.readers_of(graph.nodes),
            makers={name: node for node in graph.nodes for name in node.outputs},
            results=frozenset(info.name for info in graph.outputs),
        )
        self.tail: dict[str, str] = {}  # value -> why it is computed by the tail
        self.reasons: dict[int, tuple[Where, str]] = {}
        self.inputs: list[tuple[str, Value]] = []

    def run(self, make_plan: Callable[[], _core.Plan]) -> Lowered:
        b = self.builder
        for info in self.graph.inputs:
            if info.name not in self.shapes:
                raise ModelError(f"no shape is given for the input {info}")
            shape = tuple(int(size) for size in self.shapes[info.name])
            whole = integers.becomes_float(self.graph, info)
            is_float = whole or info.dtype == np.float32 or self._only_widened(info)
            if not is_float or not all(shape):
                kind = f"{info.dtype}, empty" if is_float else info.dtype
                self.tail[info.name] = f"reads {info.name} ({kind})"
                continue
            try:
                geometry, layout = input_form(self.graph, info.name, shape)
                value = Value(b.new(geometry), layout)
            except UnsupportedError as refusal:
                self.tail[info.name] = f"reads {info.name} ({refusal})"
                continue
            if whole:
                b.whole[info.name] = info
            b.values[info.name] = value
            b.draft.inputs.append(value.map)
            self.inputs.append((info.name, value))
        needed = self._needed()
        for position, node in enumerate(self.graph.nodes):
            if position in needed:
                self._node(position, node)
            else:
                self.reasons[position] = ("folded", "no output needs it")
        borders = self._outputs()
        b.draft.outputs = [value.map for _, value in borders]
        fuse(b.draft)
        placement = place(b.draft)
        return self._emit(Emitter(b.draft, placement, make_plan()), borders)

    def _only_widened(self, info: TensorInfo) -> bool:
        """Whether an input of 16-bit floats is read as float32 only: its map holds it so from the start."""
        users = [node for node in self.graph.nodes if info.name in node.reads]
        to_float = (not node.domain and node.op_type == "Cast" and node.attributes.get("to") == 1 for node in users)
        return is_half(info.dtype) and bool(users) and all(to_float)

    def _needed(self) -> set[int]:
        """Positions of the nodes that some graph output depends on."""
        wanted = {info.name for info in self.graph.outputs}
        found = set()
        for position in range(len(self.graph.nodes) - 1, -1, -1):
            node = self.graph.nodes[position]
            if wanted.intersection(node.outputs):
                found.add(position)
                wanted.update(node.reads)
        return found

    def _node(self, position: int, node: Node) -> None:
        b = self.builder
        b.node = position
        marks = len(b.draft.ops), len(b.draft.maps)
        try:
            where, reason, results = self._results(node)
            b.check(node, results)
        except (UnsupportedError, *MISTAKES) as refusal:
            b.undo(*marks)
            said = str(refusal) if isinstance(refusal, UnsupportedError) else f"sizes do not fit: {one_line(refusal)}"
            self.reasons[position] = ("tail", said)
            self.tail.update((name, f"follows {node.name} ({node.op_type})") for name in node.outputs if name)
            return
        if len(b.draft.ops) > marks[0]:
            where, reason = "engine", ""
        self.reasons[position] = (where, reason)
        if integers.moves(node) and node.inputs[0] in b.whole:
            b.whole.update((name, b.whole[node.inputs[0]]) for name in node.outputs if name)
        for name, result in zip(node.outputs, results, strict=False):
            if isinstance(result, Value):
                b.values[name] = result
            elif name:
                b.constants[name] = result

    def _results(self, node: Node) -> tuple[Where, str, list[Result]]:
        b = self.builder
        for name in node.reads:
            if name in self.tail:
                raise UnsupportedError(self.tail[name])
            if name in b.whole and not integers.takes(node):
                raise UnsupportedError(f"reads {b.whole[name].name} ({b.whole[name].dtype})")
        if draws_at_random(node, self.graph):
            raise UnsupportedError("random")
        constant = all(name in b.constants for name in node.reads)
        if constant or (node.op_type in ("Shape", "Size") and not node.domain):
            value = b.values.get(node.inputs[0]) if node.inputs else None
            if value is not None:
                return "folded", "sizes are fixed", [move.shape_of(node, value.shape)]
            if node.domain in ("", "ai.onnx") and (known := quantized.folded(b, node)) is not None:
                return "folded", "constant", known
            try:
                arguments = [b.constants[name] if name else None for name in node.inputs]
                return "folded", "constant", list(evaluate(node, arguments, b.opset))
            except ModelError as error:
                raise UnsupportedError(str(error)) from error
        function = None if node.domain not in ("", "ai.onnx") else LOWERINGS.get(node.op_type)
        if function is None:
            raise UnsupportedError(f"no lowering for {f'{node.domain}.' if node.domain else ''}{node.op_type}")
        results = function(b, node)
        return "folded", "moves no data", results

    def _outputs(self) -> list[tuple[str, Value]]:
        """What the plan has to give: graph outputs and what tail nodes read, in forms that strides can express."""
        b = self.builder
        b.node = -1
        names = [info.name for info in self.graph.outputs]
        for position, node in enumerate(self.graph.nodes):
            if self.reasons[position][0] == "tail":
                names += node.reads
        given = {*b.whole, *(name for name, _ in self.inputs)}  # the tail has these from the inputs themselves
        found = []
        for name in dict.fromkeys(names):
            value = b.values.get(name)
            if value is None or name in given:
                continue
            if output_form(value, b.geometry(value.map)) is None:
                geometry, layout = canonical(value.shape)
                value = Value(b.arrange(value, geometry, layout), layout)
            found.append((name, value))
        return found

    def _emit(self, emitter: Emitter, borders: list[tuple[str, Value]]) -> Lowered:
        b, plan = self.builder, emitter.plan
        lowered = Lowered(plan, constants={k: v for k, v in b.constants.items() if k not in self.graph.constants})
        read = Counter(x for op in b.draft.ops for x in op.reads) + Counter(b.draft.outputs)
        for name, value in self.inputs:
            if read[value.map]:
                strides = value.layout.border_strides(b.geometry(value.map))
                assert strides is not None  # the form was chosen so
                x = emitter.map(value.map)
                lowered.inputs.append(Border(name, value.shape, plan.input(x, strides), x))
        made: dict[d.Op, list[int]] = {op: emitter.op(op) for op in b.draft.ops}
        for name, value in borders:
            strides = output_form(value, b.geometry(value.map))
            assert strides is not None  # `_outputs` rearranged the others
            x = emitter.map(value.map)
            lowered.outputs.append(Border(name, value.shape, plan.output(x, strides), x))
        self.seal(plan)
        lowered.scales = {emitter.maps[x]: codes.scale for x, codes in b.draft.codes.items() if x in emitter.maps}
        lowered.nodes = self._placed(made, emitter, plan.op_macs())
        lowered.tail_nodes = tuple(placed.node.name for placed in lowered.nodes if placed.where == "tail")
        return lowered

    def _placed(self, made: Mapping[d.Op, list[int]], emitter: Emitter, macs: list[int]) -> list[PlacedNode]:
        b = self.builder
        nodes = self.graph.nodes
        draft = b.draft
        absorbed = {op.out for op in made if not emitter.plan.stored(emitter.maps[op.out])}
        fates = Fates(nodes, made, absorbed, draft.codes, lambda op: why_float(draft, op) if draft.codes else "")
        macs_of: Counter[int] = Counter()
        for op, indices in made.items():
            if op.nodes:
                macs_of[owner(nodes, op)] += sum(macs[index] for index in indices)
        written = {op.out for op in made} | {value.map for _, value in self.inputs}
        placed = []
        for position, node in enumerate(nodes):
            where, reason = self.reasons[position]
            value = b.values.get(node.outputs[0]) if node.outputs else None
            held = value is not None and value.map in written
            placed.append(
                PlacedNode(
                    node,
                    where,
                    fates.reason(position) if where == "engine" else reason,
                    fates.indices(position),
                    macs_of[position],
                    emitter.maps.get(value.map) if value is not None and held else None,
                    None if value is None else value.shape,
                    fates.stored(position),
                )
            )
        return placed
