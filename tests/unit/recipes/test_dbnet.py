"""DB post-processing on maps whose boxes are known."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.graph import TensorInfo
from reconv.recipes.dbnet import DbNet

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
