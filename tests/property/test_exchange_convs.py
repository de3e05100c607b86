"""Rules on several convolutions, on drawn models around each pattern: whatever fires keeps the result.

What has to fire, and what must not, is said in each test by the algebra, apart from the rule.
"""

from __future__ import annotations

from itertools import product
from typing import Any

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
from tests.property.profiles import examples


@FEW
@given(st.data(), seeds)
def test_sums_of_convs(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    one_map = draw(st.booleans())
    first = draw(convolutions(2))
    second = draw(st.sampled_from([first, draw(convolutions(2))]))
    ins = (3, 3) if one_map else (3, draw(ints(1, 4)))
    outs = draw(ints(1, 9))
    text = f"""g (float[1, {ins[0]}, 9, 9] x, float[1, {ins[1]}, 9, 9] z) => ({outputs({"y": 4})}) {{
        p = Conv {text_of(first)} (x, v, b)
        q = Conv {text_of(second)} ({"x" if one_map else "z"}, w)
        r = Neg (z)
        y = Add (p, q)
    }}"""
    weights = {
        "v": normal(seed, outs, ins[0], *first["kernel"]),
        "b": normal(seed, outs),
        "w": normal(seed, outs, ins[1], *second["kernel"]),
    }
    feeds = {"x": normal(seed + 5, 1, ins[0], 9, 9), "z": normal(seed + 6, 1, ins[1], 9, 9)}
    shapes = [run_shape(conv) for conv in (first, second)]
    if shapes[0] != shapes[1]:
        return  # not a model
    fired = require_all_right(Model(text, weights, feeds), LAYERS)
    if first is second:
        assert ("conv of a concat" in fired) == (one_map or 2 * sum(ins) < 3 * outs)


def run_shape(conv: dict[str, Any]) -> list[int]:
    """The size that a convolution gives for 9 pixels, by axis."""
    found = []
    for axis, k in enumerate(conv["kernel"]):
        stride = (conv["strides"] or (1, 1))[axis]
        reach = (k - 1) * (conv["dilations"] or (1, 1))[axis] + 1
        if conv["auto_pad"] == "SAME_UPPER":
            found.append(-(-9 // stride))
        else:
            pads = conv["pads"] or (0,) * 4
            found.append((9 + pads[axis] + pads[axis + 2] - reach) // stride + 1)
    return found


@examples(30)
@given(st.data(), seeds)
def test_convs_in_a_row(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    space = draw(st.sampled_from([1, 2]))
    groups = [draw(st.sampled_from([1, 1, 2, 4])) for _ in range(2)]
    one = draw(ints(0, 2))
    convs = [draw(convolutions(space, one=i == one, groups=g)) for i, g in enumerate(groups)]
    middle, outs = draw(st.sampled_from([4, 8, 12])), draw(st.sampled_from([4, 8]))
    bias = draw(st.booleans())
    shared = draw(st.booleans())
    names = {"y": 2 + space, **({"m": 2 + space} if shared else {})}
    text = f"""g (float[{sizes("n", 4, *(f"s{i}" for i in range(space)))}] x) => ({outputs(names)}) {{
        m = Conv {text_of(convs[0])} (x, v{", b" if bias else ""})
        y = Conv {text_of(convs[1])} (m, w, d)
    }}"""
    weights = {
        "v": normal(seed, middle, 4 // groups[0], *convs[0]["kernel"]),
        "w": normal(seed + 1, outs, middle // groups[1], *convs[1]["kernel"]),
        "d": normal(seed + 2, outs),
        **({"b": normal(seed + 3, middle)} if bias else {}),
    }
    model = Model(text, weights, {"x": normal(seed + 4, 2, 4, *(9,) * space)})
    fired = require_all_right(model, LAYERS)
    if plain(convs[1]) and groups == [1, 1] and not shared and convs[0]["auto_pad"] in ("", "VALID"):
        taps = int(np.prod(convs[0]["kernel"]))
        assert ("merge convs" in fired) == (outs * 4 * taps <= middle * 4 * taps + outs * middle)


@FEW
@given(st.data(), seeds)
def test_siblings(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    opset = draw(st.sampled_from([9, 11, 13, 18]))
    groups = draw(st.sampled_from([1, 1, 2]))
    base = draw(convolutions(2, groups=groups))
    convs = [draw(st.sampled_from([base, base, {**base, "strides": (2, 2)}])) for _ in range(3)]
    after = draw(st.sampled_from(["Relu", "Silu", "Concat", "mixed", ""]))
    shared = draw(st.booleans())
    lines = [
        f"c{i} = Conv {text_of(conv)} (x, {'w0' if shared else f'w{i}'}{', b' if i else ''})"
        for i, conv in enumerate(convs)
    ]
    for i in range(3):
        if after == "Silu":
            lines += [f"s{i} = Sigmoid (c{i})", f"y{i} = Mul (s{i}, c{i})"]
        else:
            word = "Relu" if after == "Relu" or (after == "mixed" and i) else "Neg"
            lines.append(f"y{i} = {word} (c{i})")
    alike = len({id(conv) for conv in convs}) == 1 or convs[0] == convs[1] == convs[2]
    names = {f"y{i}": 4 for i in range(3)}
    if after == "" and alike:
        lines.append("j = Concat <axis = 1> (c2, c0, c1)")
        lines = [line for line in lines if not line.startswith("y")]
        names = {"j": 4}
    text = f"g (float[1, 4, h, w] x) => ({outputs(names)}) {{\n" + "\n".join(lines) + "\n}"
    weights = {f"w{i}": normal(seed + i, 4, 4 // groups, *base["kernel"]) for i in range(3)} | {"b": normal(seed, 4)}
    model = Model(text, weights, {"x": normal(seed + 9, 1, 4, 9, 8)}, opset)
    fired = require_all_right(model, LAYERS)
    if groups == 1 and alike and base["auto_pad"] != "SAME_UPPER":
        assert "wider conv" in fired
        if names == {"j": 4}:
            assert require_sequence_right(model, [r for r in LAYERS if r.name != "separate convs"])
    if groups > 1:
        assert "wider conv" not in fired


@FEW
@given(st.data(), seeds)
def test_splits_of_a_wide_conv(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    opset = draw(st.sampled_from([9, 13, 18]))
    conv = draw(convolutions(2))
    parts = draw(st.lists(ints(1, 4), min_size=2, max_size=3))
    f = draw(st.sampled_from(["Identity", "Relu", "Silu"]))
    used = draw(st.sets(st.sampled_from(range(len(parts))), min_size=1))
    names = [f"p{i}" for i in range(len(parts))]
    line = {"Identity": "a = Identity (m)", "Relu": "a = Relu (m)", "Silu": "s = Sigmoid (m)\na = Mul (m, s)"}[f]
    form = f"<axis = 1, split = {parts}> (a)" if opset < 13 else "<axis = 1> (a, sizes)"
    uses = "\n".join(f"y{i} = Neg (p{i})" for i in sorted(used))
    text = f"""g (float[n, 4, h, w] x) => ({outputs({f"y{i}": 4 for i in sorted(used)})}) {{
        m = Conv {text_of(conv)} (x, w, b)
        {line}
        {", ".join(names)} = Split {form}
        {uses}
    }}"""
    weights = {"w": normal(seed, sum(parts), 4, *conv["kernel"]), "b": normal(seed, sum(parts))}
    if opset >= 13:
        weights["sizes"] = np.array(parts, np.int64)
    model = Model(text, weights, {"x": normal(seed, 2, 4, 8, 8)}, opset)
    fired = require_all_right(model, LAYERS)
    if f != "Identity" and (conv["auto_pad"] != "SAME_UPPER" or set(conv["strides"] or (1,)) == {1}):
        assert "separate convs" in fired
    require_sequence_right(model, LAYERS, 3)


@FEW
@given(st.data(), seeds)
def test_strided_siblings(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    space = draw(st.sampled_from([1, 2]))
    stride = draw(st.sampled_from([(2,) * space, (3, 2)[:space]]))
    count = draw(ints(1, 3))
    opset = draw(st.sampled_from([9, 10, 13]))
    groups = [draw(st.sampled_from([1, 2])) for _ in range(count)]
    lines = [f"y{i} = Conv {attributes(strides=stride, group=g)} (x, w{i})" for i, g in enumerate(groups)]
    shape = sizes("n", 4, *(f"s{i}" for i in range(space)))
    names = {f"y{i}": 2 + space for i in range(count)}
    text = f"g (float[{shape}] x) => ({outputs(names)}) {{\n" + "\n".join(lines) + "\n}"
    weights = {f"w{i}": normal(seed + i, 4, 4 // g, *(1,) * space) for i, g in enumerate(groups)}
    fired = require_all_right(Model(text, weights, {"x": normal(seed, 1, 4, *(7, 8)[:space])}, opset), LAYERS)
    assert ("subsample before conv1x1" in fired) == (count > 1 and opset >= 10)


@FEW
@given(st.data(), seeds)
def test_slices_and_conv(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    step = draw(st.sampled_from([2, 2, 3]))
    conv = draw(convolutions(2))
    offsets = draw(st.permutations(list(product(range(step), repeat=2))))
    if draw(st.booleans()):
        offsets = offsets[: draw(ints(2, len(offsets)))]
    blocks, chained, shared = (draw(st.booleans()) for _ in range(3))
    lines = []
    weights = {"end": np.array([2**62]), "ends": np.array([2**62] * 2), "both": np.array([-2, 3])}
    weights |= {
        "rows": np.array([2]),
        "columns": np.array([3]),
        "step": np.array([step]),
        "steps": np.array([step] * 2),
    }
    weights |= {f"at{r}": np.array([r]) for r in range(step)} | {"k": normal(seed, 3)}
    for i, (row, column) in enumerate(offsets):
        if chained:
            lines.append(f"r{i} = Slice (x, at{row}, end, rows, step)")
            lines.append(f"p{i} = Slice (r{i}, at{column}, end, columns, step)")
        else:
            weights[f"from{i}"] = np.array([row, column])
            lines.append(f"p{i} = Slice (x, from{i}, ends, both, steps)")
    if blocks:
        offsets = list(product(range(step), repeat=2))
        lines = [f"j = SpaceToDepth <blocksize = {step}> (x)"]
    else:
        lines.append(f"j = Concat <axis = 1> ({', '.join(f'p{i}' for i in range(len(offsets)))})")
    names = {"y": 4, **({"z": 4} if shared else {})}
    if shared:
        lines.append(f"z = Neg ({'j' if blocks else 'p0'})")
    lines.append(f"y = Conv {text_of(conv)} (j, w, k)")
    weights["w"] = normal(seed, 3, 2 * len(offsets), *conv["kernel"])
    text = f"g (float[n, 2, h, w] x) => ({outputs(names)}) {{\n" + "\n".join(lines) + "\n}"
    fired = require_all_right(Model(text, weights, {"x": normal(seed + 1, 1, 2, 6 * step, 5 * step)}), LAYERS)
    slides = set(conv["strides"] or (1,)) == {1} == set(conv["dilations"] or (1,))
    assert ("conv for slices and conv" in fired) == (slides and len(offsets) == step**2)


@FEW
@given(st.data(), seeds)
def test_low_rank(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    conv = draw(convolutions(2, one=draw(st.booleans())))
    taps = int(np.prod(conv["kernel"]))
    outs, ins, rank = draw(ints(4, 16)), draw(ints(4, 16)), draw(ints(1, 6))
    exact = draw(st.booleans())
    tall = draw(st.booleans())
    left, right = (outs * taps, ins) if tall else (outs, ins * taps)
    matrix = normal(seed, left, rank).astype(np.float64) @ normal(seed + 1, rank, right)
    if not exact:
        matrix = matrix + 1e-4 * normal(seed + 2, left, right)
    weight = matrix.reshape(outs, taps, ins).swapaxes(1, 2) if tall else matrix
    text = f"g (float[1, {ins}, h, w] x) => ({outputs({'y': 4})}) {{ y = Conv {text_of(conv)} (x, w, b) }}"
    weights = {"w": weight.reshape(outs, ins, *conv["kernel"]).astype(np.float32), "b": normal(seed, outs)}
    fired = require_all_right(Model(text, weights, {"x": normal(seed, 1, ins, 8, 8)}), LAYERS)
    cheaper = rank * (ins + outs * taps if tall else ins * taps + outs) < outs * ins * taps
    strided = set(conv["strides"] or (1,)) != {1}
    if not exact:
        assert "low-rank conv" not in fired
    elif cheaper and not strided and conv["auto_pad"] != "SAME_UPPER":
        assert "low-rank conv" in fired
