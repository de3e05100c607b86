"""YOLOX's decoding and agreement against an obvious version of the same formulas."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.errors import InputError
from reconv.graph import TensorInfo
from reconv.recipes.agree import Boxes, box_f1
from reconv.recipes.yolox import Yolox

pytest.importorskip("cv2")
INPUT = TensorInfo("images", np.dtype(np.float32), (1, 3, "height", "width"))


def _boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    array = np.array(rows, np.float64).reshape(-1, 6)
    return Boxes(array[:, :4], array[:, 4], array[:, 5].astype(np.int64))


def test_cells_of_each_stride_are_decoded_in_place() -> None:
    recipe = Yolox(INPUT, (128, 192), (64, 96))  # frames are twice the input
    rows = np.zeros((1, 8 * 12 + 4 * 6 + 2 * 3, 7), np.float32)
    for offset, width, stride in ((0, 12, 8), (96, 6, 16), (120, 3, 32)):
        y, x = 1, 2
        rows[0, offset + y * width + x] = [0.5, 0.5, 0, np.log(0.5), 0.9, 0.1, stride / 32]
    found = recipe.decode({"output": rows})
    for box, score in zip(found.corners, found.scores, strict=True):
        stride = round(float(score) / 0.9 * 32)
        centre, half = np.array([2.5, 1.5]) * stride, np.array([stride, stride / 2]) / 2
        np.testing.assert_allclose(box / 2, [*(centre - half), *(centre + half)], atol=1e-4)
    assert found.classes.tolist() == [1, 1, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.45, 0.225], atol=1e-6)
    assert len(recipe.to_json(found)) == 2  # 0.225 is kept for the agreement only


def test_overlapping_boxes_of_one_class_are_one() -> None:
    recipe = Yolox(INPUT, (64, 96), (64, 96))
    rows = np.zeros((1, 126, 7), np.float32)
    for cell, cls, score in ((26, 0, 0.9), (27, 0, 0.8), (28, 1, 0.7)):
        rows[0, cell, 2:4] = np.log(5)
        rows[0, cell, [4, 5 + cls]] = score, 1
    found = recipe.decode({"output": rows})
    assert found.classes.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.7])


def test_an_output_of_another_family_is_refused() -> None:
    recipe = Yolox(INPUT, (64, 96), (64, 96))
    with pytest.raises(InputError, match=r"recipe yolox expects an output \(1, 126, 5 \+ classes\), .* \(1, 1000\)"):
        recipe.decode({"logits": np.zeros((1, 1000), np.float32)})


def test_f1_counts_both_directions() -> None:
    dense = [_boxes((0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 1))]
    assert box_f1(dense, dense, 0.75) == pytest.approx(1)
    missing = [_boxes((0, 0, 10, 10, 0.9, 0))]
    assert box_f1(missing, dense, 0.75) == pytest.approx(2 / 3)  # recall 1/2, precision 1
    assert box_f1(dense, missing, 0.75) == pytest.approx(2 / 3)
    other_class = [_boxes((0, 0, 10, 10, 0.9, 3), (20, 0, 30, 10, 0.8, 1))]
    assert box_f1(other_class, dense, 0.75) == pytest.approx(0.5)
    shifted = [_boxes((2, 0, 12, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 1))]  # overlap 8/12
    assert box_f1(shifted, dense, 0.5) == pytest.approx(1)
    assert box_f1(shifted, dense, 0.75) == pytest.approx(0.5)


def test_a_score_that_wavers_is_no_difference_and_partners_are_taken_once() -> None:
    dense = [_boxes((0, 0, 10, 10, 0.31, 0))]
    assert box_f1([_boxes((0, 0, 10, 10, 0.29, 0))], dense, 0.75) == 0.0  # nothing sure on our side: no precision
    assert box_f1([_boxes((0, 0, 10, 10, 0.21, 0), (50, 0, 60, 10, 0.9, 0))], dense, 0.5) == 0.0
    twice = [_boxes((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 9, 0.8, 0))]
    assert box_f1(twice, dense, 0.5) == pytest.approx(2 / 3)


def test_nothing_on_either_side_is_agreement() -> None:
    assert box_f1([_boxes()], [_boxes()], 0.5) == 1.0
    assert box_f1([_boxes()], [_boxes((0, 0, 1, 1, 0.9, 0))], 0.5) == 0.0
