"""Clean-up rules of the layer family over drawn models: what fires gives the same result, and comes to an end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconv.exchange.proof import prove
from reconv.exchange.rule import Example, Rule
from reconv.exchange.rules import (
    cancelling_pairs,
    conv_as_transposed,
    do_nothing,
    equal_constants,
    equal_nodes,
    merged_reshapes,
    merged_transposes,
    pad_into_conv,
    pad_into_pool,
    separable_conv,
    separable_depthwise,
    shrunk_kernel,
    shrunk_kernel_and_input,
    subpixel_as_transposed,
    transposed_as_conv,
    transposed_as_subpixel,
)
from reconv.exchange.view import look, look_again
from reconv.graph import Rewrite
from tests.property.exchange_cases import Tally, attributes, check_same, fired_once, rewrites, simplified
from tests.property.profiles import examples

Draw = st.DrawFn
MOVES = (cancelling_pairs.RULE, merged_reshapes.RULE, merged_transposes.RULE)
CLEANUPS = (do_nothing.RULE, *MOVES, equal_constants.RULE, equal_nodes.RULE)
PADS = (pad_into_conv.RULE, pad_into_pool.RULE)
AXES_AS_INPUT, PADS_AS_INPUT, PAD_AXES = 13, 11, 18


@st.composite
def padded(draw: Draw) -> Example:
    """A Pad in any mode before a convolution or a pooling."""
    opset, space = draw(st.sampled_from((9, 10, 11, 13, 18))), draw(st.integers(1, 2))
    weights: dict[str, Any] = {}
    mode = draw(st.sampled_from((None, None, None, None, None, "constant", "edge")))
    value = draw(st.sampled_from((None, 0.0, 0.0, float("-inf"), 1.0)))
    low = draw(st.sampled_from((0, 0, 0, 0, 0, -1)))
    high = draw(st.integers(1, 2))
    pads = [0, 0, *(draw(st.integers(low, high)) for _ in range(space))]
    pads += [draw(st.sampled_from((0, 0, 0, 0, 0, 1))), 0, *(draw(st.integers(low, high)) for _ in range(space))]
    if opset < PADS_AS_INPUT:
        pad = f"Pad {attributes(pads=pads, mode=mode, value=0.0 if value in (None, float('-inf')) else value)} (v)"
    else:
        names = ["v", "pads"]
        if opset >= PAD_AXES and not pads[space + 2] and draw(st.booleans()):  # of space alone, in another order
            axes = draw(st.permutations(range(-space, 0)))
            pads = [pads[space + 2 + axis] for axis in axes] + [pads[axis] for axis in axes]
            weights["axes"] = np.array(axes)
        if value is not None or "axes" in weights:
            names.append("value" if value is not None else "")
        names += ["axes"] * ("axes" in weights)
        weights["pads"] = np.array(pads)
        if value is not None:
            weights["value"] = np.array(value, np.float32)
        pad = f"Pad {attributes(mode=mode)} ({', '.join(names)})"
    kernel = [draw(st.sampled_from((1, 2, 3, 3))) for _ in range(space)]
    own = [draw(st.integers(0, 1)) if k > 1 else 0 for k in kernel * 2] if draw(st.booleans()) else [0] * space * 2
    geometry: dict[str, Any] = {"strides": [draw(st.integers(1, 2)) for _ in range(space)], "pads": own}
    kind = draw(st.sampled_from(("Conv", "AveragePool", "MaxPool", "MaxPool")))
    if kind == "Conv":
        weights["w"] = (4, 3, *kernel)
        if draw(st.integers(0, 2)) == 0:
            geometry["pads"], geometry["auto_pad"] = None, draw(st.sampled_from(("VALID", "SAME_UPPER", "SAME_LOWER")))
        node = f"Conv {attributes(**geometry)} (p, w)"
    else:
        geometry["kernel_shape"] = kernel
        if kind == "AveragePool":
            geometry["count_include_pad"] = draw(st.sampled_from((None, 1)))
        if opset > 9:
            geometry["ceil_mode"] = draw(st.sampled_from((None, None, None, None, 1)))
        node = f"{kind} {attributes(**geometry)} (p)"
    sizes = ["n" if draw(st.booleans()) else "2", "3", *(str(draw(st.integers(4, 7))) for _ in range(space))]
    before = draw(st.sampled_from(("Relu", "Relu", "Neg")))
    also = f", float[{', '.join(f'p{axis}' for axis in range(space + 2))}] p" * draw(st.integers(0, 1))
    shape = ", ".join(f"y{axis}" for axis in range(space + 2))
    if kind == "Conv" and also and value == float("-inf"):
        also = ""
    text = (
        f"g (float[{', '.join(sizes)}] x) => (float[{shape}] y{also}) {{ v = {before} (x)\n p = {pad}\n y = {node} }}"
    )
    return Example(text, weights, opset)


class Moves:
    """A chain of operators that move the elements of a map, drawn one by one with its shape kept in mind."""

    def __init__(self, draw: Draw) -> None:
        self.draw, self.opset = draw, draw(st.sampled_from((9, 11, 13, 17)))
        self.shape = [draw(st.sampled_from((1, 2, 4))) for _ in range(4)]
        self.free = draw(st.booleans())
        first = ["n" if self.free else str(self.shape[0]), *map(str, self.shape[1:])]
        self.inputs = ", ".join(first)
        if self.free:
            self.shape[0] = 2
        self.lines: list[str] = []
        self.values = [("x", list(self.shape))]
        self.weights: dict[str, Any] = {"half": np.array(0.5, np.float32), "six": np.array([6.0], np.float32)}

    def write(self, op: str, more: str = "", **given: Any) -> None:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {op} {attributes(**given)} ({self.values[-1][0]}{more})")
        self.values.append((name, list(self.shape)))

    def constant(self, values: list[int]) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.array(values)
        return name

    def axes(self, op: str, axes: list[int]) -> None:
        if self.opset < AXES_AS_INPUT:
            self.write(op, axes=axes)
        else:
            self.write(op, f", {self.constant(axes)}")

    def move(self) -> None:
        draw, shape = self.draw, self.shape
        kind = draw(
            st.sampled_from(("transpose", "transpose", "reshape", "unsqueeze", "squeeze", "blocks", "f", "flat"))
        )
        if kind == "transpose":
            perm = list(draw(st.permutations(range(len(shape)))))
            self.shape = [shape[axis] for axis in perm]
            named = perm != list(range(len(shape)))[::-1] or draw(st.booleans())
            self.write("Transpose", perm=perm if named else None)
        elif kind == "reshape":
            at = draw(st.integers(0, len(shape) - 1))
            target = [*shape[:at], int(np.prod(shape[at:]))] if draw(st.booleans()) else [*shape[:at], 1, *shape[at:]]
            self.shape = list(target)
            written = [0 if i < at and draw(st.booleans()) else size for i, size in enumerate(target)]
            if self.free or draw(st.booleans()):
                written[draw(st.integers(0, len(written) - 1))] = -1
            assume(not self.free or written.count(2) == 0)
            self.write("Reshape", f", {self.constant(written)}")
        elif kind == "unsqueeze" and len(shape) < 6:
            at = draw(st.integers(0, len(shape)))
            self.shape = [*shape[:at], 1, *shape[at:]]
            self.axes("Unsqueeze", [at - len(self.shape) if self.opset > 10 and draw(st.booleans()) else at])
        elif kind == "squeeze" and 1 in shape[1:]:
            at = draw(st.sampled_from([i for i, size in enumerate(shape) if size == 1]))
            self.shape = [*shape[:at], *shape[at + 1 :]]
            self.axes("Squeeze", [at - len(shape) if self.opset > 10 and draw(st.booleans()) else at])
        elif kind == "blocks" and len(shape) == 4:
            n, c, h, w = shape
            if h % 2 == 0 and w % 2 == 0:
                self.shape = [n, c * 4, h // 2, w // 2]
                self.write("SpaceToDepth", blocksize=2)
            if self.shape[1] % 4 == 0 and draw(st.booleans()):
                n, c, h, w = self.shape
                self.shape = [n, c // 4, h * 2, w * 2]
                self.write(
                    "DepthToSpace",
                    blocksize=2,
                    mode=draw(st.sampled_from(("CRD", "DCR", None))) if self.opset > 10 else None,
                )
        elif kind == "flat":
            at = draw(st.integers(0, len(shape)))
            self.shape = [int(np.prod(shape[:at])), int(np.prod(shape[at:]))]
            self.write("Flatten", axis=at)
        else:
            op, more = draw(st.sampled_from((("Relu", ""), ("Mul", ", half"), ("Add", ", six"), ("Abs", ""))))
            self.write(op, more)


@st.composite
def moved(draw: Draw) -> Example:
    moves = Moves(draw)
    for _ in range(draw(st.integers(2, 6))):
        moves.move()
    last, inner = moves.values[-1], moves.values[1:-1]
    assume(len(moves.values) > 2)
    outputs = [last, *([draw(st.sampled_from(inner))] if inner and draw(st.integers(0, 3)) == 0 else [])]
    listed = ", ".join(f"float[{', '.join(f'{n}_{i}' for i in range(len(shape)))}] {n}" for n, shape in outputs)
    body = "\n ".join(moves.lines)
    return Example(f"g (float[{moves.inputs}] x) => ({listed}) {{ {body} }}", moves.weights, moves.opset)


def test_paddings_keep_the_result() -> None:
    tallies = {rule.name: Tally() for rule in PADS}

    @examples(150)
    @given(case=padded())
    def check(case: Example) -> None:
        for rule in PADS:
            fired_once(rule, case, tallies[rule.name])

    check()
    for rule in PADS:
        tallies[rule.name].require(fired=10, refused=3)


def test_moves_keep_the_result_one_by_one_and_all_together() -> None:
    tallies = {rule.name: Tally() for rule in MOVES}

    @examples(150)
    @given(case=moved())
    def check(case: Example) -> None:
        for rule in MOVES:
            fired_once(rule, case, tallies[rule.name])
        view = look(case.graph())
        after = simplified(view, CLEANUPS)
        assert len(after.graph.nodes) <= len(view.graph.nodes)
        check_same(view, after, "all together")

    check()
    for tally in tallies.values():
        tally.require(fired=4)


@pytest.mark.parametrize("order", [(2, 3), (3, 2)])
@pytest.mark.parametrize("batch", ["1", "n"])
def test_channel_shuffles_that_undo_one_another_vanish(order: tuple[int, int], batch: str) -> None:
    a, b = order
    text = f"""g (float[{batch}, 6, 4, 5] x) => (float[o, c, h, w] y) {{
        v = Relu (x)
        r1 = Reshape (v, apart)
        t1 = Transpose <perm = [0, 2, 1, 3, 4]> (r1)
        s1 = Reshape (t1, whole)
        r2 = Reshape (s1, swapped)
        t2 = Transpose <perm = [0, 2, 1, 3, 4]> (r2)
        s2 = Reshape (t2, whole)
        y = Neg (s2)
    }}"""
    shapes = {"apart": [-1, a, b, 4, 5], "swapped": [-1, b, a, 4, 5], "whole": [-1, 6, 4, 5]}
    view = look(Example(text, {name: np.array(shape) for name, shape in shapes.items()}).graph())
    after = simplified(view, CLEANUPS)
    assert [node.op_type for node in after.graph.nodes] == ["Relu", "Neg"]
    check_same(view, after, "shuffles")


@st.composite
def twins(draw: Draw) -> tuple[Example, int]:
    """Two branches of one input, and how many of their convolutions are the same."""
    random = np.random.default_rng(draw(st.integers(0, 99)))
    weights: dict[str, Any] = {}
    lines: list[str] = []
    ends, alike, equal = ["x", "x"], True, 0
    for depth in range(draw(st.integers(1, 3))):
        weight = random.standard_normal((3, 3, 1, 3)).astype(np.float32)
        change = draw(st.sampled_from(("none", "none", "none", "weight", "attribute", "operator")))
        for side in (0, 1):
            kernel = weight.copy()
            if side and change == "weight":
                kernel[draw(st.integers(0, 2)), 0, 0, 1] *= -1
            weights[f"w{depth}{side}"] = kernel
            pads = [0, 1, 0, 1] if not (side and change == "attribute") else [0, 2, 0, 0]
            written = attributes(
                pads=pads, group=draw(st.sampled_from((None, 1))), auto_pad=draw(st.sampled_from((None, "NOTSET")))
            )
            name = f"a{depth}{side}"
            op = "Relu" if not (side and change == "operator") else "Abs"
            lines += [
                f"c{depth}{side} = Conv {written} ({ends[side]}, w{depth}{side})",
                f"{name} = {op} (c{depth}{side})",
            ]
            ends[side] = name
        alike = alike and change in ("none", "operator")
        equal += alike
        alike = alike and change == "none"
    outputs = draw(st.sampled_from((f"z = Sub ({ends[0]}, {ends[1]})", "")))
    names = ["z"] if outputs else ends
    listed = ", ".join(f"float[{name}0, {name}1, {name}2, {name}3] {name}" for name in names)
    text = f"g (float[1, 3, 5, 6] x) => ({listed}) {{ " + "\n ".join([*lines, outputs]) + " }"
    return Example(text, weights), equal


def test_branches_are_one_as_far_as_they_are_equal() -> None:
    tally = Tally()

    @examples(40)
    @given(drawn=twins())
    def check(drawn: tuple[Example, int]) -> None:
        case, equal = drawn
        fired_once(equal_nodes.RULE, case, tally)
        fired_once(equal_constants.RULE, case)
        view = look(case.graph())
        after = simplified(view, CLEANUPS)
        check_same(view, after, "twins")
        before, left = (sum(n.op_type == "Conv" for n in v.graph.nodes) for v in (view, after))
        assert before - left == equal
        stored = [array.tobytes() for array in after.graph.constants.values()]
        assert len(stored) == len(set(stored))

    check()
    tally.require(fired=15)


WEIGHTED = (
    separable_depthwise.RULE,
    separable_conv.RULE,
    shrunk_kernel.RULE,
    transposed_as_conv.RULE,
    conv_as_transposed.RULE,
    transposed_as_subpixel.RULE,
    subpixel_as_transposed.RULE,
    shrunk_kernel_and_input.RULE,
)


@pytest.mark.parametrize("rule", WEIGHTED, ids=lambda rule: rule.name)
def test_a_weight_that_is_off_by_a_thousandth_is_seen(rule: Rule) -> None:
    view = look(rule.example.graph())
    rewrite = rewrites(rule, view)[0]
    for name, array in rewrite.constants.items():
        if array.dtype != np.float32:
            continue
        wrong = array.copy()
        wrong.flat[np.abs(wrong).argmax()] *= 1.001
        changed = Rewrite(rewrite.before, rewrite.after, {**rewrite.constants, name: wrong})
        with pytest.raises(AssertionError, match="values differ"):
            check_same(view, look_again(view, changed), "off")
        assert not prove(view, changed).holds


@pytest.mark.parametrize("rule", PADS, ids=lambda rule: rule.name)
def test_pads_on_the_wrong_side_are_seen(rule: Rule) -> None:
    view = look(rule.example.graph())
    rewrite = rewrites(rule, view)[0]
    *others, last = rewrite.after
    wrong = replace(last, attributes={**last.attributes, "pads": (2, 0, 0, 1)})
    changed = Rewrite(rewrite.before, (*others, wrong), rewrite.constants)
    assert not prove(view, changed).holds
    with pytest.raises(AssertionError):
        check_same(view, look_again(view, changed), "wrong side")


def test_moves_that_do_not_cancel_are_seen() -> None:
    """What the rules would do if they took any two transpositions, or block orders, for a pair that cancels."""
    text = "g (float[2, 4, 4, 4] x) => (float[a, b, c, d] y) {{ v = Relu (x) {0} y = Neg (q) }}"
    for pair in (
        "p = Transpose <perm = [0, 2, 3, 1]> (v) q = Transpose <perm = [0, 2, 3, 1]> (p)",
        'p = SpaceToDepth <blocksize = 2> (v) q = DepthToSpace <blocksize = 2, mode = "CRD"> (p)',
    ):
        view = look(Example(text.format(pair)).graph())
        first, second = view.graph.nodes[1:3]
        wrong = Rewrite((first, second), (view.node("Identity", first.inputs, second.outputs),))
        assert not prove(view, wrong).holds
        with pytest.raises(AssertionError, match="values differ"):
            check_same(view, look_again(view, wrong), "not a pair")
