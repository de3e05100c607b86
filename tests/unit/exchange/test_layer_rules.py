"""Rules on layers: single cases that drawn models rarely meet."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.exchange.proof import prove
from reconv.exchange.rule import Answer, Refusal, Rule
from reconv.exchange.rules import RULES
from reconv.exchange.rules.kernels import ROUNDING, surely_above
from reconv.exchange.view import View, look, look_again
from reconv.graph import Rewrite, load, parse, to_onnx
from tests.property.exchange_models import Array, Model, normal, require_same, require_sequence_right, run

BY_NAME = {rule.name: rule for rule in RULES}
SINGLE = np.dtype(np.float32)
DOUBLE_UP = np.array([1, 1, 2, 2], np.float32)
MINE = [
    "do nothing",
    "flat concat",
    "split then concat",
    "merge convs",
    "merge matrix products",
    "conv1x1 before upsample",
    "downsample before conv1x1",
    "activation before upsample",
    "transposed conv for upsample and conv",
    "conv for slices and conv",
    "subsample before conv1x1",
    "conv per part of a concat",
    "conv of a concat",
    "wider conv",
    "separate convs",
    "low-rank conv",
]


def answers(name: str, view: View) -> list[Answer]:
    return [a for node in view.graph.nodes if (a := BY_NAME[name].match(view, node)) is not None]


def only(name: str, view: View) -> Rewrite:
    (rewrite,) = [answer for answer in answers(name, view) if isinstance(answer, Rewrite)]
    assert prove(view, rewrite).holds
    return rewrite


@pytest.mark.parametrize("rule", [BY_NAME[name] for name in MINE], ids=lambda rule: rule.name)
def test_new_weights_only_in_float32(rule: Rule) -> None:
    """No rule brings a float32 weight into a model of another type."""
    example = rule.example.graph()
    text = rule.example.text.replace("float[", "double[")
    arrays = {
        n: a.astype(np.float64) if a.dtype == SINGLE and n != "scales" else a for n, a in example.constants.items()
    }
    view = look(parse(text, arrays, example.opset))
    for answer in answers(rule.name, view):
        if isinstance(answer, Rewrite):
            assert not [a for a in answer.constants.values() if a.dtype == SINGLE], answer


def test_shared_weights_stay_what_they_are() -> None:
    model = Model(
        """g (float[1, 3, 4, 4] x, float[1, 3, 8, 8] z) => (float[n, c, h, w] y, float[n, c, h, w] k) {
            u = Resize (x, , scales)
            y = Conv (u, w)
            k = Conv (z, w)
        }""",
        {"w": normal(0, 3, 3, 1, 1), "scales": DOUBLE_UP},
        {"x": normal(1, 1, 3, 4, 4), "z": normal(2, 1, 3, 8, 8)},
    )
    view = model.view()
    after = look_again(view, only("conv1x1 before upsample", view))
    assert after.graph.constants["w"] is view.graph.constants["w"]
    assert {node.inputs[1] for node in after.graph.nodes if node.op_type == "Conv"} == {"w"}
    require_same(run(to_onnx(view.graph), model.feeds), run(to_onnx(after.graph), model.feeds), "shared")


@pytest.mark.parametrize("gate", ["x", "z"])
def test_a_body_that_reads_a_value_is_left_alone(gate: str) -> None:
    """`If` reads d from around it: no input names it, so that nothing could read another value instead."""
    proto = to_onnx(
        parse(
            """g (float[1, 3] x, bool c) => (float[1, 3] y) {
                z = Exp (x)
                d = Identity (z)
                y = If (c) <
                    then_branch = t () => (float[1, 3] p) { p = Neg (d) },
                    else_branch = e () => (float[1, 3] q) { q = Relu (d) }
                >
            }""",
            {},
        )
    )
    proto.graph.node[1].input[0] = gate
    (answer,) = answers("do nothing", look(load(proto)))
    assert isinstance(answer, Refusal)
    assert "body" in answer.reason


def test_the_sizes_of_a_free_map_are_kept() -> None:
    """Sizes from Shape: one entry changes, and the model still runs at any size."""
    model = Model(
        """g (float[n, 4, h, w] x, float[n, 2, p, q] skip) => (float[a, b, c, d] y) {
            head_of = Shape (x)
            head = Slice (head_of, zero, two)
            tail_of = Shape (skip)
            tail = Slice (tail_of, two, four)
            sizes = Concat <axis = 0> (head, tail)
            u = Resize <mode = "linear"> (x, , , sizes)
            y = Conv (u, w)
        }""",
        {"w": normal(0, 7, 4, 1, 1), "zero": np.array([0]), "two": np.array([2]), "four": np.array([4])},
        {"x": normal(1, 1, 4, 3, 5), "skip": normal(2, 1, 2, 6, 9)},
    )
    view = model.view()
    changed = to_onnx(look_again(view, only("conv1x1 before upsample", view)).graph)
    for shapes in (((1, 4, 3, 5), (1, 2, 6, 9)), ((2, 4, 4, 4), (2, 2, 11, 7))):
        feeds = {name: normal(i, *shape) for i, (name, shape) in enumerate(zip(("x", "skip"), shapes, strict=True))}
        require_same(run(to_onnx(view.graph), feeds), run(changed, feeds), "free")


def test_a_pan_neck_convolves_before_it_upsamples() -> None:
    """upsample(a) ++ b → conv1x1, with a second reader of the concatenation: rule after rule down to the small map."""
    model = Model(
        """g (float[1, 8, 4, 4] a, float[1, 8, 8, 8] b) => (float[n, c, h, w] y, float[n, c, h, w] z) {
            u = Resize (a, , scales)
            s = Sigmoid (u)
            v = Mul (u, s)
            j = Concat <axis = 1> (v, b)
            y = Conv (j, w, k)
            z = Conv (j, t, k)
        }""",
        {"w": normal(0, 4, 16, 1, 1), "t": normal(1, 4, 16, 1, 1), "k": normal(2, 4), "scales": DOUBLE_UP},
        {"a": normal(3, 1, 8, 4, 4), "b": normal(4, 1, 8, 8, 8)},
    )
    names = ["activation before upsample", "wider conv", "conv per part of a concat", "conv1x1 before upsample"]
    assert require_sequence_right(model, [BY_NAME[name] for name in names]) == names


def test_a_u_net_decoder_needs_no_upsampled_map() -> None:
    """nearest upsample(a) ++ b → conv3x3 becomes a transposed convolution of a and a convolution of b."""
    model = Model(
        """g (float[n, 8, p, q] a, float[n, 4, h, w] b) => (float[n, c, h, w] y) {
            u = Resize <coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (a, , scales)
            j = Concat <axis = 1> (u, b)
            y = Conv <pads = [1, 1, 1, 1]> (j, w, k)
        }""",
        {"w": normal(0, 4, 12, 3, 3), "k": normal(2, 4), "scales": DOUBLE_UP},
        {"a": normal(3, 1, 8, 4, 5), "b": normal(4, 1, 4, 8, 10)},
    )
    names = ["conv per part of a concat", "transposed conv for upsample and conv"]
    assert require_sequence_right(model, [BY_NAME[name] for name in names]) == names


def test_siblings_that_are_concatenated_again_need_no_split() -> None:
    view = look(
        parse(
            """g (float[1, 4, 6, 6] x) => (float[n, c, h, w] y) {
                p = Conv (x, v)
                q = Conv (x, w)
                a = Relu (p)
                b = Relu (q)
                y = Concat <axis = 1> (b, a)
            }""",
            {"v": normal(0, 3, 4, 1, 1), "w": normal(1, 2, 4, 1, 1)},
        )
    )
    names = ["wider conv", "split then concat", "do nothing"]
    for name in names:
        view = look_again(view, only(name, view))
    assert [node.op_type for node in view.graph.nodes] == ["Conv", "Relu"]


def test_an_unused_half_is_not_computed() -> None:
    view = look(
        parse(
            """g (float[1, 4, 6, 6] x) => (float[n, c, h, w] y) {
                m = Conv (x, w)
                y, d = Split <axis = 1> (m, sizes)
            }""",
            {"w": normal(0, 8, 4, 1, 1), "sizes": np.array([3, 5])},
        )
    )
    rewrite = only("separate convs", view)
    assert [array.shape for array in rewrite.constants.values()] == [(3, 4, 1, 1)]


@pytest.mark.parametrize(
    ("rule", "reason", "opset"), [("subsample before conv1x1", "opset 9", 9), ("conv1x1 before upsample", "roi", 11)]
)
def test_what_an_opset_lacks(rule: str, reason: str, opset: int) -> None:
    """A Slice without steps is refused; inputs that a later opset made optional are passed on as they are."""
    if opset == 9:
        example = BY_NAME[rule].example
        (answer,) = answers(rule, look(parse(example.text, dict(example.graph().constants), opset)))
        assert isinstance(answer, Refusal)
        assert reason in answer.reason
        return
    text = """g (float[1, 6, 5, 7] x) => (float[n, c, h, w] y) {
        u = Resize (x, roi, scales)
        y = Conv (u, w)
    }"""
    weights: dict[str, Array] = {"w": normal(0, 4, 6, 1, 1), "scales": DOUBLE_UP, "roi": np.zeros(0, np.float32)}
    rewrite = only(rule, look(parse(text, weights, opset)))
    assert [node.inputs[1] for node in rewrite.after if node.op_type == "Resize"] == [reason]


@pytest.mark.parametrize(
    ("call", "fires"),
    [("Add (n, zero)", False), ("Add (n, minus)", True), ("Sub (n, zero)", True), ("Sub (n, minus)", False)],
)
def test_the_sign_of_a_zero_stays(call: str, fires: bool) -> None:
    """1/x tells 0 from -0."""
    text = f"g (float[1, 4] x) => (float[1, 4] y) {{ n = Neg (x) a = {call} y = Reciprocal (a) }}"
    weights: dict[str, Array] = {"zero": np.zeros(1, np.float32), "minus": np.full(1, -0.0, np.float32)}
    view = look(parse(text, {name: a for name, a in weights.items() if name in call}))
    assert bool(answers("do nothing", view)) is fires
    if fires:
        after = look_again(view, only("do nothing", view))
        feeds = {"x": np.zeros((1, 4), np.float32)}
        np.testing.assert_array_equal(run(to_onnx(after.graph), feeds)["y"], np.full((1, 4), -np.inf))


def test_integers_have_one_zero() -> None:
    text = "g (int64[1, 4] x) => (int64[1, 4] y) { n = Neg (x) a = Add (n, zero) y = Neg (a) }"
    assert answers("do nothing", look(parse(text, {"zero": np.zeros(1, np.int64)})))


@pytest.mark.parametrize("sizes", [np.array([2, 4, 10, 12]), None])
def test_what_repeats_the_batch_is_no_transposed_convolution(sizes: Array | None) -> None:
    how = 'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"'
    weights: dict[str, Array] = {"w": normal(0, 3, 4, 3, 3)}
    weights |= {"scales": np.array([2, 1, 2, 2], np.float32)} if sizes is None else {"sizes": sizes}
    text = f"""g (float[1, 4, 5, 6] x) => (float[n, c, h, w] y) {{
        u = Resize <{how}> (x, , {"scales" if sizes is None else ", sizes"})
        y = Conv <pads = [1, 1, 1, 1]> (u, w)
    }}"""
    (answer,) = answers("transposed conv for upsample and conv", look(parse(text, weights)))
    assert isinstance(answer, Refusal)
    assert "repeats the batch" in answer.reason


def test_a_cheap_look_at_a_rank_is_never_wrong() -> None:
    """It may say that a rank is above a limit only where the singular values say so, however badly conditioned."""
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        rows, columns = (int(n) for n in random.integers(2, 24, 2))
        rank = int(random.integers(1, min(rows, columns) + 1))
        matrix = random.standard_normal((rows, rank)) @ random.standard_normal((rank, columns))
        matrix *= 10 ** random.uniform(-6, 2, columns) if random.random() < 0.5 else 10 ** random.uniform(-20, 20)
        matrix = matrix.astype(np.float32).astype(np.float64)
        limit = int(random.integers(1, min(rows, columns) + 1))
        sigma = np.linalg.svd(matrix, compute_uv=False)
        beyond = np.sqrt(np.sum(sigma[limit:] ** 2))
        sure = surely_above(matrix, limit)
        assert not sure or beyond > ROUNDING * np.linalg.norm(matrix)
        seen.add((sure, bool(beyond > ROUNDING * np.linalg.norm(matrix))))
    assert seen >= {(True, True), (False, False)}


def test_low_rank_is_of_the_rounded_matrix() -> None:
    """The rank of a product that was stored in float32 is found; one unit more in one entry, and it is full."""
    exact = (normal(0, 24, 4).astype(np.float64) @ normal(1, 4, 30)).astype(np.float32).reshape(24, 30, 1, 1)
    text = "g (float[1, 30, 4, 4] x) => (float[n, c, h, w] y) { y = Conv (x, w) }"
    rewrite = only("low-rank conv", look(parse(text, {"w": exact})))
    assert [array.shape for array in rewrite.constants.values()] == [(4, 30, 1, 1), (24, 4, 1, 1)]
    full = exact + 1e-4 * normal(2, 24, 30, 1, 1)
    assert not answers("low-rank conv", look(parse(text, {"w": full})))
