"""Larger pictures: sizes and borders of made networks, and waifu2x on a real frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo, load
from reconv.recipes.agree import psnr_db
from reconv.recipes.pixels import PixelArithmetic
from reconv.recipes.super_resolution import SuperResolution

cv2 = pytest.importorskip("cv2")
INPUT = TensorInfo("x", np.dtype(np.float32), (1, 3, "height", "width"))


def _frame(height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _network(x: NDArray[np.float32], factor: int, eaten: int) -> dict[str, NDArray[Any]]:
    """Each pixel `factor` times in both directions, and the border cut off."""
    inner = x[:, :, eaten : x.shape[2] - eaten, eaten : x.shape[3] - eaten]
    return {"y": inner.repeat(factor, 2).repeat(factor, 3)}


class Wide(SuperResolution):
    """Another arithmetic and a wider border."""

    name = "wide"
    margin = 20
    pixels = PixelArithmetic(1 / 255, (0.5, 0.4, 0.3), (0.5, 0.25, 0.2), channel_order="BGR")


@pytest.mark.parametrize("kind", [SuperResolution, Wide])
@pytest.mark.parametrize(("factor", "eaten"), [(1, 0), (2, 0), (2, 7), (3, 1), (4, 8)])
@pytest.mark.parametrize("shape", [(40, 56), (56, 56)])
def test_the_picture_is_the_frame_times_the_factor(
    kind: type[SuperResolution], factor: int, eaten: int, shape: tuple[int, int]
) -> None:
    recipe, frame = kind(INPUT, shape, None), _frame(*shape)
    assert recipe.size == (shape[0] + 2 * kind.margin, shape[1] + 2 * kind.margin)
    found = recipe.decode(_network(recipe.preprocess(frame), factor, eaten))
    assert found.factor == factor
    np.testing.assert_array_equal(found.picture, frame.repeat(factor, 0).repeat(factor, 1))
    last = kind(TensorInfo("x", np.dtype(np.float32), (1, "h", "w", 3)), shape, None)
    planes = _network(last.preprocess(frame).transpose(0, 3, 1, 2), factor, eaten)["y"]
    np.testing.assert_array_equal(last.decode({"y": planes.transpose(0, 2, 3, 1)}).picture, found.picture)


@pytest.mark.parametrize("shape", [(1, 1, "height", "width"), (1, "height", "width", 1)])
@pytest.mark.parametrize("kind", [SuperResolution, Wide])
def test_a_grey_network_gives_the_grey_frame(kind: type[SuperResolution], shape: tuple[int | str, ...]) -> None:
    recipe, frame = kind(TensorInfo("x", np.dtype(np.float32), shape), (40, 56), None), _frame()
    last = shape[3] == 1
    x = recipe.preprocess(frame)
    output = _network(x.transpose(0, 3, 1, 2) if last else x, 2, 7)["y"]
    found = recipe.decode({"y": output.transpose(0, 2, 3, 1) if last else output})
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(found.picture, grey[..., None].repeat(3, 2).repeat(2, 0).repeat(2, 1))
    with pytest.raises(InputError, match="expects one output"):
        recipe.decode({"y": np.repeat(output, 3, 1)})


def test_without_room_the_border_that_is_eaten_is_missing() -> None:
    fixed = TensorInfo("x", np.dtype(np.float32), (1, 3, 40, 56))
    recipe, frame = SuperResolution(fixed, (40, 56), None), _frame()
    found = recipe.decode(_network(recipe.preprocess(frame), 2, 7))
    np.testing.assert_array_equal(found.picture, frame[7:-7, 7:-7].repeat(2, 0).repeat(2, 1))
    room = SuperResolution(TensorInfo("x", np.dtype(np.float32), (1, 3, 48, 70)), (40, 56), None)
    found = room.decode(_network(room.preprocess(frame), 2, 7))
    np.testing.assert_array_equal(found.picture, frame[3:-3].repeat(2, 0).repeat(2, 1))


def test_values_out_of_range_are_cut_and_what_is_no_number_is_black() -> None:
    recipe = SuperResolution(INPUT, (8, 8), (8, 8))
    output = np.full((1, 3, 8, 8), 1.5, np.float32)
    output[0, :, 0, 0], output[0, :, 0, 1] = -1, np.nan
    picture = recipe.decode({"y": output}).picture
    assert picture[0, 0].tolist() == picture[0, 1].tolist() == [0, 0, 0]
    assert (picture.reshape(-1, 3)[2:] == 255).all()


@pytest.mark.parametrize(
    "shape", [(1, 3, 60, 72), (1, 3, 128, 130), (1, 1, 56, 72), (2, 3, 56, 72), (1, 3, 2000, 2000)]
)
def test_an_output_of_another_family_is_refused(shape: tuple[int, ...]) -> None:
    recipe = SuperResolution(INPUT, (40, 56), None)
    with pytest.raises(InputError, match=r"recipe super_resolution expects one output \(1, 3, k \* 56, k \* 72\)"):
        recipe.decode({"y": np.zeros(shape, np.float32)})


def test_agreement_falls_with_what_can_be_seen_first() -> None:
    recipe = SuperResolution(INPUT, (40, 56), None)
    dense = recipe.decode(_network(recipe.preprocess(_frame() // 2), 2, 0))
    faint, plain = (
        recipe.decode(_network(recipe.preprocess(_frame() // 2 + k), 2, 0)) for k in (np.uint8(1), np.uint8(9))
    )
    assert recipe.agreement([faint], [dense]) == {
        "close_pixels": 1.0,
        "equal_pixels": 0.0,
        "psnr_db": pytest.approx(20 * np.log10(255)),
    }
    assert recipe.agreement([plain], [dense])["close_pixels"] == 0
    assert recipe.agreement([dense, plain], [dense, dense])["close_pixels"] == 0.5


def test_waifu2x_on_a_real_frame(asset: Callable[[str], Path]) -> None:
    path = asset("waifu2x")
    capture = cv2.VideoCapture(str(asset("cap12")))
    frame = np.ascontiguousarray(capture.read()[1][90:218, 120:280])
    recipe = SuperResolution.for_model(load(path), frame.shape[:2], None)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"image": recipe.preprocess(frame)})
    picture = recipe.decode({"y": output}).picture
    assert picture.shape == (256, 320, 3)
    # as the model's notes tell it: a border of 7, RGB in 0..1
    padded = np.pad(frame, ((7, 7), (7, 7), (0, 0)), mode="edge")[..., ::-1].transpose(2, 0, 1)[None]
    (plain,) = session.run(None, {"image": (padded / 255).astype(np.float32)})
    expected = np.clip(plain[0].transpose(1, 2, 0)[..., ::-1] * 255, 0, 255)
    assert np.abs(picture - expected).max() < 0.51
    small = cv2.resize(picture, (160, 128), interpolation=cv2.INTER_AREA)
    assert psnr_db([small], [frame], 255.0) > 30
    assert psnr_db([small[..., ::-1]], [frame], 255.0) < 25  # red for blue would show
