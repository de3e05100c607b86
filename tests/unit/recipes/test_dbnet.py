"""DB post-processing on maps whose boxes are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from reconv.graph import TensorInfo
from reconv.recipes.agree import Boxes, box_f1
from reconv.recipes.dbnet import DbNet, TextBoxes

cv2 = pytest.importorskip("cv2")
INPUT = TensorInfo("x", np.dtype(np.float32), (None, 3, None, None))


def test_a_line_grows_by_area_times_ratio_over_perimeter() -> None:
    recipe = DbNet(INPUT, (128, 256), None)
    probability = np.zeros((1, 1, 128, 256), np.float32)
    probability[0, 0, 40:51, 20:121] = 0.8
    found = recipe.decode({"map": probability})
    # after the 2x2 dilation the rectangle between outermost pixel centres is 101 x 11
    grown = 101 * 11 * 1.6 / (2 * (101 + 11))
    np.testing.assert_allclose(found.corners[0].min(0), [20 - grown, 40 - grown], atol=1.01)
    np.testing.assert_allclose(found.corners[0].max(0), [121 + grown, 51 + grown], atol=1.01)
    assert found.scores[0] > 0.6


def test_faint_and_tiny_things_are_no_text() -> None:
    recipe = DbNet(INPUT, (128, 256), None)
    probability = np.zeros((1, 1, 128, 256), np.float32)
    probability[0, 0, 40:60, 20:120] = 0.4  # text pixels, but not sure enough for a box
    probability[0, 0, 100, 100] = 0.9
    found = recipe.decode({"map": probability})
    assert found.corners.shape == (0, 4, 2)
    assert found.text.sum() == 20 * 100 + 1


def test_a_slanted_line_has_a_slanted_box() -> None:
    recipe = DbNet(INPUT, (128, 256), None)
    mask = np.zeros((128, 256), np.uint8)
    cv2.line(mask, (40, 40), (200, 90), 1, 10)
    found = recipe.decode({"map": mask[None, None].astype(np.float32)})
    sides = np.linalg.norm(np.diff(found.corners[0], axis=0, append=found.corners[0][:1]), axis=1)
    assert min(sides) < 40
    assert max(sides) > 160


@pytest.mark.parametrize("frame", [(256, 512), (1000, 300), (640, 2000), (300, 100)])
def test_boxes_of_a_scaled_frame_lie_where_they_are_on_it(frame: tuple[int, int]) -> None:
    """The rectangle of the input that a line of the frame lands on comes back to that line, at the far corner too."""
    recipe = DbNet(INPUT, frame, (128, 256))
    height, width = recipe.letterbox.inner
    probability = np.zeros((1, 1, 128, 256), np.float32)
    probability[0, 0, height - 21 : height - 9, width - 30 : width - 8] = 0.9
    found = recipe.decode({"map": probability})
    low, high = found.corners[0].min(0), found.corners[0].max(0)
    grown = 22 * 12 * 1.6 / (2 * (22 + 12))
    expected = np.array([width - 30 - grown, height - 21 - grown, width - 8 + grown, height - 9 + grown])
    expected *= np.array([frame[1] / width, frame[0] / height] * 2)
    limit = np.array([frame[1], frame[0]] * 2)
    scale = np.array([frame[1] / width, frame[0] / height] * 2)
    assert (np.abs(np.concatenate([low, high]) - np.clip(expected, 0, limit)) <= 1.01 * scale).all()


def _upright(found: TextBoxes) -> Boxes:
    sides = np.concatenate([found.corners.min(1), found.corners.max(1)], 1)
    return Boxes(sides, found.scores, np.zeros(len(found.scores), int))


def test_a_long_screen_keeps_its_lines_when_it_is_scaled(asset: Callable[[str], Path]) -> None:
    """Three screens below one another, at two thirds of their size: each line of the whole size is found."""
    path, recording = asset("ppocr_det"), Path(__file__).parents[3] / "src" / "reconv" / "app" / "data" / "screen.mp4"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    capture: Any = cv2.VideoCapture(str(recording))
    screens = [capture.read()[1] for _ in range(111)]
    long = np.concatenate([screens[20], screens[60], screens[110]])
    found = {}
    for size in (None, (960, 448)):
        recipe = DbNet(INPUT, long.shape[:2], size)
        (output,) = session.run(None, {session.get_inputs()[0].name: recipe.preprocess(long)})
        found[size] = _upright(recipe.decode({"map": output}))
    assert len(found[None]) > 60
    assert box_f1([found[960, 448]], [found[None]], 0.5) > 0.98
    middles = (found[960, 448].corners[:, :2] + found[960, 448].corners[:, 2:]) / 2
    others = (found[None].corners[:, :2] + found[None].corners[:, 2:]) / 2
    nearest = np.abs(others[:, None] - middles[None]).max(2).min(1)
    assert np.median(nearest) < 1.5  # pixels of the screen
