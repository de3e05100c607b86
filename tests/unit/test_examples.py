"""The examples run as they stand, and what they print is what an independent computation gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from reconv.app import main

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "examples" / "layer.py"
OWN = ROOT / "examples" / "own_recipe.py"
RECORDING = ROOT / "src" / "reconv" / "app" / "data" / "screen.mp4"
PICTURE = ROOT / "docs" / "images" / "recomputed.png"
TILE, CAPACITY = 32, 200
KERNELS = {
    "left edges": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "upper edges": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "spots": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "brightness": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
}
Array = np.ndarray[Any, Any]


def run(*arguments: str, example: Path = LAYER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(example), *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def tiles_of(path: Path) -> list[Array]:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    height, width = (size // TILE * TILE for size in picture.shape)
    return [picture[y : y + TILE, x : x + TILE] for y in range(0, height, TILE) for x in range(0, width, TILE)]


def layer(tile: Array, kernel: list[list[int]]) -> Array:
    """Convolution with a border of zeros, ReLU, 2x2 max pooling, in float64: a sum of shifted tiles."""
    padded = np.pad(tile / 255, 1)
    shifted = [kernel[y][x] * padded[y : y + TILE, x : x + TILE] for y in range(3) for x in range(3)]
    positive = np.maximum(np.sum(shifted, axis=0), 0)
    return np.asarray(np.max([positive[y::2, x::2] for y in range(2) for x in range(2)], axis=0))


def hits_and_misses(tiles: list[Array], turns: int) -> list[tuple[int, int, int]]:
    """Of an LRU cache that is asked for all tiles of a turn before it takes in what was missing; and what it holds."""
    held: OrderedDict[bytes, None] = OrderedDict()
    counts = []
    for _ in range(turns):
        asked = list(OrderedDict.fromkeys(tile.tobytes() for tile in tiles))
        missing = [name for name in asked if name not in held]
        for name in asked:
            if name in held:
                held.move_to_end(name)
        for name in missing:
            held[name] = None
            if len(held) > CAPACITY:
                held.popitem(last=False)
        counts.append((len(tiles) - len(missing), len(missing), len(held)))
    return counts


def check(path: Path, said: str) -> None:
    tiles = tiles_of(path)
    found = [tuple(map(int, numbers)) for numbers in re.findall(r"time: .* (\d+) hits, (\d+) misses, (\d+) kept", said)]
    assert found == hits_and_misses(tiles, 2)
    shapes = f"({len(tiles)}, 1, 32, 32) -> ({len(tiles)}, 4, 16, 16)"
    assert said.count(shapes) == 2
    assert f"int8: {4 * 4 * 256 * len(tiles)} -> {4 * 256 * len(tiles)} bytes" in said
    different = {tile.tobytes(): tile for tile in tiles}.values()
    for name, kernel in KERNELS.items():
        maps = np.stack([layer(tile, kernel) for tile in different])
        step = maps.max() / 127
        error = np.abs(np.rint(maps / step) * step - maps).max()
        row = re.search(rf"  {name}: up to ([\d.]+), int8 is off by at most ([\d.]+)", said)
        assert row is not None, said
        assert float(row[1]) == pytest.approx(maps.max(), abs=0.0006)
        assert float(row[2]) == pytest.approx(error, abs=0.00002)
        assert 0 < float(row[2]) <= step / 2 + 0.00001


def test_the_layer_on_the_picture_that_comes_with_it() -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    check(PICTURE, done.stdout)
    with pytest.raises(AssertionError):  # the check can fail
        check(PICTURE, done.stdout.replace(" hits", "0 hits", 1))


def test_the_layer_on_a_photograph(asset: Callable[[str], Path]) -> None:
    photograph = sorted(asset("foolbox").glob("imagenet_*.jpg"))[0]
    done = run(str(photograph))
    assert done.returncode == 0, done.stderr
    check(photograph, done.stdout)


def test_what_is_no_picture_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no", encoding="utf-8")
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((31, 64), np.uint8))
    for path, words in ((tmp_path / "no.png", "is not a picture"), (small, "has 64x31 pixels, a tile 32x32")):
        done = run(str(path))
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def ink(frame: Array) -> Array:
    """Which cells of 16x16 pixels have strokes: the mean, over a cell's pixels, of how far each is brighter or darker
    than the mean of the eight around it (nothing beyond the border), all colours together, a third of it."""
    grey = np.pad(frame.astype(np.float64).sum(2) / 3 / 255, 1)
    height, width = frame.shape[:2]
    around = [grey[1 + y : 1 + y + height, 1 + x : 1 + x + width] for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    stroke = np.abs(grey[1:-1, 1:-1] - np.mean(around, axis=0))
    return np.asarray(stroke.reshape(height // 16, 16, width // 16, 16).mean((1, 3)))


def test_a_recipe_of_ones_own_finds_the_ink() -> None:
    done = run(example=OWN)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(
        r"screen\.mp4: (\d+) frames, ink in ([\d.]+)% of the cells\n"
        r"tolerance 0: ([\d.]+)% of the work, overlap 1\.000\n"
        r"tolerance 0\.1: ([\d.]+)% of the work, overlap ([\d.]+)\n",
        done.stdout,
    )
    assert found is not None, done.stdout
    capture = cv2.VideoCapture(str(RECORDING))
    frames = []
    more, frame = capture.read()
    while more:
        frames.append(frame)
        more, frame = capture.read()
    assert int(found[1]) == len(frames)
    few = frames[::10]
    assert float(found[2]) == pytest.approx(100 * np.mean([ink(frame) > 0.04 for frame in few]), abs=1)
    assert 0 < float(found[4]) <= float(found[3]) < 20
    assert float(found[5]) > 0.98
    assert abs(float(found[2]) - 100 * np.mean([ink(frame) > 0.08 for frame in few])) > 2  # the check can fail


def test_it_is_run_by_the_command_as_the_manual_says(tmp_path: Path) -> None:
    model, drawn, lines = tmp_path / "ink.onnx", tmp_path / "drawn.mp4", tmp_path / "lines.jsonl"
    assert run("--save", str(model), example=OWN).returncode == 0
    for target in (drawn, lines):
        command = ["run", model, RECORDING, "--recipe", f"{OWN}:Ink", "--output", target, "--limit", 3]
        assert main([str(part) for part in command]) == 0
    capture = cv2.VideoCapture(str(RECORDING))
    result = json.loads(lines.read_text().splitlines()[0])["result"]
    frame = capture.read()[1]
    expected = np.argwhere(ink(frame) > 0.04)[:, ::-1] * 16
    assert result["cells"] == expected.tolist()
    shown = cv2.VideoCapture(str(drawn)).read()[1]
    x, y = (int(v) for v in expected[0])
    assert shown[y + 4 : y + 12, x + 4 : x + 12].mean() < 0.8 * frame[y + 4 : y + 12, x + 4 : x + 12].mean()


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_text("no", encoding="utf-8")
    done = run(str(tmp_path / "no.mp4"), example=OWN)
    assert done.returncode == 1
    assert "no.mp4 is not a video that can be read" in done.stderr
