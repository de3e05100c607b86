"""The door: settings, what is chosen, what is refused, and that better rules lose less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reconv.compress.prune import PRUNE, groups, prune
from reconv.compress.prune.choose import Choice, choose
from reconv.compress.prune.cut import cut
from reconv.compress.prune.groups import Group, groups_of
from reconv.compress.prune.importance import activation, constant, magnitude, taylor
from reconv.compress.prune.moments import moments
from reconv.compress.prune.sensitivity import measured
from reconv.compress.prune.table import trace
from reconv.engine.tail import open_session
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, parse, to_onnx
from reconv.optimize.values import RuntimeForward

Array = np.ndarray[Any, Any]
CHAIN = (
    "g (float[1, 3, 6, 6] x) => (float[1, 4] y) { c = Conv <pads = [1, 1, 1, 1]> (x, w0, b0) r = Relu (c) "
    "d = Conv (r, w1, b1) s = Relu (d) p = GlobalAveragePool (s) f = Flatten (p) y = Gemm (f, w2, b2) }"
)


def chain() -> Graph:
    """Groups of 32 and 16 channels."""
    random = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {
        "w0": (32, 3, 3, 3), "b0": (32,), "w1": (16, 32, 1, 1), "b1": (16,), "w2": (16, 4), "b2": (4,),
    }  # fmt: skip
    return parse(CHAIN, {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()})


def pictures(count: int, seed: int = 0) -> list[dict[str, Array]]:
    random = np.random.default_rng(seed)
    return [{"x": random.normal(size=(1, 3, 6, 6)).astype(np.float32)} for _ in range(count)]


def kept(graph: Graph) -> list[int]:
    return [group.units for group in groups(graph)]


def error(graph: Graph, made: Graph, samples: list[dict[str, Array]]) -> float:
    sessions = [open_session(to_onnx(g).SerializeToString(), 1) for g in (graph, made)]
    want, got = (np.concatenate([session.run(None, sample)[0] for sample in samples]) for session in sessions)
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ratio": 0.5}, [16, 8]),
        ({"ratio": 0.25}, [24, 16]),  # 12 of 16 are as near to 16 as to 8
        ({"ratio": 0.25, "multiple": 4}, [24, 12]),
        ({"ratio": 0.9}, [8, 8]),
        ({"ratio": 0.9, "least": 12}, [16, 16]),
        ({"ratio": 0.9, "multiple": 1, "least": 3}, [3, 3]),
        ({"ratios": {"Conv_0": 0.5}}, [16, 16]),
        ({"ratio": 0.5, "keep": ["Conv_0"]}, [32, 8]),
        ({"ratio": 0.5, "keep": ["Conv_0", "Relu_1"]}, [32, 8]),
    ],
)
def test_so_many_channels_stay(settings: dict[str, Any], expected: list[int]) -> None:
    assert kept(prune(chain(), **settings).graph) == expected


def test_the_report_says_what_went() -> None:
    made = prune(chain(), ratio=0.5)
    told = made.report.to_json()
    assert told["method"] == "prune"
    assert [(layer["channels"], layer["kept"]) for layer in told["layers"]] == [(32, 16), (16, 8)]
    assert told["after"]["file"] < told["before"]["file"]
    assert any(note.startswith("multiply-adds 49600 -> ") for note in told["notes"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 1.0}, "from 0 to below 1; got 1.0"),
        ({"scope": "all"}, "scope is layer or global"),
        ({"importance": "luck"}, "importance is magnitude, activation or taylor; got 'luck'"),
        ({"importance": "activation"}, "needs samples"),
        ({"importance": "taylor"}, "needs the gradients"),
        ({"importance": "taylor", "gradients": {}}, "gradient of 'w1' is missing"),
        ({"importance": "taylor", "gradients": []}, "at least one batch"),
        ({"ratios": {"nobody": 0.5}}, "'nobody' is not a layer whose channels can be removed"),
        ({"scope": "global", "sensitivity": {"nobody": 2.0}}, "'nobody' is not a layer"),
        ({"keep": ["nobody"]}, "'nobody' is not a layer"),
        ({"multiple": 0}, "begin at 1"),
        ({"order": 3}, "order is 1 or 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prune(chain(), **settings)


def test_where_nothing_goes_it_says_so() -> None:
    with pytest.raises(ModelError, match=r"nothing is removed: .* the largest has 32"):
        prune(chain(), ratio=0.01)
    fixed = parse(
        "g (float[1, 3, 4, 4] x) => (float[1, 2, 4, 4] y) { y = Conv (x, w) }", {"w": np.ones((2, 3, 1, 1), "f")}
    )
    with pytest.raises(ModelError, match=r"no channel of the model can be removed: .* output of the model"):
        prune(fixed)
    assert list(PRUNE.settings(fixed)) == []
    with pytest.raises(ModelError, match="it has no layer with constant weights"):
        prune(parse("g (float[4] x) => (float[4] y) { y = Relu (x) }", {}))


def test_a_quantized_model_is_refused() -> None:
    graph = parse(
        "g (float[1, 3, 4, 4] x) => (float[1, 2, 4, 4] y) "
        "{ q = QuantizeLinear (x, s, z) r = DequantizeLinear (q, s, z) c = Conv (r, w) y = Conv (c, v) }",
        {
            "s": np.array(0.1, np.float32),
            "z": np.array(3, np.uint8),
            "w": np.ones((16, 3, 1, 1), np.float32),
            "v": np.ones((2, 16, 1, 1), np.float32),
        },
    )
    with pytest.raises(ModelError, match=r"quantized already .* compress the float model first"):
        prune(graph)
    assert list(PRUNE.settings(graph)) == []


def test_globally_the_least_important_go_wherever_they_are() -> None:
    found = [Group("a", ("a",), (), 8, 1, tuple(range(8))), Group("b", ("b",), (), 8, 1, tuple(range(8, 16)))]
    scores = [np.full(8, 2.0), np.array([9.0] * 4 + [1.0] * 4)]
    even = Choice(ratio=0.25, scope="global", multiple=1, least=1)
    assert [units.tolist() for units in choose(found, scores, even)] == [[], [4, 5, 6, 7]]
    spared = Choice(ratio=0.25, scope="global", multiple=1, least=1, sensitivity={"b": 100.0})
    assert [units.tolist() for units in choose(found, scores, spared)] == [[0, 1, 2, 3], []]
    large = [scores[0], scores[1] * 50]
    assert [u.tolist() for u in choose(found, large, even)] == [[], [4, 5, 6, 7]]  # divided by the mean of its group
    alike = Choice(ratio=0.25, scope="global", multiple=1, least=1, comparable=True)
    assert [u.tolist() for u in choose(found, large, alike)] == [[0, 1, 2, 3], []]


def muffled(factor: float) -> Graph:
    """Two branches of 16 channels each, of which the second reaches the outputs through a small factor."""
    random = np.random.default_rng(2)
    shapes = {"w0": (16, 3, 3, 3), "w1": (16, 3, 3, 3), "v0": (8, 16, 1, 1), "v1": (8, 16, 1, 1)}
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return parse(
        """g (float[1, 3, 6, 6] x) => (float[1, 8, 4, 4] y) {
            a = Conv (x, w0) b = Relu (a) c = Conv (b, v0)
            d = Conv (x, w1) e = Relu (d) f = Conv (e, v1) z = Mul (f, k) y = Add (c, z) }""",
        {**weights, "k": np.array(factor, np.float32)},
    )


@pytest.mark.parametrize("importance", ["activation", "magnitude"])
def test_a_measured_sensitivity_takes_channels_where_outputs_feel_it_least(importance: str) -> None:
    graph, samples, others = muffled(0.01), pictures(24), pictures(8, seed=1)
    settings: dict[str, Any] = {
        "ratio": 0.25, "scope": "global", "multiple": 1, "least": 1, "importance": importance, "samples": samples,
        "forward": RuntimeForward(),
    }  # fmt: skip
    blind, seen = prune(graph, **settings), prune(graph, **settings, sensitivity="measured")
    assert error(graph, seen.graph, others) < error(graph, blind.graph, others) / 4
    assert {layer.name: layer.facts["kept"] for layer in seen.report.layers} == {"Conv_3": 8}
    assert seen.report.settings["sensitivity"] == "measured"


def test_a_measured_sensitivity_is_the_error_over_the_scores_that_went() -> None:
    graph, samples = muffled(0.5), pictures(6)
    walk = trace(graph)
    found = groups_of(walk)
    scores = [np.arange(16.0), np.arange(16.0) * 3]
    factors = measured(walk, found, scores, comparable=True, forward=RuntimeForward(), samples=samples)
    for group, score in zip(found, scores, strict=True):  # of sixteen the four least that score at all
        alone = cut(walk, [group.roots[unit] for unit in (1, 2, 3, 4)])
        wanted = error(graph, alone, samples) ** 2 / score[1:5].sum()
        assert factors[group.name] == pytest.approx(wanted, rel=1e-4)
    assert measured(walk, found, [np.zeros(16)] * 2, comparable=True, forward=RuntimeForward(), samples=samples) == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sensitivity": "guessed", "scope": "global"}, "a number by layer, or 'measured'"),
        ({"sensitivity": "measured"}, "wants scope 'global'"),
        ({"sensitivity": "measured", "scope": "global", "samples": ()}, "needs samples"),
    ],
)
def test_a_sensitivity_that_cannot_be_measured_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prune(chain(), **{"samples": pictures(2), "forward": RuntimeForward(), **settings})


def test_units_of_several_channels_are_rounded_to_fewer_units() -> None:
    wide = Group("a", ("a",), (), 16, 4, tuple(range(16)))
    (gone,) = choose([wide], [np.arange(16.0)], Choice(ratio=0.3, multiple=8, least=8))
    assert gone.tolist() == [0, 1, 2, 3]  # 11.2 units are 45 channels: 48 are the nearest, 12 units
    (gone,) = choose([wide], [np.arange(16.0)], Choice(ratio=0.99, multiple=8, least=8))
    assert len(gone) == 14


def test_channels_that_are_constant_where_they_are_read_go_first() -> None:
    graph = chain()
    arrays = dict(graph.constants)
    arrays["w1"] = arrays["w1"].copy()
    arrays["w1"][3:7] = 0
    graph = parse(CHAIN, arrays)
    walk = trace(graph)
    free = constant(walk, groups_of(walk))
    assert [np.flatnonzero(row).tolist() for row in free] == [[], [3, 4, 5, 6]]
    made = prune(graph, ratios={graph.nodes[2].name: 0.25}, multiple=4, least=4).graph
    np.testing.assert_array_equal(made.constants["w1"], np.delete(arrays["w1"], range(3, 7), axis=0))
    assert error(graph, made, pictures(4)) < 1e-5


def test_magnitude_is_that_of_all_weights_of_the_unit() -> None:
    graph = chain()
    walk = trace(graph)
    found = groups_of(walk)
    w0, w1 = (graph.constants[name].astype(np.float64) for name in ("w0", "w1"))
    outs, ins = np.sqrt((w0**2).sum(axis=(1, 2, 3))), np.sqrt((w1**2).sum(axis=(0, 2, 3)))
    np.testing.assert_allclose(magnitude(walk, found)[0], (outs / outs.mean() + ins / ins.mean()) / 2)
    outs, ins = np.abs(w0).sum(axis=(1, 2, 3)), np.abs(w1).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(magnitude(walk, found, 1)[0], (outs / outs.mean() + ins / ins.mean()) / 2)


def test_taylor_is_the_square_of_the_change_when_a_channel_is_zero_where_it_is_read() -> None:
    """For a linear loss the first order is all there is: it is what removing the channel does."""
    graph = chain()
    walk = trace(graph)
    found = groups_of(walk)
    x = pictures(1)[0]
    (values,) = RuntimeForward()(graph, ["f"], [x])
    towards = np.array([1.0, -2.0, 0.5, 0.0])
    gradients = {"w2": np.outer(values["f"][0], towards).astype(np.float32), "w1": np.zeros((16, 32, 1, 1), np.float32)}
    scores = taylor(walk, found, [gradients])[1]
    change = values["f"][0] * (graph.constants["w2"] @ towards)
    np.testing.assert_allclose(scores, change**2, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(taylor(walk, found, gradients)[1], scores)
    with pytest.raises(InputError, match=r"gradient of 'w2' has shape \(4, 16\), expected \(16, 4\)"):
        taylor(walk, found, {**gradients, "w2": gradients["w2"].T})
    assert kept(prune(graph, importance="taylor", gradients=[gradients], ratio=0.5).graph) == [16, 8]


def test_activation_is_the_share_of_the_power_that_is_read() -> None:
    graph = chain()
    walk = trace(graph)
    found = groups_of(walk)
    samples = pictures(3)
    known = moments(walk, RuntimeForward(), samples, together=False)
    rows = np.concatenate([v["f"] for v in RuntimeForward()(graph, ["f"], samples)]).astype(np.float64)
    power = (graph.constants["w2"].astype(np.float64) ** 2).sum(axis=1)
    lost = (rows**2).mean(axis=0) * power
    np.testing.assert_allclose(activation(walk, found, known, made_up=False)[1], lost / lost.sum(), rtol=1e-4)
    lost = rows.var(axis=0) * power
    np.testing.assert_allclose(activation(walk, found, known, made_up=True)[1], lost / lost.sum(), rtol=1e-4)


def test_on_samples_less_is_lost() -> None:
    graph = chain()
    samples, others = pictures(24), pictures(8, seed=1)
    blind = error(graph, prune(graph, ratio=0.5).graph, others)
    seen = prune(graph, ratio=0.5, samples=samples, forward=RuntimeForward())
    assert seen.report.settings["importance"] == "activation"
    assert error(graph, seen.graph, others) < blind / 2


def test_it_is_a_method_that_a_search_may_try() -> None:
    graph = chain()
    settings = list(PRUNE.settings(graph))
    assert settings
    made = PRUNE.apply(graph, pictures(4), RuntimeForward(), **settings[-1])
    again = PRUNE.apply(graph, pictures(4), RuntimeForward(), **settings[-1])
    assert sum(kept(made.graph)) < 48
    assert all(np.array_equal(made.graph.constants[k], again.graph.constants[k]) for k in made.graph.constants)
    assert [str(info) for info in made.graph.inputs] == [str(info) for info in graph.inputs]
