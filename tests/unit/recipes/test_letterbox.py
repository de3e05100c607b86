"""Where frames lie in the input, against the obvious ways to say it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.recipes import letterbox
from reconv.recipes.letterbox import Bordered, CentreCrop, Letterbox

cv2 = pytest.importorskip("cv2")
Size = tuple[int, int]


def _frame(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("other", [7, 48, 55, 300, 641])
def test_the_longer_side_fits_to_the_pixel(other: int) -> None:
    for own in range(1, 400, 7):
        box = Letterbox((own, 1), (other, other))
        assert box.inner[0] == other  # no rounding of a quotient takes a pixel away
        assert Letterbox((1, own), (other, other)).inner[1] == other


def test_a_frame_that_fits_is_copied_beside_the_fill() -> None:
    frame = _frame(60, 96)
    picture = Letterbox((60, 96), (64, 96)).apply(frame, 114)
    np.testing.assert_array_equal(picture[:60], frame)
    assert (picture[60:] == 114).all()


@pytest.mark.parametrize(
    ("shape", "inner"),
    [((300, 400), (300, 400)), ((289, 416), (289, 416)), ((288, 400), (299, 416)), ((321, 400), (320, 398))],
)
def test_rounding_up_to_a_multiple_scales_nothing(shape: Size, inner: Size) -> None:
    assert Letterbox(shape, (320, 416), 32).inner == inner


def test_points_go_back_by_the_scale_of_each_axis() -> None:
    box = Letterbox((1000, 333), (64, 64))
    assert box.inner == (64, 21)  # 21.3: a ratio for both axes would be off by a pixel and a half at the right
    np.testing.assert_allclose(box.to_frame(np.array([[21.0, 64.0], [0, 0]])), [[333, 1000], [0, 0]])


def test_the_middle_is_cut_out_as_resizing_first_would() -> None:
    frame = _frame(512, 640)
    found = CentreCrop((512, 640), (224, 224), 224 / 256).apply(frame, 0)
    halved = cv2.resize(frame, (320, 256), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(found, halved[16:240, 48:272])


def test_what_is_not_seen_does_not_matter_and_is_zero_in_planes() -> None:
    box = CentreCrop((100, 300), (50, 50), 1.0)
    assert (box.start, box.seen) == ((0, 100), (100, 100))
    frame = _frame(100, 300)
    other = frame.copy()
    other[:, :100] = 0
    other[:, 200:] = 0
    np.testing.assert_array_equal(box.apply(frame, 0), box.apply(other, 0))
    laid = box.undo(np.ones((50, 50), bool))
    assert laid[:, 100:200].all()
    assert laid.sum() == 100 * 100
    np.testing.assert_allclose(box.to_frame(np.array([[0.0, 0.0], [50, 50]])), [[100, 0], [200, 100]])


def test_the_whole_frame_may_lose_its_proportions() -> None:
    frame = _frame(100, 300)
    found = CentreCrop((100, 300), (50, 50), None).apply(frame, 0)
    np.testing.assert_array_equal(found, cv2.resize(frame, (50, 50), interpolation=cv2.INTER_AREA))


def test_a_frame_of_the_very_size_is_not_cut() -> None:
    frame = _frame(224, 224)
    np.testing.assert_array_equal(CentreCrop((224, 224), (224, 224), 0.875).apply(frame, 0), frame)


@pytest.mark.parametrize("size", [(76, 116), (60, 100), (61, 107), (200, 300)])
def test_a_border_repeats_the_outermost_pixels(size: Size) -> None:
    frame = _frame(60, 100)
    box = Bordered((60, 100), size, 8)
    top, left = box.corner
    assert box.inner == (60, 100)
    assert (top, left) == (min(8, (size[0] - 60) // 2), min(8, (size[1] - 100) // 2))
    rows = np.clip(np.arange(size[0]) - top, 0, 59)
    columns = np.clip(np.arange(size[1]) - left, 0, 99)
    np.testing.assert_array_equal(box.apply(frame, 0), frame[rows[:, None], columns[None]])
    np.testing.assert_array_equal(
        box.undo(np.arange(size[0] * size[1]).reshape(size))[0, :2], np.arange(2) + top * size[1] + left
    )


def test_a_frame_that_does_not_fit_shrinks() -> None:
    box = Bordered((100, 200), (64, 64), 8)
    assert box.inner == (32, 64)
    assert box.corner == (8, 0)
    assert box.apply(_frame(100, 200), 0).shape == (64, 64, 3)


HUGE = (10**7, 10**7)


def test_a_picture_larger_than_the_machine_is_told_when_the_recipe_is_made() -> None:
    with pytest.raises(InputError, match=r"a picture of 10000000x10000000 for the network needs 1500000\.0 GB"):
        Letterbox((60, 96), HUGE)


@pytest.mark.parametrize("kind", ["scaled", "filled", "bordered"])
def test_memory_that_runs_out_is_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy and OpenCV have words of their own for it."""
    monkeypatch.setattr(letterbox, "check_room", lambda *_: None)
    shape = (60, 96)
    box = Bordered(shape, HUGE, 8) if kind == "bordered" else Letterbox(shape, HUGE, 1 if kind == "scaled" else 10**8)
    with pytest.raises(InputError, match="not enough memory for a frame") as raised:
        box.apply(_frame(*shape), 0)
    assert "\n" not in str(raised.value)


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(cv2.error):
        Letterbox((60, 96), (120, 192)).apply(np.zeros((0, 0, 3), np.uint8), 0)
