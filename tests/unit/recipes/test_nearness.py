"""The drift of boxes: 0 for equal ones, smooth in between, 1 for a box that has no partner."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.recipes.agree import Boxes
from reconv.recipes.nearness import box_drift


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


ONE = boxes((0, 0, 10, 10, 0.8, 0))


def test_equal_boxes_do_not_drift() -> None:
    two = boxes((0, 0, 10, 10, 0.8, 0), (30, 30, 50, 60, 0.25, 1))
    assert box_drift(two, two) == 0
    assert box_drift(boxes(), boxes()) == 0


def test_a_box_without_a_partner_is_all_lost() -> None:
    assert box_drift(boxes(), ONE) == box_drift(ONE, boxes()) == 1
    assert box_drift(boxes((40, 40, 50, 50, 0.8, 0)), ONE) == 2
    assert box_drift(boxes((0, 0, 10, 10, 0.8, 1)), ONE) == 2  # another class
    assert box_drift(boxes((40, 40, 50, 50, 0.25, 0)), ONE) == 1  # the other one is not sure


def test_an_unsure_box_is_no_loss_of_its_own() -> None:
    assert box_drift(boxes(), boxes((0, 0, 10, 10, 0.25, 0))) == 0
    assert box_drift(boxes((0, 0, 10, 10, 0.25, 0)), boxes((0, 0, 10, 10, 0.3, 0))) > 0


def test_it_grows_smoothly_with_the_shift_and_with_the_score() -> None:
    shifted = [box_drift(boxes((d, 0, 10 + d, 10, 0.8, 0)), ONE) for d in (0.1, 0.2, 0.5, 1.0, 2.0)]
    assert shifted == sorted(shifted)
    assert shifted[1] / shifted[0] == pytest.approx(4, rel=0.1)  # squares
    dimmed = [box_drift(boxes((0, 0, 10, 10, s, 0)), ONE) for s in (0.78, 0.7, 0.5, 0.3, 0.2)]
    assert dimmed == sorted(dimmed)
    assert max(shifted + dimmed) <= 1
    swapped = box_drift(ONE, boxes((1, 0, 11, 10, 0.8, 0)))
    assert swapped == pytest.approx(shifted[3])
    risen = [box_drift(boxes((0, 0, 10, 10, s, 0)), boxes((0, 0, 10, 10, 0.25, 0))) for s in (0.26, 0.3, 0.5, 0.8)]
    assert risen == sorted(risen)
    assert risen[0] == 0 < risen[1]
