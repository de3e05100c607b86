"""The head of YOLOv8 against a plain loop over its columns, on made and on real outputs."""

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
from reconv.recipes.agree import Boxes
from reconv.recipes.yolov8 import Yolov8
from tests.unit.recipes.slow_boxes import Found, best_of, overlap

cv2 = pytest.importorskip("cv2")
INPUT = TensorInfo("images", np.dtype(np.float32), (1, 3, "height", "width"))


def slow_decode(output: NDArray[Any], width_factor: float, height_factor: float, *, apart: bool) -> list[Found]:
    """What NudeNet makes of its network's output, written anew: a loop over columns, best class, corners, scaled to the
    frame. It keeps the best of overlapping boxes of all classes together; `apart` keeps classes apart, as is usual."""
    found = []
    for column in output[0].T:
        cls = int(np.argmax(column[4:]))
        score = float(column[4 + cls])
        if score < 0.2:
            continue
        x, y, w, h = (float(v) for v in column[:4])
        left, top = (x - w / 2) * width_factor, (y - h / 2) * height_factor
        found.append(Found(score, cls, (left, top, left + w * width_factor, top + h * height_factor)))
    return best_of(found, 0.45, apart=apart)


def check(recipe: Yolov8, output: NDArray[Any]) -> Boxes:
    ours = recipe.decode({"output0": output})
    factors = [frame / inner for frame, inner in zip(recipe.frame_shape, recipe.letterbox.inner, strict=True)]
    expected = slow_decode(output, factors[1], factors[0], apart=True)
    np.testing.assert_allclose(ours.scores, [one.score for one in expected], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(ours.classes, [one.cls for one in expected])
    np.testing.assert_allclose(ours.corners, np.array([one.box for one in expected]).reshape(-1, 4), atol=1e-3)
    return ours


@pytest.mark.parametrize("frame", [(64, 96), (128, 192), (100, 333)])
def test_columns_become_boxes_of_the_frame(frame: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    output = rng.random((1, 7, 126), np.float32)
    output[0, :2] *= [[96], [64]]
    output[0, 2:4] *= 40
    output[0, 4:] *= rng.random((1, 126)) ** 3
    recipe = Yolov8(INPUT, frame, (64, 96))
    found = check(recipe, output)
    assert 5 < len(found) < 126
    assert found.kinds == 3
    wrong = output.copy()
    wrong[0, 0] += 1
    with pytest.raises(AssertionError):  # the check can fail
        np.testing.assert_array_equal(recipe.decode({"output0": wrong}).corners, found.corners)


def test_nothing_found_is_nothing() -> None:
    found = Yolov8(INPUT, (64, 96), None).decode({"output0": np.zeros((1, 84, 126), np.float32)})
    assert found.corners.shape == (0, 4)
    assert Yolov8(INPUT, (64, 96), None).to_json(found) == []


@pytest.mark.parametrize("shape", [(1, 84, 125), (1, 4, 126), (1, 126, 84), (2, 84, 126), (84, 126)])
def test_an_output_of_another_family_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"recipe yolov8 expects one output \(1, 4 \+ classes, 126\), the model gives"):
        Yolov8(INPUT, (64, 96), None).decode({"output0": np.zeros(shape, np.float32)})


def test_heads_of_other_strides_are_known() -> None:
    recipe = Yolov8(INPUT, (64, 96), None)
    for cells in (126 + 16 * 24, 126 + 1):
        assert recipe.decode({"y": np.ones((1, 84, cells), np.float32)}).kinds == 80


def test_nudenet_finds_what_its_own_steps_find(asset: Callable[[str], Path]) -> None:
    """Its steps, written anew: the frame padded to a square with black, scaled to 320x320, RGB / 255."""
    path = asset("yolov8n_nudenet")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    capture: Any = cv2.VideoCapture(str(asset("cap12")))
    for place in (60, 400):
        capture.set(cv2.CAP_PROP_POS_FRAMES, place)
        frame = capture.read()[1]
        recipe = Yolov8.for_model(load(path), frame.shape[:2], None)
        (output,) = session.run(None, {"images": recipe.preprocess(frame)})
        ours = check(recipe, output)

        side = max(frame.shape[:2])
        square = np.zeros((side, side, 3), np.uint8)
        square[: frame.shape[0], : frame.shape[1]] = frame
        blob = cv2.resize(square, (320, 320))[None, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
        (output,) = session.run(None, {"images": blob})
        theirs = slow_decode(output, side / 320, side / 320, apart=False)
        assert ours.scores[0] > 0.7
        assert theirs[0].score > 0.7
        assert theirs[0].cls == ours.classes[0]
        (x0, y0, x1, y1) = (float(v) for v in ours.corners[0])
        assert overlap(theirs[0].box, (x0, y0, x1, y1)) > 0.85
        named = recipe.to_json(ours)[0]["class"]
        assert named.startswith("FACE_")
