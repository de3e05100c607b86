"""Invariant 1 over real clips: at tolerance 0 every map of a stream equals a dense run by its bytes after every step.

More than a thousand frames, spread over models, clips, instruction sets and numbers of threads. Frames are cropped, not
resized, so that blocks which a codec skipped stay bit for bit what they were. The dense run is on one thread.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reconv
from reconv import _core, graph
from reconv.engine.lower import lower

cv2 = pytest.importorskip("cv2")
Asset = Callable[[str], Path]
Array = np.ndarray[Any, Any]

SCREEN = Path(reconv.__file__).parent / "app" / "data" / "screen.mp4"


@dataclass(frozen=True)
class Case:
    """Frames ``first`` to ``first + frames - 1`` of a clip, and of each the (top, left, height, width) of ``crop``.

    ``isa`` is the best one that the machine has where it lacks this one.
    """

    model: str
    clip: str
    crop: tuple[int, int, int, int]
    isa: str
    threads: int
    frames: int
    first: int = 0

    def __str__(self) -> str:
        return f"{self.model}-{self.clip}-{self.isa}-{self.threads}"


CASES = (
    Case("yolox_nano", "vtest", (200, 250, 288, 384), "v4", 2, 160, first=90),
    Case("yolox_nano", "vtest", (100, 0, 192, 256), "v3", 1, 120),
    Case("yolox_nano", "vtest", (300, 400, 192, 224), "baseline", 2, 60, first=300),
    Case("yolox_nano", "cap12", (40, 100, 192, 256), "v3", 2, 120, first=60),
    Case("yolox_nano", "bikes", (40, 200, 160, 256), "v4", 1, 120, first=60),
    Case("yolox_nano", "carphone", (0, 0, 128, 160), "baseline", 1, 60),
    Case("ppocr_det", "screen", (60, 80, 160, 256), "v4", 2, 110, first=5),
    Case("ppocr_det", "screen", (0, 0, 128, 192), "v3", 1, 60, first=40),
    Case("ppocr_det", "cap12", (100, 120, 96, 128), "baseline", 2, 30, first=200),
    Case("waifu2x", "carphone", (40, 60, 40, 56), "v4", 1, 60),
    Case("waifu2x", "screen", (60, 80, 48, 64), "v4", 2, 60, first=5),
    Case("waifu2x", "vtest", (250, 300, 40, 48), "v3", 2, 60, first=500),
)


def _frames(case: Case, asset: Asset) -> Iterator[Array]:
    """The network's inputs (1, 3, height, width); YOLOX takes 0..255, the others 0..1."""
    capture = cv2.VideoCapture(str(SCREEN if case.clip == "screen" else asset(case.clip)))
    top, left, height, width = case.crop
    scale = np.float32(1 if case.model == "yolox_nano" else 1 / 255)
    for index in itertools.count():
        more, picture = capture.read()
        if not more or index == case.first + case.frames:
            break
        if index >= case.first:
            part = picture[top : top + height, left : left + width]
            yield np.ascontiguousarray(part.transpose(2, 0, 1)[None], np.float32) * scale
    capture.release()


def _maps(plan: _core.Plan) -> list[int]:
    """The ids of all maps that a plan stores, views among them: all but those between an op and the one that has
    absorbed it. Ids count from 0, and the first that is none is refused.
    """
    found: list[int] = []
    with contextlib.suppress(ValueError):
        for x in itertools.count():
            if plan.stored(x):
                found.append(x)
    return found


def _differing(state: _core.State, dense: _core.State, maps: list[int]) -> list[int]:
    """The maps whose bytes differ."""
    return [x for x in maps if state.array(x).tobytes() != dense.array(x).tobytes()]


def _output(state: _core.State, shape: tuple[int, ...]) -> Array:
    array = np.empty(shape, np.float32)
    state.read(0, array)
    return array


def _isa(wanted: str) -> str:
    return wanted if wanted in _core.isas() else _core.isas()[0]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_map_equals_a_dense_run(case: Case, asset: Asset) -> None:
    model = graph.load(asset(case.model))
    frames = _frames(case, asset)
    first = next(frames)
    lowered = lower(model, {model.inputs[0].name: first.shape}, lambda: _core.Plan(_isa(case.isa)))
    plan, shape = lowered.plan, lowered.outputs[0].shape
    stream = _core.State(plan, _core.Threads(case.threads), False, 0.0)
    maps = _maps(plan)
    assert set(maps) > set(plan.cut_maps)
    dense = _core.State(plan, _core.Threads(1), False, 0.0)
    dense_only = _core.State(plan, _core.Threads(1), True, 0.0)  # of Model.run: absorbs more, shares memory
    compared, shares = 0, []
    for x in itertools.chain([first], frames):
        stream.step([x])
        dense.reset()
        dense.step([x])
        assert dense.was_dense
        assert stream.was_dense == (compared == 0)
        assert _differing(stream, dense, maps) == [], f"after frame {case.first + compared}"
        if compared % 8 == 0:
            dense_only.step([x])
            assert _output(stream, shape).tobytes() == _output(dense_only, shape).tobytes()
        shares.append(stream.recomputed_macs / plan.macs)
        compared += 1
    assert compared == case.frames
    assert min(shares) < 1, "nothing was reused: the comparison proves nothing"
    fresh = _core.State(plan, _core.Threads(1), False, 0.0)
    fresh.step([x])
    assert _differing(stream, fresh, maps) == []


def test_a_thousand_frames_on_every_instruction_set_and_both_numbers_of_threads() -> None:
    assert sum(case.frames for case in CASES) >= 1000
    assert {(case.isa, case.threads) for case in CASES} == set(itertools.product(("v4", "v3", "baseline"), (1, 2)))


def test_the_comparison_sees_one_changed_value(asset: Asset) -> None:
    case = CASES[5]
    model = graph.load(asset(case.model))
    x = next(_frames(case, asset))
    plan = lower(model, {model.inputs[0].name: x.shape}).plan
    team = _core.Threads(1)
    one, other = (_core.State(plan, team, False, 0.0) for _ in range(2))
    maps = _maps(plan)
    one.step([x])
    other.step([x])
    assert _differing(one, other, maps) == []
    changed = x.copy()
    changed[0, 1, 70, 90] = np.nextafter(changed[0, 1, 70, 90], np.float32(np.inf))
    other.step([changed])
    assert maps[0] in _differing(one, other, maps)

    class OneBit:
        """A state whose map 3 has one other bit."""

        def array(self, x: int) -> Array:
            found = one.array(x)
            if x == maps[3]:
                found.view(np.uint32)[-1, -1, -1] ^= 1
            return found

    assert _differing(one, OneBit(), maps) == [maps[3]]  # type: ignore[arg-type]  # what it needs of a state
