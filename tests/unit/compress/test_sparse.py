"""Exact counts, the smallest first, and N:M groups along the input channels."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.compress.sparse import sparsify
from reconv.compress.weights import weights_of
from reconv.errors import InputError
from reconv.graph import load, with_constants
from tests.contract.small_residual import graph
from tests.unit.small import text


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.77])
def test_counts_are_exact_in_each_layer_and_the_smallest_go(ratio: float) -> None:
    source = graph()
    made = sparsify(source, ratio=ratio).graph
    for weight in weights_of(source):
        new = made.constants[weight.name]
        gone = new == 0
        assert gone.sum() == int(np.floor(ratio * weight.array.size + 0.5))
        np.testing.assert_array_equal(new[~gone], weight.array[~gone])
        if gone.any():
            assert np.abs(weight.array[gone]).max() <= np.abs(weight.array[~gone]).min()


def test_counts_are_exact_over_all_layers_and_follow_the_scale_of_each() -> None:
    source = graph()
    first = weights_of(source)[0]
    loud = with_constants(source, {first.name: first.array * 1000})
    found = [sparsify(g, ratio=0.5, scope="global") for g in (source, loud)]
    for made in found:
        zeros = sum(layer.facts["zeros"] for layer in made.report.layers)
        assert zeros == round(sum(weight.array.size for weight in weights_of(source)) / 2)
    assert found[0].report.layers[0].facts["zeros"] == found[1].report.layers[0].facts["zeros"]


def test_of_equal_weights_so_many_go_as_were_asked_for() -> None:
    source = graph()
    name = weights_of(source)[0].name
    alike = with_constants(source, {name: np.full_like(source.constants[name], 0.5)})
    made = sparsify(alike, ratio=0.25, only=["conv1"]).graph.constants[name]
    assert (made == 0).sum() == made.size // 4


@pytest.mark.parametrize(("pattern", "kept", "of"), [("2:4", 2, 4), ("1:4", 1, 4), ("4:8", 4, 8), ("1:3", 1, 3)])
def test_patterns_keep_the_largest_of_each_group_of_input_channels(pattern: str, kept: int, of: int) -> None:
    source = graph()
    made = sparsify(source, pattern=pattern).graph
    for weight in weights_of(source):
        old, new = (np.moveaxis(a, weight.ins, -1) for a in (weight.array, made.constants[weight.name]))
        for begin in range(0, old.shape[-1], of):
            before, after = (a[..., begin : begin + of].reshape(-1, min(of, a.shape[-1] - begin)) for a in (old, new))
            count = min(kept, before.shape[1])
            assert ((after != 0).sum(axis=1) == count).all()
            largest = np.sort(np.abs(before), axis=1)[:, -count:]
            np.testing.assert_array_equal(np.sort(np.abs(after), axis=1)[:, -count:], largest)


def test_weights_of_fully_connected_layers_have_their_input_channels_in_rows_or_columns() -> None:
    model = text("g (float[1, 8] x) => (float[1, 4] z) { y = MatMul (x, w) z = Gemm <transB = 1> (y, v) }")
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((8, 6)), "v": random.standard_normal((4, 6))}
    from onnx import numpy_helper

    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    made = sparsify(load(model), pattern="1:2").graph.constants
    assert ((made["w"].reshape(4, 2, 6) != 0).sum(axis=1) == 1).all()
    assert ((made["v"].reshape(4, 3, 2) != 0).sum(axis=2) == 1).all()


def test_only_and_exclude_name_layers() -> None:
    source = graph()
    made = sparsify(source, ratio=0.5, exclude=["conv2"], only=["conv1", "conv2"])
    assert [layer.name for layer in made.report.layers] == ["conv1"]
    np.testing.assert_array_equal(made.graph.constants["w2"], source.constants["w2"])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"ratio": 1.0}, "ratio is the share"),
        ({"ratio": -0.1}, "ratio is the share"),
        ({"pattern": "4:2"}, "N:M with 0 < N < M"),
        ({"pattern": "two"}, "N:M with 0 < N < M"),
        ({"scope": "all"}, "scope is layer or global"),
        ({"pattern": "2:4", "scope": "global"}, "does not fit"),
        ({"exclude": ["no such"]}, "no layer with weights called 'no such'"),
    ],
)
def test_mistakes_are_told(settings: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        sparsify(graph(), **settings)  # type: ignore[arg-type]


def test_the_packed_file_gets_smaller_and_the_plain_one_does_not() -> None:
    report = sparsify(graph(), ratio=0.8).report
    assert report.after.file == report.before.file
    assert report.before.packed is not None
    assert report.after.packed is not None
    assert report.after.packed < 0.5 * report.before.packed
