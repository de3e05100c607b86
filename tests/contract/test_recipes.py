"""The contract of recipes of pictures: each must pass, with a stand-in for its family's network below.

The recipe of the example, which stands for those of users, keeps it as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo
from reconv.recipes import RECIPES, PixelArithmetic, Recipe, recipe_class

FRAME_SHAPE = (60, 100)  # neither a multiple of 32 nor of the input's proportions
SIZE = (64, 96)
INPUT = TensorInfo("x", np.dtype(np.float32), (1, 3, "height", "width"))
Outputs = dict[str, NDArray[Any]]


def _raw(shift: int) -> Outputs:
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)
    return {"y": np.roll(values, 24 * shift)}


def _yolox(shift: int) -> Outputs:
    """One object of class 16 around the middle cell of the coarsest grid, `shift` cells further right."""
    rows = np.zeros((1, 8 * 12 + 4 * 6 + 2 * 3, 85), np.float32)
    rows[0, 8 * 12 + 4 * 6 + shift, [4, 5 + 16]] = 0.9, 1.0
    rows[0, 8 * 12, [4, 5 + 2]] = 0.25, 1.0  # not shown, but a partner for one that is
    return {"output": rows}


def _dbnet(shift: int) -> Outputs:
    """One line of text, `shift` times 16 pixels further down."""
    probability = np.full((1, 1, *SIZE), 0.01, np.float32)
    probability[0, 0, 8 + 16 * shift : 14 + 16 * shift, 10:60] = 0.9
    return {"map": probability}


def _yolov8(shift: int) -> Outputs:
    """One object of class 16, 16 pixels large, `shift` times 40 pixels further right."""
    columns = np.zeros((1, 84, 8 * 12 + 4 * 6 + 2 * 3), np.float32)
    columns[0, :4, 50] = 24 + 40 * shift, 30, 16, 16
    columns[0, 4 + 16, 50] = 0.9
    columns[0, :4, 7] = 60, 40, 10, 10
    columns[0, 4 + 2, 7] = 0.25  # not shown, but a partner for one that is
    return {"output0": columns}


def _centerface(shift: int) -> Outputs:
    """One face of 16x12 pixels, `shift` times 16 pixels further right."""
    heat, scale = np.zeros((1, 1, 16, 24), np.float32), np.zeros((1, 2, 16, 24), np.float32)
    heat[0, 0, 6, 5 + 4 * shift] = 0.9
    scale[0, 0], scale[0, 1] = np.log(4), np.log(3)
    landmarks = np.full((1, 10, 16, 24), 0.5, np.float32)
    return {"heat": heat, "scale": scale, "offset": np.zeros_like(scale), "landmarks": landmarks}


def _classes(shift: int) -> Outputs:
    """Logits of ten classes, `shift` classes further on."""
    return {"logits": np.roll(np.linspace(-3, 3, 10, dtype=np.float32), shift)[None]}


def _twice(shift: int) -> Outputs:
    """A picture twice as large, `shift` times 40 of 255 brighter."""
    ramp = np.linspace(0, 0.8, 128 * 192, dtype=np.float32).reshape(128, 192)
    return {"upscaled": np.stack([ramp] * 3)[None] + np.float32(shift * 40 / 255)}


def _ink(shift: int) -> Outputs:
    strokes = np.zeros((1, 1, 4, 6), np.float32)
    strokes[0, 0, 1, shift : shift + 2] = 0.2
    return {"strokes": strokes}


NETWORKS: dict[str, Callable[[int], Outputs]] = {
    "raw": _raw,
    "yolox": _yolox,
    "dbnet": _dbnet,
    "yolov8": _yolov8,
    "centerface": _centerface,
    "imagenet": _classes,
    "imagenet_tf": _classes,
    "imagenet_caffe": _classes,
    "super_resolution": _twice,
    "ink": _ink,
}
OWN = Path(__file__).parents[2] / "examples" / "own_recipe.py"
KINDS = {name: made for name, made in RECIPES.items() if made.pictures} | {"ink": recipe_class(f"{OWN}:Ink")}


@pytest.fixture(params=sorted(KINDS))
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("cv2")
    return str(request.param)


@pytest.fixture
def recipe(name: str) -> Recipe:
    return KINDS[name](INPUT, FRAME_SHAPE, SIZE)


@pytest.fixture
def frame() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*FRAME_SHAPE, 3), dtype=np.uint8)


def test_it_is_registered_under_its_name(name: str, recipe: Recipe) -> None:
    assert recipe.name == name
    assert name in NETWORKS
    assert recipe.size == SIZE
    assert isinstance(recipe.pixels, PixelArithmetic)


def test_preprocess_makes_the_networks_input(recipe: Recipe, frame: NDArray[np.uint8]) -> None:
    before = frame.copy()
    x = recipe.preprocess(frame)
    assert x.shape == (1, 3, *SIZE)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(frame, before)
    np.testing.assert_array_equal(recipe.preprocess(frame), x)


def test_preprocess_is_the_pixel_arithmetic_of_a_frame_that_fits(name: str) -> None:
    recipe = KINDS[name](INPUT, SIZE, SIZE)
    frame = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    order = frame if recipe.pixels.channel_order == "BGR" else frame[..., ::-1]
    expected = (order * recipe.pixels.scale - recipe.pixels.mean) / recipe.pixels.std
    found = recipe.preprocess(frame)
    np.testing.assert_allclose(found[0], expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-5)
    last = KINDS[name](TensorInfo("x", np.dtype(np.float32), (1, "height", "width", 3)), SIZE, SIZE)
    assert last.pixels.layout == "NHWC"
    np.testing.assert_array_equal(last.preprocess(frame).transpose(0, 3, 1, 2), found)


def test_preprocess_is_the_pixel_arithmetic_of_its_bytes(recipe: Recipe, frame: NDArray[np.uint8]) -> None:
    assert recipe.takes_bytes
    picture = recipe.bytes(frame)
    assert picture.dtype == np.uint8
    assert picture.shape == (*SIZE, 3)
    np.testing.assert_array_equal(recipe.preprocess(frame), recipe.pixels.apply(picture))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32"])
@pytest.mark.parametrize("shape", [(1, 3, "h", "w"), (1, "h", "w", 3), (None, 1, "h", "w"), (None, "h", "w", 1)])
def test_whole_numbers_are_the_frames_bytes(
    name: str, kind: str, shape: tuple[Any, ...], frame: NDArray[np.uint8]
) -> None:
    """Scale and mean are in such a network: of the family stay the place and the order of the colours."""
    recipe = KINDS[name](TensorInfo("x", np.dtype(kind), shape), FRAME_SHAPE, SIZE)
    x = recipe.inputs(frame)["x"]
    assert x.dtype == kind
    assert x.flags.c_contiguous
    assert recipe.takes_bytes == (kind == "uint8")
    picture = recipe.bytes(frame)
    np.testing.assert_array_equal(recipe.pixels.apply(picture), x)
    expected = picture if recipe.pixels.channel_order == "BGR" or 1 in shape[1:] else picture[..., ::-1]
    np.testing.assert_array_equal(x[0] if shape[1] == "h" else x[0].transpose(1, 2, 0), expected)


@pytest.mark.parametrize("shape", [(1, 1, "h", "w"), (1, "h", "w", 1)])
def test_a_network_of_one_channel_gets_the_grey_picture(
    name: str, shape: tuple[Any, ...], frame: NDArray[np.uint8]
) -> None:
    recipe = KINDS[name](TensorInfo("x", np.dtype(np.float32), shape), FRAME_SHAPE, SIZE)
    grey = recipe.bytes(frame)
    assert grey.dtype == np.uint8
    assert grey.shape == (*SIZE, 1)
    colours = KINDS[name](INPUT, FRAME_SHAPE, SIZE).bytes(frame)
    np.testing.assert_allclose(grey[..., 0], colours @ [0.114, 0.587, 0.299], atol=0.51)
    x = recipe.preprocess(frame)
    assert x.shape == tuple(SIZE[0] if n == "h" else SIZE[1] if n == "w" else n for n in shape)
    mean, std = (np.mean(value) for value in (KINDS[name].pixels.mean, KINDS[name].pixels.std))
    expected = (grey[..., 0] * KINDS[name].pixels.scale - mean) / std
    np.testing.assert_allclose(x.reshape(SIZE), expected, rtol=1e-5, atol=1e-5)


def test_equal_pixels_stay_equal_bit_for_bit(name: str, frame: NDArray[np.uint8]) -> None:
    recipe = KINDS[name](INPUT, SIZE, SIZE)
    first = np.random.default_rng(2).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    second = first.copy()
    second[10:20, 30:50] ^= 255
    moved = (recipe.preprocess(first) != recipe.preprocess(second)).any((0, 1))
    expected = np.zeros(SIZE, bool)
    expected[10:20, 30:50] = True
    np.testing.assert_array_equal(moved, expected)


def test_a_result_is_json(name: str, recipe: Recipe) -> None:
    found = recipe.to_json(recipe.decode(NETWORKS[name](0)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found


def test_a_run_agrees_with_itself_and_not_with_another(name: str, recipe: Recipe) -> None:
    dense = [recipe.decode(NETWORKS[name](k)) for k in (0, 1)]
    same = recipe.agreement(dense, dense)
    other = recipe.agreement(dense[::-1], dense)
    headline = next(iter(same))
    assert same[headline] == pytest.approx(1.0)
    assert other[headline] < 0.8
    assert list(same) == list(other)
    assert {type(value) for value in [*same.values(), *other.values()]} == {float}
    assert np.isfinite([*same.values(), *other.values()]).all()
    kept = [recipe.brief(result) for result in dense]
    assert recipe.agreement(kept, kept)[headline] == same[headline]
    assert recipe.agreement(kept[::-1], kept)[headline] < 0.8
    assert recipe.drift(kept[0], kept[0]) == pytest.approx(0.0)
    assert recipe.drift(kept[1], kept[0]) > 0.1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_no_output_is_too_wild(name: str, recipe: Recipe, frame: NDArray[np.uint8], value: float) -> None:
    """A network that is broken gives something, and it is drawn and written, where the recipe decodes at all."""
    for share in (1.0, 0.1):
        outputs = NETWORKS[name](0)
        for array in outputs.values():
            array[np.random.default_rng(0).random(array.shape) < share] = value
        result = recipe.decode(outputs)
        assert recipe.draw(frame, result).dtype == np.uint8
        agreement = recipe.agreement([recipe.brief(result)], [recipe.brief(result)])
        assert np.isfinite(list(agreement.values())).all()
        assert np.isfinite(recipe.drift(recipe.brief(result), recipe.brief(result)))
        if name != "raw":  # its result is the outputs, whatever they hold
            json.dumps(recipe.to_json(result), allow_nan=False)


def test_drawing_leaves_the_frame_alone(name: str, recipe: Recipe, frame: NDArray[np.uint8]) -> None:
    before = frame.copy()
    picture = recipe.draw(frame, recipe.decode(NETWORKS[name](0)))
    assert picture.dtype == np.uint8
    if name == "super_resolution":  # its result is a picture
        assert picture.shape == (2 * recipe.letterbox.inner[0], 2 * recipe.letterbox.inner[1], 3)
    else:
        assert picture.shape == frame.shape
    assert picture is not frame
    np.testing.assert_array_equal(frame, before)


def test_a_plane_over_the_input_lies_over_the_frame(recipe: Recipe, frame: NDArray[np.uint8]) -> None:
    """What moves in the input when a block of the frame moves lies over that block, to a pixel of the input."""
    other = frame.copy()
    other[20:40, 30:55] ^= 255
    moved = (recipe.preprocess(frame) != recipe.preprocess(other)).any((0, 1))
    laid = recipe.on_frame(moved)
    assert laid.shape == FRAME_SHAPE
    assert laid.dtype == bool
    wide = int(np.ceil(2 / recipe.letterbox.ratio))
    assert laid[20 + wide : 40 - wide, 30 + wide : 55 - wide].all()
    laid[20 - wide : 40 + wide, 30 - wide : 55 + wide] = False
    assert not laid.any()
    assert recipe.on_frame(np.ones(SIZE, np.float32)).max() == 1


def test_points_of_the_input_lie_over_the_frame(recipe: Recipe) -> None:
    """A pixel of the input lies where the plane that holds it alone does."""
    y, x = SIZE[0] // 2, SIZE[1] // 2
    plane = np.zeros(SIZE, bool)
    plane[y - 3 : y + 4, x - 3 : x + 4] = True
    rows, columns = np.nonzero(recipe.on_frame(plane))
    middle = [columns.mean() + 0.5, rows.mean() + 0.5]
    np.testing.assert_allclose(recipe.letterbox.to_frame(np.array([x + 0.5, y + 0.5])), middle, atol=1)


def test_other_frames_are_refused(name: str, recipe: Recipe, frame: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match=rf"recipe {name} was made for frames of uint8 \(60, 100, 3\)"):
        recipe.preprocess(frame[:-1])
    with pytest.raises(InputError, match="got float32"):
        recipe.preprocess(frame.astype(np.float32))


def test_other_inputs_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"recipe {name} needs an input of 4 dimensions"):
        KINDS[name](TensorInfo("audio", np.dtype(np.float32), (1, "samples")), FRAME_SHAPE, None)
    with pytest.raises(InputError, match="1 or 3 channels"):
        KINDS[name](TensorInfo("x", np.dtype(np.float32), (1, 2, 64, 96)), FRAME_SHAPE, None)
    with pytest.raises(InputError, match=r"gives bytes 0\.\.255, more than int8 holds"):
        KINDS[name](TensorInfo("x", np.dtype(np.int8), (1, 3, 64, 96)), FRAME_SHAPE, None)
    fixed = TensorInfo("x", np.dtype(np.float32), (1, 3, 64, 96))
    assert KINDS[name](fixed, FRAME_SHAPE, None).size == (64, 96)
    with pytest.raises(InputError, match="fixed height of 64, --size asks for 128"):
        KINDS[name](fixed, FRAME_SHAPE, (128, 96))
