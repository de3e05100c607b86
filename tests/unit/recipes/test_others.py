"""Which input takes the frames, and what the others are given: by name, by hand, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import reconv
from reconv.graph import TensorInfo
from reconv.recipes import RECIPES
from reconv.recipes.others import input_of_frames, parse_inputs, recipe_around
from tests.unit.small import text

FLOAT = np.dtype(np.float32)


def _infos(*shapes: tuple[str, tuple[int | str | None, ...]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(name, FLOAT, shape) for name, shape in shapes)


def _model() -> reconv.Model:
    return reconv.load(
        text("""g (float[n, 2] im_shape, float[n, 3, 8, 8] image, float[n, 2] scale_factor, int64[m] which, float k)
            => (float[n, 3, 8, 8] y, float[n, 2] z, int64[m] w) {
            y = Mul(image, k) z = Div(im_shape, scale_factor) w = Neg(which)
        }""")
    )


def test_frames_go_to_the_only_input_of_four_axes() -> None:
    of = input_of_frames(_infos(("im_shape", (None, 2)), ("image", (None, 3, None, None)), ("k", ())))
    assert of.name == "image"
    assert input_of_frames(_infos(("a", (1, 3, 8, 8)), ("b", (1, 3, 4, 4)))).name == "a"
    assert input_of_frames(_infos(("audio", (1, None)), ("k", ()))).name == "audio"


def test_what_is_known_and_what_is_given() -> None:
    model = _model()
    given = parse_inputs(["which=3,1,2", "k=0.5"])
    recipe = recipe_around(RECIPES["raw"], model, (8, 8), None, given)
    feeds = recipe.inputs(np.full((8, 8, 3), 255, np.uint8))
    assert {name: (array.dtype.name, array.tolist()) for name, array in feeds.items() if name != "image"} == {
        "im_shape": ("float32", [[8, 8]]),
        "scale_factor": ("float32", [[1, 1]]),
        "which": ("int64", [3, 1, 2]),
        "k": ("float32", 0.5),
    }
    outputs = model.run(feeds)
    assert np.allclose(outputs["y"], 0.5)
    assert outputs["w"].tolist() == [-3, -1, -2]
    other = recipe_around(RECIPES["raw"], model, (8, 8), None, {**given, "scale_factor": np.array([2, 4])})
    assert other.others["scale_factor"].tolist() == [[2, 4]]


def test_what_is_not_known_has_to_be_given() -> None:
    with pytest.raises(
        reconv.InputError, match=r"input which: int64 \(m\) is not the one of the frames: give it with --input which="
    ):
        recipe_around(RECIPES["raw"], _model(), (8, 8), None)
    recipe_around(RECIPES["raw"], _model(), None, None)  # a source of arrays may bring all of them


def test_arrays_come_from_files_too(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.array([7, 8]))
    assert parse_inputs([f"k={tmp_path / 'k.npy'}"])["k"].tolist() == [7, 8]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["k"], "--input is name=value, as in scale_factor=1,1 or mask=mask.npy; got 'k'"),
        (["k=much"], "--input k=much: neither numbers nor an array file"),
        (["k=nowhere.npy"], "--input k=nowhere.npy: neither numbers nor an array file"),
        (["z=1"], "the model has no input 'z'; its inputs are im_shape, image, scale_factor, which, k"),
        (["k=1,2"], r"input k: float32 \(\) cannot be given 2 numbers of shape \(2,\)"),
        (["scale_factor=1,2,3"], r"input scale_factor: float32 \(n, 2\) cannot be given 3 numbers"),
        (["which=0.5"], r"input which: int64 \(m\) takes no fractions and nothing beyond its range, got \[0.5\]"),
    ],
)
def test_mistakes(texts: list[str], said: str) -> None:
    with pytest.raises(reconv.InputError, match=said):
        recipe_around(RECIPES["raw"], _model(), (8, 8), None, parse_inputs(texts))


def test_frames_for_a_network_of_16_bit_floats() -> None:
    model = reconv.load(text("g (float16[n, 3, 8, 8] x) => (float16[n, 3, 8, 8] y) { y = Relu(x) }"))
    recipe = recipe_around(RECIPES["raw"], model, (8, 8), None)
    feeds = recipe.inputs(np.full((8, 8, 3), 51, np.uint8))
    assert feeds["x"].dtype == np.float16
    assert np.allclose(model.run(feeds)["y"], 0.2, atol=1e-3)
