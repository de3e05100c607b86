"""Rules on matrix products, copies and nodes that do nothing, on drawn models: whatever fires keeps the result.

What has to fire, and what must not, is said in each test by the algebra, apart from the rule.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv.exchange.proof import prove
from reconv.exchange.view import look_again
from reconv.graph import Rewrite, to_onnx
from tests.property.exchange_models import Array, Model, answers, normal, require_all_right, require_same, run
from tests.property.layer_texts import FEW, LAYERS, ints, outputs, seeds


@FEW
@given(st.data(), seeds)
def test_matrix_products(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    a, b, c = (draw(ints(2, 9)) for _ in range(3))
    first = draw(st.sampled_from(["MatMul", "MatMul+Add", "Gemm"]))
    second = draw(st.sampled_from(["MatMul", "Gemm"]))
    trans = [draw(ints(0, 1)) for _ in range(2)]
    weights: dict[str, Array] = {"d": normal(seed, b), "e": normal(seed, 1, c)}
    lines = []
    for i, (kind, x, y, shape) in enumerate(((first, "x", "m", (a, b)), (second, "m", "y", (b, c)))):
        if kind == "Gemm":
            shape = shape[::-1] if trans[i] else shape
            lines.append(
                f"{y} = Gemm <alpha = 0.7, beta = 1.3, transB = {trans[i]}> ({x}, w{i}, {'d' if i == 0 else 'e'})"
            )
        elif kind == "MatMul+Add":
            lines += [f"k = MatMul ({x}, w{i})", f"{y} = Add (d, k)"]
        else:
            lines.append(f"{y} = MatMul ({x}, w{i})")
        weights[f"w{i}"] = normal(seed + i, *shape)
    shared = draw(st.booleans())
    names = {"y": 2, **({"m": 2} if shared else {})}
    text = f"g (float[n, {a}] x) => ({outputs(names)}) {{\n" + "\n".join(lines) + "\n}"
    fired = require_all_right(Model(text, weights, {"x": normal(seed + 3, 3, a)}), LAYERS)
    assert ("merge matrix products" in fired) == (not shared and a * c <= a * b + b * c)


@FEW
@given(st.data(), seeds)
def test_nodes_that_do_nothing(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    opset = draw(st.sampled_from([9, 12, 17]))
    dead = {
        "Identity (a)": True,
        "Dropout (a)": True,
        "Mul (a, one)": True,
        "Add (zero, a)": False,  # it makes 0 of -0
        "Add (minus, a)": True,
        "Sub (a, zero)": True,
        "Sub (a, minus)": False,
        "Sub (zero, a)": False,
        "Mul (a, wide)": False,
        "Div (a, one)": True,
        "Div (one, a)": False,
        "Cast <to = 1> (a)": True,
        "Concat <axis = 1> (a)": True,
        "Transpose <perm = [0, 1, 2]> (a)": True,
        "Transpose <perm = [0, 2, 1]> (a)": False,
        "MaxPool <kernel_shape = [1]> (a)": True,
        "MaxPool <kernel_shape = [1], strides = [2]> (a)": False,
        "Max (a)": True,
        "Sum (a)": True,
    }
    if opset >= 10:
        dead |= {"Slice (a, begin, end, axis)": True, "Slice (a, begin, end, axis, two)": False}
    line = draw(st.sampled_from(sorted(dead)))
    kind = draw(st.sampled_from(["inside", "output", "both outputs", "beside"]))
    rank = 4 if "wide" in line else 3
    names = {"y": rank, "z": 3} if kind == "beside" else {"y": rank}
    if "output" in kind:
        names |= {"d": rank}
    if kind == "both outputs":
        names |= {"a": 3}
    text = f"""g (float[2, 3, 3] x) => ({outputs(names)}) {{
        a = Exp (x)
        d = {line}
        e = Relu (d)
        y = Mul (e, d)
        {"z = Tanh (a)" if kind == "beside" else ""}
    }}"""
    weights = {
        "one": np.ones((1, 1), np.float32),
        "zero": np.zeros(1, np.float32),
        "minus": np.full(1, -0.0, np.float32),
        "wide": np.ones((4, 1, 3, 3), np.float32),
        "begin": np.array([0]),
        "end": np.array([np.iinfo(np.int64).max]),
        "axis": np.array([2]),
        "two": np.array([2]),
    }
    fired = require_all_right(Model(text, weights, {"x": normal(seed, 2, 3, 3)}, opset), LAYERS)
    assert ("do nothing" in fired) == (dead[line] and kind != "both outputs")


@FEW
@given(st.data(), seeds)
def test_concats(data: st.DataObject, seed: int) -> None:
    inner, outer = data.draw(st.sampled_from([1, 1, -2, 2])), data.draw(st.sampled_from([1, 1, -2, 2]))
    shared = data.draw(st.booleans())
    text = f"""g (float[1, n, m] x) => ({outputs({"y": 3, **({"z": 3} if shared else {})})}) {{
        r = Relu (x)
        i = Concat <axis = {inner}> (x, r)
        y = Concat <axis = {outer}> (i, i)
        {"z = Neg (i)" if shared else ""}
    }}"""
    fired = require_all_right(Model(text, {}, {"x": normal(seed, 1, 4, 3)}), LAYERS)
    assert ("flat concat" in fired) == (not shared and inner % 3 == outer % 3)


@FEW
@given(st.data(), seeds)
def test_splits_and_concats(data: st.DataObject, seed: int) -> None:
    apart, together = data.draw(st.sampled_from([1, 1, -2, 2])), data.draw(st.sampled_from([1, 1, -2, 2]))
    parts = data.draw(st.permutations(["p", "q", "r"]))
    shared = data.draw(st.booleans())
    text = f"""g (float[1, 4, 4] x) => ({outputs({"y": 3, **({"p": 3} if shared else {})})}) {{
        p, q = Split <axis = {apart}, split = [2, 2]> (x)
        r = Relu (q)
        y = Concat <axis = {together}> ({", ".join(parts)})
    }}"""
    fired = require_all_right(Model(text, {}, {"x": normal(seed, 1, 4, 4)}, 11), LAYERS)
    in_order = parts.index("q") == parts.index("p") + 1
    assert ("split then concat" in fired) == (in_order and apart % 3 == together % 3)


@pytest.mark.parametrize("rule", LAYERS, ids=lambda rule: rule.name)
def test_a_wrong_rewrite_is_seen(rule: Any) -> None:
    """The comparison and the prover object when a new constant or the order of operands is not what it should be."""
    graph = rule.example.graph()
    shapes = {info.name: tuple(s if isinstance(s, int) else 2 for s in info.shape) for info in graph.inputs}
    model = Model(
        rule.example.text, dict(graph.constants), {n: normal(i, *s) for i, (n, s) in enumerate(shapes.items())}
    )
    view = model.view()
    rewrite = next(a for r, a in answers(view, [rule]) if isinstance(a, Rewrite))
    wrong = damaged(rewrite)
    expected = run(to_onnx(view.graph), model.feeds)
    require_same(expected, run(to_onnx(look_again(view, rewrite).graph), model.feeds), "right")
    with pytest.raises(AssertionError, match="differ"):
        require_same(expected, run(to_onnx(look_again(view, wrong).graph), model.feeds), "wrong")
    assert not prove(view, wrong).holds


def damaged(rewrite: Rewrite) -> Rewrite:
    """The rewrite with one weight off by a hundredth; without weights, with Abs around something that it reads."""
    floats = [name for name, array in rewrite.constants.items() if array.dtype == np.float32 and array.size]
    if floats:
        array = rewrite.constants[floats[0]].copy()
        array.flat[0] += 0.01 * max(float(np.abs(array).max()), 1.0)
        return replace(rewrite, constants={**rewrite.constants, floats[0]: array})
    last = rewrite.after[-1]
    inner = replace(last, outputs=("before_damage", *last.outputs[1:]))
    scale = np.full(1, 1.01, np.float32)
    end = replace(
        last, name="damage", op_type="Mul", inputs=("before_damage", "off"), outputs=last.outputs[:1], attributes={}
    )
    return replace(
        rewrite,
        after=(*rewrite.after[:-1], replace(inner, name="inner"), end),
        constants={**rewrite.constants, "off": scale},
    )
