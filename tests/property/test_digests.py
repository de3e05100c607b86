"""Digests of random graphs: names, order and what nobody reads do not count; every change of what is computed does,
in exactly the values that depend on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from reconv.graph import load, structure, structure_digest
from tests.property.profiles import examples

UNARY = ("Relu", "Tanh", "Neg")
SLOPED = ("Elu", "LeakyRelu")  # with an attribute alpha
BINARY = ("Add", "Sub", "Mul")
INPUTS = ("x0", "x1")


@dataclass(frozen=True)
class Call:
    op: str
    reads: tuple[str, ...]
    makes: str
    alpha: float | None = None
    branch: bool = False  # inside of both branches of an If, which capture what it reads


@dataclass(frozen=True)
class Drawn:
    calls: tuple[Call, ...]
    weights: Mapping[str, int]  # bits of a float32 each
    outputs: tuple[str, ...]


@st.composite
def graphs(draw: st.DrawFn) -> Drawn:
    weights = {f"w{i}": draw(st.integers(0, 2**32 - 1)) for i in range(draw(st.integers(1, 3)))}
    values = [*INPUTS, *weights]
    calls = []
    for i in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(UNARY + SLOPED + BINARY))
        reads = tuple(draw(st.sampled_from(values)) for _ in range(2 if op in BINARY else 1))
        alpha = draw(st.sampled_from([0.25, 0.5, 1.0, 2.0])) if op in SLOPED else None
        calls.append(Call(op, reads, f"v{i}", alpha, branch=draw(st.integers(0, 5)) == 0))
        values.append(f"v{i}")
    made = [call.makes for call in calls]
    outputs = {made[-1], *draw(st.lists(st.sampled_from(made), max_size=2))}
    return Drawn(tuple(calls), weights, tuple(name for name in made if name in outputs))


def _node(call: Call, to: Mapping[str, str], place: int) -> onnx.NodeProto:
    attributes: dict[str, Any] = {} if call.alpha is None else {"alpha": call.alpha}
    reads = [to[name] for name in call.reads]
    if not call.branch:
        return helper.make_node(call.op, reads, [to[call.makes]], f"node{place}", **attributes)
    branches = [
        helper.make_graph(
            [helper.make_node(call.op, reads, [f"{to[call.makes]}_{side}"], **attributes)],
            side, [], [helper.make_tensor_value_info(f"{to[call.makes]}_{side}", TensorProto.FLOAT, None)],
        )
        for side in ("then", "else")
    ]  # fmt: skip
    return helper.make_node(
        "If", [to["flag"]], [to[call.makes]], f"node{place}", then_branch=branches[0], else_branch=branches[1]
    )


def build(drawn: Drawn, to: Mapping[str, str] | None = None, order: Sequence[int] | None = None) -> onnx.ModelProto:
    """The model, with values renamed and nodes in another order."""
    names = [*INPUTS, "flag", *drawn.weights, *(call.makes for call in drawn.calls)]
    to = {name: name for name in names} if to is None else to
    calls = [drawn.calls[i] for i in order or range(len(drawn.calls))]
    arrays = {name: np.asarray([bits], np.uint32).view(np.float32) for name, bits in drawn.weights.items()}
    graph = helper.make_graph(
        [_node(call, to, place) for place, call in enumerate(calls)],
        "drawn",
        [helper.make_tensor_value_info(to[name], TensorProto.FLOAT, [1]) for name in INPUTS]
        + [helper.make_tensor_value_info(to["flag"], TensorProto.BOOL, [])],
        [helper.make_tensor_value_info(to[name], TensorProto.FLOAT, None) for name in drawn.outputs],
        [numpy_helper.from_array(array, to[name]) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def depends(drawn: Drawn, changed: set[str]) -> set[str]:
    """Values made from these, themselves included."""
    found = set(changed)
    for call in drawn.calls:
        if found.intersection(call.reads):
            found.add(call.makes)
    return found


def check_changed(drawn: Drawn, other: Drawn, changed: set[str]) -> None:
    """What depends on the changed values has another digest, and nothing else does."""
    before, after = structure(load(build(drawn))).values, structure(load(build(other))).values
    made = {call.makes for call in drawn.calls}
    differing = {name for name in made if before[name] != after[name]}
    assert differing == depends(drawn, changed) & made
    touched = differing.intersection(drawn.outputs)
    assert (structure_digest(load(build(drawn))) != structure_digest(load(build(other)))) == bool(touched)


@examples(150)
@given(drawn=graphs(), data=st.data())
def test_names_order_and_what_nobody_reads_do_not_count(drawn: Drawn, data: st.DataObject) -> None:
    names = [*INPUTS, "flag", *drawn.weights, *(call.makes for call in drawn.calls)]
    to = dict(zip(names, [f"n{i}" for i in data.draw(st.permutations(range(len(names))))], strict=True))
    order = data.draw(st.permutations(range(len(drawn.calls))))
    renamed = build(drawn, to, order)
    renamed.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "nobody"))
    plain, other = load(build(drawn)), load(renamed)
    assert structure_digest(other) == structure_digest(plain)
    before, after = structure(plain), structure(other)
    for call in drawn.calls:
        assert after.values[to[call.makes]] == before.values[call.makes]
    assert sorted(after.nodes.values()) == sorted(before.nodes.values())


@examples(100)
@given(drawn=graphs(), data=st.data())
def test_one_bit_of_a_weight(drawn: Drawn, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(drawn.weights)))
    bits = drawn.weights[name] ^ (1 << data.draw(st.integers(0, 31)))
    check_changed(drawn, replace(drawn, weights={**drawn.weights, name: bits}), {name})


@examples(150)
@given(drawn=graphs(), data=st.data())
def test_operator_attribute_and_wiring(drawn: Drawn, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(drawn.calls) - 1))
    call = drawn.calls[place]
    same_kind = next(kind for kind in (UNARY, SLOPED, BINARY) if call.op in kind)
    values = structure(load(build(drawn))).values
    known = [*INPUTS, *drawn.weights, *(c.makes for c in drawn.calls[:place])]
    change = data.draw(st.sampled_from(["op", "alpha", "swap", "rewire", "branch"]))
    if change == "op":
        other = replace(call, op=data.draw(st.sampled_from([op for op in same_kind if op != call.op])))
    elif change == "alpha":
        assume(call.alpha is not None)
        other = replace(call, alpha=(call.alpha or 0) + 0.125)
    elif change == "swap":
        assume(len(call.reads) == 2 and values[call.reads[0]] != values[call.reads[1]])
        other = replace(call, reads=call.reads[::-1])
    elif change == "rewire":
        at = data.draw(st.integers(0, len(call.reads) - 1))
        others = [name for name in known if name in values and values[name] != values[call.reads[at]]]
        assume(others)
        read = data.draw(st.sampled_from(others))
        other = replace(call, reads=(*call.reads[:at], read, *call.reads[at + 1 :]))
    else:
        other = replace(call, branch=not call.branch)
    calls = (*drawn.calls[:place], other, *drawn.calls[place + 1 :])
    check_changed(drawn, replace(drawn, calls=calls), {call.makes})
