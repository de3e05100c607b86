"""Recipes of one's own and recipes whose result is a picture, on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from reconv.app import main
from reconv.graph import load
from reconv.optimize.samples import open_samples
from tests.unit.app.conftest import save

cv2 = pytest.importorskip("cv2")
EXAMPLE = Path(__file__).parents[3] / "examples" / "own_recipe.py"

NEARLY = """
import reconv
class Whole(reconv.Recipe):
    name = "whole"
    pixels = reconv.PixelArithmetic(scale=1 / 255)
    def decode(self, outputs): return float(next(iter(outputs.values()))[..., :48].mean())
    def agreement(self, a, b): return {"equal": float(sum(x == y for x, y in zip(a, b)) / max(len(b), 1))}
    def draw(self, frame, result): return frame.copy()
    def to_json(self, result): return result
class Half(reconv.Recipe):
    name = "half"
    def decode(self, outputs): return 0
NUMBER = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that is importable because the program was started beside it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my_recipes_of_this_test.py"
    path.write_text(NEARLY, encoding="utf-8")
    (tmp_path / "broken_module_of_this_test.py").write_text("import nowhere_to_be_found", encoding="utf-8")
    (tmp_path / "failing_module_of_this_test.py").write_text(
        "raise SystemExit('no licence\\nat all')", encoding="utf-8"
    )
    return path


@pytest.mark.parametrize("where", ["my_recipes_of_this_test", "my_recipes_of_this_test.py"])
def test_run_takes_a_class_by_its_module_or_file(
    where: str, own: Path, map_model: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = own.parent / "out.jsonl"
    arguments = ["run", map_model, clip, "--recipe", f"{where}:Whole", "--output", target, "--json", "--compare", 1]
    assert main([str(argument) for argument in arguments]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["agreement"] == {"equal": 1.0}
    results = [json.loads(line)["result"] for line in target.read_text().splitlines()]
    assert len(results) == said["frames"] == 24
    assert all(isinstance(result, float) for result in results)
    assert len(set(results)) > 1


def test_samples_are_made_by_it_too(own: Path, map_model: Path, clip: Path, pictures: NDArray[np.uint8]) -> None:
    samples = open_samples(str(clip), load(map_model), recipe=f"{own}:Whole")
    recipe = samples.decoder(0)
    assert recipe is not None
    assert recipe.name == "whole"
    np.testing.assert_array_equal(samples[3]["images"], recipe.preprocess(pictures[3]))


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("my_recipes_of_this_test:Gone", "has no class Gone; its recipes are Whole, Half"),
        ("my_recipes_of_this_test:Half", "class Half lacks agreement, draw, to_json, pixels"),
        ("my_recipes_of_this_test:NUMBER", "NUMBER is not a class derived from reconv.Recipe"),
        ("my_recipes_of_this_test:reconv.Recipe", "expected module:Class or file.py:Class"),
        (":Whole", "expected module:Class or file.py:Class"),
        ("my_recipes_of_this_test:", "expected module:Class or file.py:Class"),
        ("module_that_is_not_there:Whole", "there is no module module_that_is_not_there"),
        ("my_recipes_of_this_test.below:Whole", "my_recipes_of_this_test"),
        ("broken_module_of_this_test:Whole", "cannot be imported: No module named 'nowhere_to_be_found'"),
        ("failing_module_of_this_test:Whole", "cannot be imported: SystemExit: no licence at all"),
        ("failing_module_of_this_test.py:Whole", "cannot be imported: SystemExit: no licence at all"),
        ("..:Whole", "cannot be imported"),
        ("gone.py:Whole", "no such file: gone.py"),
        ("json:JSONDecoder", "JSONDecoder is not a class derived from reconv.Recipe"),
        ("json:nothing", "has no class nothing; it has no recipes"),
    ],
)
def test_mistakes(
    recipe: str, said: str, own: Path, *, map_model: Path, clip: Path, mistake: Callable[..., str]
) -> None:
    for command in (["run"], ["bench"]):
        assert said in mistake(*command, map_model, clip, "--recipe", recipe)
    assert said in mistake("quantize", map_model, "--data", clip, "--recipe", recipe, "-o", own.parent / "x.onnx")


def test_a_file_may_import_what_lies_beside_it(
    own: Path, map_model: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own.parent / "below"
    folder.mkdir()
    shutil.copy(own, folder / "base_of_this_test.py")
    (folder / "derived.py").write_text("from base_of_this_test import Whole\nclass Mine(Whole):\n    name = 'mine'\n")
    assert main(["run", str(map_model), str(clip), "--recipe", "below/derived.py:Mine", "--limit", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] == "below/derived.py:Mine"


def test_super_resolution_writes_the_large_picture(
    tmp_path: Path, clip: Path, pictures: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    nodes = [helper.make_node("Resize", ["images", "", "scales"], ["y"], mode="nearest")]
    model = save(tmp_path / "twice.onnx", nodes, [1, 3, "h", "w"], scales=scales)
    for name, more in (("plain.mp4", []), ("tinted.mp4", ["--overlay"])):
        arguments = ["run", model, clip, "--recipe", "super_resolution", "--output", tmp_path / name, "--json", *more]
        assert main([str(argument) for argument in arguments]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["agreement"] == {"close_pixels": 1.0, "equal_pixels": 1.0, "psnr_db": 200.0}
    seen = {}
    for name in ("plain.mp4", "tinted.mp4"):
        capture = cv2.VideoCapture(str(tmp_path / name))
        seen[name] = [capture.read()[1] for _ in pictures]
    plain, tinted = seen["plain.mp4"][-1].astype(int), seen["tinted.mp4"][-1].astype(int)
    expected = pictures[-1].repeat(2, 0).repeat(2, 1)
    assert plain.shape == expected.shape
    assert np.abs(plain - expected).mean() < 6
    red = (tinted - plain)[..., 2]
    assert red[20:76, 88:92].max() > 20  # what the square has just left
    assert np.abs(red[90:]).max() < 20
