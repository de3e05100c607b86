"""The main job on a real detector and clip: the detections are those of ONNX Runtime."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from reconv.app import main
from reconv.engine.model import load
from reconv.recipes import RECIPES
from reconv.recipes.sources import open_source

pytest.importorskip("cv2")
FRAMES = 4


def test_yolox_on_vtest_gives_onnxruntimes_detections(asset: Callable[[str], Path], tmp_path: Path) -> None:
    model, clip = asset("yolox_nano"), asset("vtest")
    target = tmp_path / "out.jsonl"
    arguments = ["--recipe", "yolox", "--size", "288x384", "--limit", str(FRAMES), "--output", str(target)]
    assert main(["run", str(model), str(clip), *arguments]) == 0
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    source = open_source(str(clip))
    recipe = RECIPES["yolox"](load(model).inputs[0], source.shape, (288, 384))
    lines = target.read_text().splitlines()
    for line, frame in zip(lines, itertools.islice(source.frames(), FRAMES), strict=True):
        assert isinstance(frame, np.ndarray)
        (output,) = session.run(None, {"images": recipe.preprocess(frame)})
        expected = recipe.to_json(recipe.decode({"output": output}))
        found = json.loads(line)["result"]
        assert [one["class"] for one in found] == [one["class"] for one in expected]
        assert expected
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one["box"], other["box"], atol=0.05)  # frame pixels
            np.testing.assert_allclose(one["score"], other["score"], atol=1e-3)
