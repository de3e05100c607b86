"""`reconv run`: what it writes, what it says of the savings and their cost, and how it answers mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.app import main, sinks
from reconv.app.tally import compare_every
from reconv.engine.model import load
from reconv.recipes import RECIPES

cv2 = pytest.importorskip("cv2")
Mistake = Callable[..., str]


def summary(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["run", *(str(argument) for argument in arguments), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


def test_json_lines_hold_every_frames_detections(
    yolox_model: Path, clip: Path, pictures: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.jsonl"
    said = summary(capsys, yolox_model, clip, "--recipe", "yolox", "--output", target)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    model = load(yolox_model)
    recipe = RECIPES["yolox"](model.inputs[0], pictures.shape[1:3], None)
    for index, (line, frame) in enumerate(zip(lines, pictures, strict=True)):
        assert line["frame"] == index
        assert line["result"] == recipe.to_json(recipe.decode(model.run(recipe.preprocess(frame))))
        assert line["result"]
    assert said["frames"] == len(pictures)
    assert lines[0]["recomputed"] == 1.0
    assert said["recomputed"] == pytest.approx(np.mean([line["recomputed"] for line in lines[1:]]), abs=1e-5)


def test_an_exact_run_is_bit_identical_and_says_so(
    yolox_model: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = summary(capsys, yolox_model, clip, "--recipe", "yolox", "--compare", 1)
    assert said["tolerance"] == 0
    assert said["compared_frames"] == said["bit_identical_frames"] == 23
    assert said["agreement"] == {"f1@0.75": 1.0, "f1@0.5": 1.0}
    assert 0 < said["recomputed"] < 0.8
    assert said["speedup"] > 0
    assert said["state_bytes"] > 0


def test_a_tolerance_is_not_and_says_so(map_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 200, (32, 48, 3))
    np.save(tmp_path / "noise.npy", (first + rng.integers(0, 30, (12, 32, 48, 3))).astype(np.uint8))
    said = summary(capsys, map_model, tmp_path / "noise.npy", "--tolerance", 0.3, "--compare", 0.5)
    assert said["bit_identical_frames"] == 0 < said["compared_frames"]
    assert said["agreement"]["equal"] < 1
    assert said["agreement"]["psnr_db"] < 100
    off = summary(capsys, map_model, tmp_path / "noise.npy", "--tolerance", 0.3, "--compare", 0)
    assert off["agreement"] is None
    assert off["compared_frames"] == 0


def test_loop_orders_are_measured_or_read_and_change_no_bit(
    yolox_model: Path,
    clip: Path,
    *,
    pictures: NDArray[np.uint8],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mistake: Mistake,
) -> None:
    model = load(yolox_model, threads=1, kernels="measured")
    recipe = RECIPES["yolox"](model.inputs[0], pictures.shape[1:3], None)
    model.run(recipe.preprocess(pictures[0]))
    saved = tmp_path / "kernels.json"
    model.save_kernels(saved)
    options = ["--recipe", "yolox", "--limit", 4, "--compare", 1]
    for kernels in ("measured", saved):
        said = summary(capsys, yolox_model, clip, "--threads", 1, "--kernels", kernels, *options)
        assert said["compared_frames"] == said["bit_identical_frames"] == 3
    assert "nowhere.json cannot be read" in mistake("run", yolox_model, clip, "--kernels", tmp_path / "nowhere.json")


def test_npz_holds_the_raw_outputs(
    map_model: Path, clip: Path, pictures: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.npz"
    summary(capsys, map_model, clip, "--output", target, "--every", 5, "--limit", 3)
    model = load(map_model)
    recipe = RECIPES["raw"](model.inputs[0], pictures.shape[1:3], None)
    with np.load(target) as found:
        assert sorted(found.files) == ["frame", "recomputed", "y"]
        assert found["frame"].tolist() == [0, 5, 10]
        for k, y in zip((0, 5, 10), found["y"], strict=True):
            np.testing.assert_array_equal(y, model.run(recipe.preprocess(pictures[k]))["y"])
    assert list(tmp_path.glob(".reconv-*")) == []


def test_the_video_shows_what_was_found(
    yolox_model: Path, clip: Path, pictures: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, tinted = tmp_path / "plain.mp4", tmp_path / "tinted.mp4"
    summary(capsys, yolox_model, clip, "--recipe", "yolox", "--output", plain)
    summary(capsys, yolox_model, clip, "--recipe", "yolox", "--output", tinted, "--overlay")
    seen = {}
    for path in (plain, tinted):
        capture = cv2.VideoCapture(str(path))
        seen[path] = [capture.read()[1] for _ in pictures]
        assert not capture.read()[0]
        assert seen[path][0].shape == pictures[0].shape
    red = [np.subtract(b[..., 2], a[..., 2], dtype=int) for a, b in zip(seen[plain], seen[tinted], strict=True)]
    assert red[-1][10:38, 76:].max() > 20  # the square's right edge has just moved in, over grey
    assert np.abs(red[-1][44:]).max() < 20  # nothing moves below


def test_an_overlay_needs_a_video(map_model: Path, clip: Path, mistake: Callable[..., str]) -> None:
    assert "--output out.mp4" in mistake("run", map_model, clip, "--overlay")
    assert "--output out.mp4" in mistake("run", map_model, clip, "--overlay", "--output", "out.jsonl")


def test_what_is_read_is_not_overwritten(
    yolox_model: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: Callable[..., str]
) -> None:
    video = tmp_path / "clip.mp4"
    summary(capsys, yolox_model, clip, "--recipe", "yolox", "--output", video)
    before = video.read_bytes()
    (tmp_path / "again.mp4").symlink_to(video)
    for other in (video, tmp_path / "again.mp4"):
        assert "would overwrite" in mistake("run", yolox_model, video, "--output", other)
    assert video.read_bytes() == before


def test_a_video_and_a_folder_of_pictures_are_sources(
    map_model: Path, pictures: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in (1, 2, 10):
        cv2.imwrite(str(folder / f"{k}.png"), pictures[k])
    summary(capsys, map_model, folder, "--output", tmp_path / "folder.npz")
    summary(capsys, map_model, folder, "--output", tmp_path / "drawn.mp4")
    assert summary(capsys, map_model, tmp_path / "drawn.mp4", "--size", "32x48")["frames"] == 3
    recipe = RECIPES["raw"](load(map_model).inputs[0], pictures.shape[1:3], None)
    with np.load(tmp_path / "folder.npz") as found:
        for k, y in zip((1, 2, 10), found["y"], strict=True):  # 10 after 2
            np.testing.assert_array_equal(y, load(map_model).run(recipe.preprocess(pictures[k]))["y"])


def test_arrays_go_to_the_network_as_they_are(
    map_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(3).standard_normal((4, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "one.npz", anything=x)
    np.savez(tmp_path / "named.npz", images=x, other=x)
    summary(capsys, map_model, tmp_path / "one.npz", "--output", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_array_equal(found["y"], np.stack([load(map_model).run(frame[None])["y"] for frame in x]))
    assert main(["run", str(map_model), str(tmp_path / "named.npz")]) == 2
    assert "'other'" in capsys.readouterr().err


@pytest.mark.parametrize("output", [[], ["--output", "-"]])
def test_in_a_pipe_results_go_to_stdout_and_the_summary_to_stderr(
    output: list[str], yolox_model: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(yolox_model), str(clip), "--recipe", "yolox", *output]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(24))
    assert "% of the multiply-adds of a dense run" in err
    assert "f1@0.75 1, f1@0.5 1 (against dense runs of 5 frames, all bit-identical)" in err
    assert "\x1b" not in err


def test_there_is_no_progress_in_a_pipe(map_model: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(map_model), str(clip)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "equal 1, psnr_db 200" in out


def test_a_wrong_recipe_leaves_a_valid_video_or_none(mistake: Mistake, yolox_model: Path, clip: Path) -> None:
    assert "is it the right recipe?" in mistake(
        "run", yolox_model, clip, "--recipe", "dbnet", "--output", clip.with_suffix(".mp4")
    )


def test_a_full_disk_is_one_line(
    mistake: Mistake, map_model: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sinks.JsonLines, "write", full)
    assert "No space left on device" in mistake("run", map_model, clip, "--output", tmp_path / "x.jsonl")


def test_comparisons_follow_the_clips_length() -> None:
    assert compare_every(0, 1000) == 0
    assert compare_every(0.05, None) == 20
    assert compare_every(0.05, 1000) == 20
    assert compare_every(0.05, 26) == 5
    assert compare_every(1, 1000) == 1
    assert compare_every(0.05, 2) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.onnx", "CLIP"], "none.onnx does not exist"),
        (["CLIP", "CLIP"], "not a readable ONNX model"),
        (["YOLOX", "none.mp4"], "no such file or folder: none.mp4"),
        (["YOLOX", "YOLOX"], "not a video"),
        (["YOLOX", "CLIP", "--recipe", "yolov99"], "no recipe is called 'yolov99'; there are raw, yolox, dbnet"),
        (["YOLOX", "CLIP", "--recipe", "dbnet"], "recipe dbnet expects one output (1, 1, 64, 96)"),
        (["YOLOX", "CLIP", "--recipe", "yolox", "--size", "60x96"], "multiples of 32, got 60x96"),
        (["YOLOX", "CLIP", "--size", "64"], "--size is height x width, as in 576x768; got '64'"),
        (["YOLOX", "CLIP", "--tolerance", "-0.1"], "tolerance is -0.1, expected a number from 0"),
        (["YOLOX", "CLIP", "--tolerance", "much"], "Invalid value for '--tolerance'"),
        (["YOLOX", "CLIP", "--output", "out.txt"], ".jsonl, .npz or .mp4"),
        (["YOLOX", "CLIP", "--output", "/nowhere/out.npz"], "--output /nowhere/out.npz cannot be written"),
        (["YOLOX", "CLIP", "--output", "/nowhere/out.mp4"], "--output /nowhere/out.mp4 cannot be written"),
        (["YOLOX", "CLIP", "--output", "-", "--json"], "both want stdout"),
        (["YOLOX", "CLIP", "--profile", "none.json"], "none.json"),
        (["YOLOX", "CLIP", "--nonsense"], "No such option: --nonsense"),
        (["YOLOX"], "Missing argument"),
    ],
)
def test_mistakes(arguments: list[str], said: str, mistake: Mistake, yolox_model: Path, clip: Path) -> None:
    paths = {"YOLOX": yolox_model, "CLIP": clip}
    assert said in mistake("run", *(paths.get(argument, argument) for argument in arguments))


def test_mistakes_in_sources(mistake: Mistake, map_model: Path, tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no pictures" in mistake("run", map_model, empty)
    (empty / "a.png").write_bytes(b"no picture")
    assert "a.png: not a picture" in mistake("run", map_model, empty)
    (tmp_path / "bad.npy").write_bytes(b"no array")
    assert "bad.npy: not an array file" in mistake("run", map_model, tmp_path / "bad.npy")
    np.save(tmp_path / "scalar.npy", np.float32(1))
    assert "arrays need one first axis" in mistake("run", map_model, tmp_path / "scalar.npy")
    np.save(tmp_path / "flat.npy", np.zeros((3, 5), np.float32))
    assert "got an array of float32 (5,)" in mistake("run", map_model, tmp_path / "flat.npy")
    assert ".mp4 needs a source of pictures" in mistake(
        "run", map_model, tmp_path / "flat.npy", "--output", tmp_path / "x.mp4"
    )


def test_a_size_beyond_the_machine_is_one_line(map_model: Path, clip: Path, mistake: Callable[..., str]) -> None:
    for command in ("run", "bench"):
        said = mistake(command, map_model, clip, "--size", "10000000x10000000")
        assert "a picture of 10000000x10000000 for the network needs 1500000.0 GB" in said
