"""Rules on upsampling, on drawn models around each pattern: whatever fires keeps the result.

What has to fire, and what must not, is said in each test by the algebra, apart from the rule.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.property.exchange_models import Model, normal, require_all_right, require_sequence_right
from tests.property.layer_texts import (
    FEW,
    LAYERS,
    attributes,
    convolutions,
    ints,
    outputs,
    plain,
    seeds,
    sizes,
    text_of,
)


@FEW
@given(st.data(), seeds)
def test_upsample_and_conv(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    space = draw(st.sampled_from([1, 2, 2]))
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"] if space == 2 else ["nearest", "linear"]))
    opset = draw(st.sampled_from([9, 10, 11, 13, 18]))
    how = draw(st.sampled_from(["", "asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel"]))
    rounding = draw(st.sampled_from(["", "floor", "ceil", "round_prefer_ceil"])) if mode == "nearest" else ""
    if opset < 11:
        mode, how, rounding = ("linear" if mode == "cubic" else mode), "", ""
    groups = draw(st.sampled_from([1, 1, 2]))
    conv = draw(convolutions(space, one=draw(st.booleans()), groups=groups))
    before = tuple(draw(ints(10, 12)) for _ in range(space))  # half of it takes any kernel
    factor = draw(st.sampled_from([(2.0,) * space, (3.0, 2.0)[:space], (1.5,) * space, (0.5,) * space]))
    if opset == 9:
        factor = tuple(max(f, 1.0) for f in factor)  # Upsample does not shrink
    scales = np.array([1, 1, *factor], np.float32)
    by = draw(st.sampled_from(["scales", "sizes", "computed"])) if opset >= 11 else "scales"
    goal = np.array([1, 4, *(int(n * f) for n, f in zip(before, factor, strict=True))], np.int64)
    more, first = "", ""
    if by == "computed":
        first = "all = Shape (x)\nhead = Slice (all, zero, two)\nsizes = Concat <axis = 0> (head, goal)"
    operator, inputs = ("Upsample", "x, scales") if opset == 9 else ("Resize", "x, scales")
    if opset >= 11:
        inputs = "x, roi, scales" if by == "scales" else "x, roi, none, sizes"
    how_text = attributes(mode=mode, coordinate_transformation_mode=how, nearest_mode=rounding)
    shared = draw(st.booleans())
    names = {"y": 2 + space, **({"z": 2 + space} if shared else {})}
    if shared:
        more = "z = Neg (u)"
    text = f"""g (float[{sizes("n", 4, *(f"s{i}" for i in range(space)))}] x) => ({outputs(names)}) {{
        {first}
        u = {operator} {how_text} ({inputs})
        y = Conv {text_of(conv)} (u, w, b)
        {more}
    }}"""
    weights = {"w": normal(seed, 6, 4 // groups, *conv["kernel"]), "b": normal(seed + 1, 6)}
    if by == "scales":
        weights["scales"] = scales
    elif by == "sizes":
        weights["sizes"] = goal
        text = text.replace("float[n, ", "float[1, ")
    else:
        weights |= {"zero": np.array([0]), "two": np.array([2]), "goal": goal[2:]}
    if opset >= 11:
        weights |= {"roi": np.zeros(0, np.float32), "none": np.zeros(0, np.float32)}
    if opset >= 13:
        text = text.replace("roi, none", ", ").replace("roi", "")
    model = Model(text, weights, {"x": normal(seed + 2, 1, 4, *before)}, opset)
    fired = require_all_right(model, LAYERS)
    enlarges = by != "scales" or factor[0] > 1  # sizes say nothing at free sizes of the input
    assert ("conv1x1 before upsample" in fired) == (plain(conv) and enlarges), fired
    exact = mode == "nearest" and by == "scales" and factor[0] > 1 and factor[0] == round(factor[0])
    maps = opset < 11 or (how or "half_pixel", rounding or "round_prefer_floor") in {
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
    }
    if "transposed conv for upsample and conv" in fired:
        assert exact
        assert maps


@FEW
@given(st.data(), seeds)
def test_conv_and_downsample(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    conv = draw(convolutions(2, one=True))
    scale = draw(st.sampled_from([0.5, 0.6, 1.0, 2.0]))
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    extra = ", antialias = 1" if mode == "linear" and draw(st.booleans()) else ""
    text = f"""g (float[1, 4, 6, 8] x) => ({outputs({"y": 4})}) {{
        c = Conv {text_of(conv)} (x, w, b)
        y = Resize <mode = "{mode}"{extra}> (c, , scales)
    }}"""
    weights = {"w": normal(seed, 3, 4, 1, 1), "b": normal(seed + 1, 3), "scales": np.array([1, 1, scale, scale], "f4")}
    fired = require_all_right(Model(text, weights, {"x": normal(seed, 1, 4, 6, 8)}, 18), LAYERS)
    assert ("downsample before conv1x1" in fired) == (plain(conv) and scale < 1)


@FEW
@given(st.data(), seeds)
def test_elementwise_after_upsample(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    nearest = {
        "Relu (u)": True,
        "Clip (u, low, high)": True,
        "LeakyRelu <alpha = 0.3> (u)": True,
        "PRelu (u, slope)": True,
        "Pow (u, two)": True,
        "Div (two, u)": True,
        "Mul (u, v)": True,
        "Add (u, v)": False,
        "Sub (slope, u)": False,
        "Div (u, slope)": False,
        "BatchNormalization (u, k, k, k, p)": False,
        "Mul (u, s)": True,
    }
    f = draw(st.sampled_from(sorted(nearest)))
    size = draw(st.sampled_from(["1, 3, 4, 5", "n, 3, h, w"]))
    shared = draw(st.booleans())
    text = f"""g (float[{size}] x, float[{size}] z) => ({outputs({"y": 4, **({"t": 4} if shared else {})})}) {{
        u = Resize <mode = "{mode}"> (x, , scales)
        v = Resize <mode = "{mode}"> (z, , scales)
        s = Sigmoid (u)
        y = {f}
        {"t = Tanh (u)" if shared else ""}
    }}"""
    weights = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "low": np.array(-0.5, np.float32),
        "high": np.array(0.7, np.float32),
        "two": np.array([2], np.float32),
        "slope": normal(seed, 3, 1, 1),
        "k": normal(seed + 1, 3),
        "p": np.abs(normal(seed + 2, 3)) + 0.5,
    }
    feeds = {"x": normal(seed + 3, 1, 3, 4, 5), "z": normal(seed + 4, 1, 3, 4, 5)}
    if f == "Div (two, u)":
        feeds["x"] = np.abs(feeds["x"]) + 1
    model = Model(text, weights, feeds)
    fired = require_all_right(model, LAYERS)
    if mode == "nearest" or not nearest[f]:
        assert "activation before upsample" in fired
    require_sequence_right(model, LAYERS)


@FEW
@given(st.data(), seeds)
def test_concat_and_conv(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    space = draw(st.sampled_from([1, 2]))
    opset = draw(st.sampled_from([9, 11, 13, 17]))
    conv = draw(convolutions(space, one=draw(st.booleans())))
    small, large = (4,) * space, (8,) * space
    counts = [draw(ints(1, 6)) for _ in range(3)]
    axis = draw(st.sampled_from([1, -1 - space])) if opset >= 11 else 1
    shared = draw(st.booleans())
    outs = draw(ints(1, 4))
    up = "Upsample (a, scales)" if opset < 10 else "Resize (a, scales)" if opset < 11 else "Resize (a, roi, scales)"
    use = draw(st.booleans())
    if not use:
        small = large
    names = {"y": 2 + space, **({"z": 2 + space} if shared else {})}
    text = f"""g (float[{sizes(1, counts[0], *small)}] a, float[{sizes(1, counts[1], *large)}] b,
               float[{sizes(1, counts[2], *large)}] c) => ({outputs(names)}) {{
        u = {up if use else "Relu (a)"}
        j = Concat <axis = {axis}> (b, u, c)
        y = Conv {text_of(conv)} (j, w, k)
        {"z = Neg (j)" if shared else ""}
    }}"""
    weights = {"w": normal(seed, outs, sum(counts), *conv["kernel"]), "k": normal(seed + 1, outs)}
    if use:
        weights |= {"scales": np.array([1, 1] + [2] * space, np.float32), "roi": np.zeros(0, np.float32)}
    shapes = {"a": (counts[0], *small), "b": (counts[1], *large), "c": (counts[2], *large)}
    model = Model(text, weights, {n: normal(seed + i, 1, *s) for i, (n, s) in enumerate(shapes.items())}, opset)
    fired = require_all_right(model, LAYERS)
    if use and plain(conv):
        assert "conv per part of a concat" in fired
        assert require_sequence_right(model, LAYERS).index("conv1x1 before upsample") > 0
    elif not shared and 2 * sum(counts) > 6 * outs:
        assert "conv per part of a concat" in fired


@FEW
@given(st.data(), seeds)
def test_nearest_upsample_and_conv(data: st.DataObject, seed: int) -> None:
    """The transposed convolution: every whole factor, padding up to the kernel's reach, groups, and free sizes."""
    draw = data.draw
    space = draw(st.sampled_from([1, 2]))
    factor = tuple(draw(st.sampled_from([2, 3, 4, 1])) for _ in range(space))
    kernel = tuple(draw(st.sampled_from([3, 2, 4, 1])) for _ in range(space))
    most = draw(st.sampled_from([1, 1, 1, 0]))  # 0: may pad more than the kernel reaches
    pads = tuple(draw(ints(0, k - most)) for _ in range(2) for k in kernel)
    groups = draw(st.sampled_from([1, 2, 4]))
    opset = draw(st.sampled_from([9, 10, 13]))
    how, rounding = draw(
        st.sampled_from([("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "ceil")])
    )
    text = f"""g (float[{sizes("n", 4, *(f"s{i}" for i in range(space)))}] x) => ({outputs({"y": 2 + space})}) {{
        u = {"Upsample (x, scales)" if opset == 9 else "Resize (x, scales)"}
        y = Conv {attributes(pads=pads, group=groups)} (u, w, b)
    }}"""
    if opset > 10:
        chosen = attributes(coordinate_transformation_mode=how, nearest_mode=rounding)
        text = text.replace("Resize (x, scales)", f"Resize {chosen} (x, , scales)")
    weights = {"w": normal(seed, 8, 4 // groups, *kernel), "b": normal(seed + 1, 8)}
    weights["scales"] = np.array([1, 1, *factor], np.float32)
    fired = require_all_right(Model(text, weights, {"x": normal(seed + 2, 2, 4, *(5, 4)[:space])}, opset), LAYERS)
    repeats = set(factor) != {1} and (opset <= 10 or rounding != "ceil")
    reaches = all(p <= k - 1 for p, k in zip(pads, kernel * 2, strict=True))
    right = repeats and reaches and set(kernel) != {1}
    assert ("transposed conv for upsample and conv" in fired) == right
