"""Rules of the kernel family over drawn models: whatever fires gives the same result as the untouched model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reconv.exchange.rule import Example, Rule
from reconv.exchange.rules import (
    conv_as_transposed,
    conv_for_slices,
    separable_conv,
    separable_depthwise,
    shrunk_kernel,
    shrunk_kernel_and_input,
    subpixel_as_transposed,
    transposed_as_conv,
    transposed_as_subpixel,
)
from reconv.exchange.view import look, look_again
from reconv.graph import Graph, parse
from tests.property.exchange_cases import Tally, attributes, check_same, fired_once, rewrites
from tests.property.profiles import examples

Draw = st.DrawFn
Array = np.ndarray[Any, Any]
OPSETS = st.sampled_from((9, 11, 13, 17, 18))


def _model(draw: Draw, core: str, shape: tuple[int, ...], weights: dict[str, Any], inner: tuple[str, ...]) -> Example:
    """A model around nodes that make y from v: what is before and after them, and which values the model gives out."""
    before = draw(st.sampled_from(("v = Relu (x)", "v = Neg (x)")))
    after = draw(st.sampled_from(("", "t = Relu (y)", "t = LeakyRelu (y)\n u = Add (y, t)")))
    given_out = ["y"] if not after else [draw(st.sampled_from(("t", "u"))) if "u =" in after else "t"]
    if after and draw(st.booleans()):
        given_out.append("y")
    if inner and draw(st.integers(0, 4)) == 0:
        given_out.append(draw(st.sampled_from(inner)))
    if "w" in weights and draw(st.integers(0, 3)) == 0:  # another reader of the weights
        core += "\n s = ReduceSum <keepdims = 0> (w)"
        given_out.append("s")
    sizes_of = {name: ", ".join(f"{name}{axis}" for axis in range(len(shape) + 1)) for name in given_out}
    outputs = ", ".join("float s" if name == "s" else f"float[{sizes_of[name]}] {name}" for name in given_out)
    sizes = ", ".join(["n" if draw(st.booleans()) else "2", *map(str, shape)])
    return Example(f"g (float[{sizes}] x) => ({outputs}) {{ {before}\n {core}\n {after} }}", weights, draw(OPSETS))


@st.composite
def transposed(draw: Draw) -> Example:
    """A ConvTranspose of any geometry that has a result."""
    space = draw(st.sampled_from((1, 2, 2, 2)))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    ins, outs = groups * draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 5)) for _ in range(space)]
    same = draw(st.integers(0, 4)) > 0  # strides alike
    strides = [draw(st.integers(1, 3))] * space if same else [draw(st.integers(1, 3)) for _ in range(space)]
    dilations = [draw(st.integers(1, 2)) for _ in range(space)] if draw(st.integers(0, 4)) == 0 else [1] * space
    pads = [draw(st.integers(0, draw(st.sampled_from((k - 1, k - 1, 3))))) for k in kernel * 2]
    more = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations, strict=True)]
    more = more if draw(st.integers(0, 2)) == 0 else [0] * space
    size = [draw(st.integers(2, 6)) for _ in range(space)]
    for axis in range(space):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        assume(strides[axis] * (size[axis] - 1) + more[axis] + reach > pads[axis] + pads[axis + space])
    bias = draw(st.booleans())
    written = attributes(
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=groups,
        output_padding=more if any(more) else None,
        kernel_shape=kernel if draw(st.booleans()) else None,
    )
    weights: dict[str, Any] = {"w": (ins, outs, *kernel)}
    if bias:
        weights["b"] = (groups * outs,)
    core = f"y = ConvTranspose {written} (v, w{', b' if bias else ''})"
    return _model(draw, core, (ins, *size), weights, ())


def _weights(draw: Draw, shape: tuple[int, ...]) -> Array:
    """Weights of full or low rank, or with borders of zeros."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    outs, ins, *kernel = shape
    kind = draw(st.sampled_from(("full", "low rank", "low rank", "border", "border")))
    weight = random.standard_normal(shape)
    if kind == "low rank" and len(kernel) == 2:
        rank = draw(st.sampled_from((1, 1, 2)))
        along, across = random.standard_normal((rank, ins, kernel[0])), random.standard_normal((outs, rank, kernel[1]))
        weight = np.einsum("riy,orx->oiyx", along, across)
        if draw(st.booleans()) and kernel[0] == kernel[1]:
            weight = weight.swapaxes(2, 3)
    elif kind == "border":
        for axis in range(len(kernel)):
            taps = np.moveaxis(weight, 2 + axis, 0)
            taps[: draw(st.integers(0, kernel[axis] // 2))] = 0
            taps[kernel[axis] - draw(st.integers(0, kernel[axis] // 2)) :] = 0
    return np.ascontiguousarray(weight, np.float32)


FOCUS = """
    top = Slice (v, zero, far, rows, two)
    low = Slice (v, one, far, rows, two)
    a = Slice (top, zero, far, columns, two)
    b2 = Slice (low, zero, far, columns, two)
    c = Slice (top, one, far, columns, two)
    d = Slice (low, one, far, columns, two)
    p = Concat <axis = 1> ({order})"""
BOUNDS = {"zero": 0, "one": 1, "two": 2, "far": 2**31 - 1, "rows": 2, "columns": 3}


@st.composite
def convolutions(draw: Draw, depthwise: bool = False) -> Example:
    """A Conv, perhaps of phases (SpaceToDepth or Slices) or before a DepthToSpace."""
    beside = (("", ""), ("", ""), ("space", ""), ("focus", ""), ("", "DCR"), ("", "CRD"))
    head, foot = ("", "") if depthwise else draw(st.sampled_from(beside))
    space = 2 if head or foot or depthwise else draw(st.sampled_from((1, 2, 2)))
    groups = draw(st.integers(2, 4)) if depthwise else draw(st.sampled_from((1, 1, 1, 1, 2)))
    ins = groups if depthwise else groups * draw(st.integers(1, 3))
    outs = groups * draw(st.integers(1, 3)) * (4 if foot else 1)
    kernel = [draw(st.integers(3 if depthwise else 1, 5)) for _ in range(space)]
    strides = [draw(st.integers(1, 2)) for _ in range(space)] if draw(st.integers(0, 3)) == 0 else [1] * space
    dilations = [draw(st.integers(1, 2)) for _ in range(space)] if draw(st.integers(0, 4)) == 0 else [1] * space
    auto = draw(st.sampled_from((None, None, None, "SAME_UPPER", "SAME_LOWER", "VALID")))
    auto = auto if dilations == [1] * space else None
    pads = None if auto else [draw(st.integers(0, 5 if draw(st.booleans()) else 2)) for _ in range(2 * space)]
    if pads and foot:
        pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    elif pads and draw(st.integers(0, 3)) == 0:  # as much as the kernel reaches
        pads = [d * (k - 1) for d, k in zip(dilations * 2, kernel * 2, strict=True)]
    size = [draw(st.integers(5, 8)) for _ in range(space)]
    for axis in range(space):
        have = size[axis] + (pads[axis] + pads[axis + space] if pads else 0)
        assume(have > dilations[axis] * (kernel[axis] - 1) or str(auto).startswith("SAME"))
    deep = ins * 4 if head else ins
    weights: dict[str, Any] = {"w": _weights(draw, (outs, deep // groups, *kernel))}
    if draw(st.booleans()):
        random = np.random.default_rng(draw(st.integers(0, 99)))
        alike = foot and draw(st.integers(0, 3))
        weights["b"] = np.full(outs, 0.5, np.float32) if alike else random.standard_normal(outs).astype(np.float32)
    written = attributes(strides=strides, pads=pads, dilations=dilations, group=groups, auto_pad=auto)
    conv = f"Conv {written} ({'p' if head else 'v'}, w{', b' if 'b' in weights else ''})"
    core, inner = f"y = {conv}", [""]
    if head == "space":
        core = f"p = SpaceToDepth <blocksize = 2> (v)\n y = {conv}"
    elif head == "focus":
        core = FOCUS.format(order=", ".join(draw(st.permutations(("a", "b2", "c", "d"))))) + f"\n y = {conv}"
        weights |= {name: np.array([value]) for name, value in BOUNDS.items()}
    elif foot:
        core = f'q = {conv}\n y = DepthToSpace <blocksize = 2, mode = "{foot}"> (q)'
    inner = [name for name, there in (("p", head), ("q", foot)) if there]
    shape = (ins, *(s * 2 for s in size)) if head else (ins, *size)
    case = _model(draw, core, shape, weights, tuple(inner))
    opset = max(case.opset, 11 if foot or auto else 10 if head == "focus" else 9)
    return Example(case.text, case.weights, opset)


def test_depthwise_convolutions_keep_their_result() -> None:
    tally = Tally()

    @examples(60)
    @given(case=convolutions(depthwise=True))
    def check(case: Example) -> None:
        fired_once(separable_depthwise.RULE, case, tally)

    check()
    tally.require(fired=5, refused=5)


@pytest.mark.parametrize(
    ("rule", "least"),
    [(transposed_as_conv.RULE, 10), (transposed_as_subpixel.RULE, 10)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_transposed_convolutions_keep_their_result(rule: Rule, least: int) -> None:
    tally = Tally()

    @examples(100)
    @given(case=transposed())
    def check(case: Example) -> None:
        fired_once(rule, case, tally)

    check()
    tally.require(fired=least, refused=int(rule is transposed_as_subpixel.RULE))


def test_there_and_back() -> None:
    """Sub-pixel convolutions made from transposed ones become transposed ones again, with the same result."""
    tally = Tally()

    @examples(60)
    @given(case=transposed())
    def check(case: Example) -> None:
        untouched = look(case.graph())
        for view in fired_once(transposed_as_subpixel.RULE, case):
            for rewrite in rewrites(subpixel_as_transposed.RULE, view):
                check_same(untouched, look_again(view, rewrite), "there and back")
                tally.fired += 1

    check()
    tally.require(fired=5)


CONVOLUTIONS = (
    (separable_conv.RULE, 10),
    (shrunk_kernel.RULE, 3),
    (shrunk_kernel_and_input.RULE, 3),
    (conv_for_slices.RULE, 10),
    (conv_as_transposed.RULE, 3),
    (subpixel_as_transposed.RULE, 2),
)


def test_convolutions_keep_their_result() -> None:
    tallies = {rule.name: Tally() for rule, _ in CONVOLUTIONS}

    @examples(150)
    @given(case=convolutions())
    def check(case: Example) -> None:
        for rule, _ in CONVOLUTIONS:
            fired_once(rule, case, tallies[rule.name])

    check()
    for rule, least in CONVOLUTIONS:
        tallies[rule.name].require(fired=least)


@pytest.mark.parametrize("rule", [separable_conv.RULE, separable_depthwise.RULE], ids=lambda rule: rule.name)
@pytest.mark.parametrize("off", [1e-6, 1e-4, 1e-2])
def test_kernels_that_are_separable_but_for_a_little_are_refused(rule: Rule, off: float) -> None:
    weight = rule.example.weights["w"]
    assert isinstance(weight, np.ndarray)
    noise = np.random.default_rng(3).standard_normal(weight.shape)
    wrong = (weight + off * np.abs(weight).max() * noise).astype(np.float32)
    view = look(Example(rule.example.text, {**rule.example.weights, "w": wrong}).graph())
    assert not rewrites(rule, view)


KERNELS = (
    *(rule for rule, _ in CONVOLUTIONS if rule is not conv_for_slices.RULE),
    separable_depthwise.RULE,
    transposed_as_conv.RULE,
    transposed_as_subpixel.RULE,
)


def of_type(rule: Rule, kind: type, name: str) -> Graph:
    """The rule's example with other floats."""
    constants = rule.example.graph().constants
    cast = {name: array.astype(kind) if array.dtype == np.float32 else array for name, array in constants.items()}
    return parse(rule.example.text.replace("float[", f"{name}["), cast)


@pytest.mark.parametrize("rule", KERNELS, ids=lambda rule: rule.name)
def test_other_types_are_left_alone(rule: Rule) -> None:
    assert not rewrites(rule, look(of_type(rule, np.float64, "double")))


@pytest.mark.parametrize("rule", [shrunk_kernel.RULE, transposed_as_conv.RULE], ids=lambda rule: rule.name)
def test_half_precision_is_float32_inside(rule: Rule) -> None:
    graph = of_type(rule, np.float16, "float16")
    assert [info.dtype for info in (*graph.inputs, *graph.outputs)] == [np.float16] * 2
    assert rewrites(rule, look(graph))


@pytest.mark.parametrize("rule", KERNELS, ids=lambda rule: rule.name)
def test_weights_that_are_computed_are_left_alone(rule: Rule) -> None:
    text = rule.example.text.replace(", w", ", u").replace("{", "{ u = Relu (w) ", 1)
    assert not rewrites(rule, look(Example(text, rule.example.weights).graph()))
