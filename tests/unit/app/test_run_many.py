"""`reconv run` with several sources, and with frames that change their size."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import reconv
from reconv.app import main
from reconv.app.many import Lane, names_of
from reconv.app.turns import Coming
from reconv.engine.model import load
from reconv.errors import InputError
from reconv.recipes import RECIPES
from reconv.recipes.sources import Patience, Reader, Source, start_source
from reconv.recipes.sources.reader import Connection
from tests.unit.recipes.servers import Http, a_file, encoded, motion_jpeg

cv2 = pytest.importorskip("cv2")
Mistake = Callable[..., str]


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[dict[str, Any], str]:
    """The summary and what was said on stderr."""
    assert main(["run", *(str(argument) for argument in arguments), "--json"]) == code
    out, err = capsys.readouterr()
    return json.loads(out), err


@pytest.fixture
def clips(tmp_path: Path, pictures: NDArray[np.uint8]) -> list[Path]:
    """Three clips of different lengths and sizes, two of them of one name."""
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "walk.npy", tmp_path / "small.npy", tmp_path / "other" / "walk.npy"]
    for path, clip in zip(paths, (pictures, pictures[:7, :32, :64], pictures[::-1][:12]), strict=True):
        np.save(path, clip)
    return paths


def test_every_source_gets_the_results_that_it_gets_alone(
    yolox_model: Path, clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = tmp_path / "new" / "{name}.jsonl"
    said, err = run(capsys, yolox_model, *clips, "--recipe", "yolox", "--output", pattern, "--tolerance", 0.1)
    assert err == ""
    assert list(said["sources"]) == ["walk", "small", "walk-2"]
    for clip, (name, row), frames in zip(clips, said["sources"].items(), (24, 7, 12), strict=True):
        alone, _ = run(
            capsys, yolox_model, clip, "--recipe", "yolox", "--output", tmp_path / "alone.jsonl", "--tolerance", 0.1
        )
        target = tmp_path / "new" / f"{name}.jsonl"
        assert target.read_text() == (tmp_path / "alone.jsonl").read_text()
        assert (row["source"], row["output"], row["frames"]) == (str(clip), str(target), frames)
        assert row["recomputed"] == alone["recomputed"]
        assert row["error"] is None
    rows = said["sources"].values()
    assert said["frames"] == 43
    assert said["state_bytes"] == sum(row["state_bytes"] for row in rows) > 0
    spent = sum(row["recomputed"] * (row["frames"] - 1) for row in rows)
    assert said["recomputed"] == pytest.approx(spent / 40, abs=1e-5)


def test_turns_are_fair(yolox_model: Path, clips: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe the lines of all come together, each with the name of its source."""
    assert main(["run", str(yolox_model), *(str(clip) for clip in clips), "--recipe", "yolox"]) == 0
    out, err = capsys.readouterr()
    lines = [(line["source"], line["frame"]) for line in map(json.loads, out.splitlines())]
    turns = [(name, k) for k in range(24) for name, n in (("walk", 24), ("small", 7), ("walk-2", 12)) if k < n]
    assert lines == turns
    assert "together" in err
    assert "43 frames" in err


def test_an_error_in_one_source_does_not_end_the_others(
    map_model: Path, clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], pictures: NDArray[np.uint8]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for k in range(3):
        cv2.imwrite(str(folder / f"{k}.png"), pictures[k])
    (folder / "3.png").write_bytes(b"no picture")
    said, err = run(
        capsys, map_model, tmp_path / "none.mp4", clips[0], folder, "--output", tmp_path / "{name}.npz", code=1
    )
    assert [row["frames"] for row in said["sources"].values()] == [0, 24, 3]
    assert [bool(row["error"]) for row in said["sources"].values()] == [True, False, True]
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "none.mp4" in errors[0]
    assert "3.png: not a picture" in errors[1]
    assert len(errors) == 2
    assert err.count("; the others go on") == 2
    for name, count in (("walk", 24), ("folder", 3)):
        with np.load(tmp_path / f"{name}.npz") as found:
            assert len(found["y"]) == count


def test_when_all_fail_at_once_nothing_was_done(
    map_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(map_model), str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.startswith("error: no such file") for line in err.splitlines() if "go on" not in line] == [True, True]


def test_several_sources_do_not_go_into_one_file(map_model: Path, clips: list[Path], mistake: Mistake) -> None:
    assert "2 sources: try out-{name}.jsonl" in mistake("run", map_model, *clips[:2], "--output", "out.jsonl")
    own = clips[0].parent / "{name}.npy"
    assert "would overwrite what is read" in mistake("run", map_model, clips[0], "--output", own)


def test_names_are_short_and_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "v1.2").mkdir()
    sources = [
        "a/clip.mp4",
        "b/clip.mp4",
        "0",
        "rtsp://me:secret@door:554/cam/1?x=2",
        str(tmp_path / "v1.2"),
        "clip-2.avi",
    ]
    assert names_of(sources) == ["clip", "clip-2", "camera0", "door_cam_1", "v1.2", "clip-2-2"]
    assert names_of(["http://[::1/x", "rtsp://[::1]:554/x"]) == ["source", "1_x"]  # the first is told when opened


def test_what_is_no_address_is_one_line(
    map_model: Path, clips: list[Path], mistake: Mistake, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("run", "bench"):
        assert "http://[::1/x is not an address" in mistake(command, map_model, "http://[::1/x")
    said, err = run(capsys, map_model, "http://[::1/x", clips[1], code=1)
    assert [row["frames"] for row in said["sources"].values()] == [0, 7]
    assert "is not an address: which host it names cannot be told; the others go on" in err


@pytest.fixture
def mixed(tmp_path: Path, pictures: NDArray[np.uint8]) -> Path:
    """A folder of pictures of two sizes: four, three, four."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for k in range(11):
        cv2.imwrite(str(folder / f"{k}.png"), pictures[k, :32, :64] if 4 <= k < 7 else pictures[k])
    return folder


def test_a_stream_goes_on_when_frames_change_their_size(
    yolox_model: Path, mixed: Path, tmp_path: Path, pictures: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.jsonl"
    said, err = run(capsys, yolox_model, mixed, "--recipe", "yolox", "--output", target, "--compare", 1)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert said["size_changes"] == 2
    assert said["bit_identical_frames"] == said["compared_frames"] == 10
    assert err == f"{mixed}: frames are 32x64 from frame 4 on, 64x96 before; starting anew\n"
    assert [line["frame"] for line in lines if line["recomputed"] == 1] == [0, 4, 7]
    model = load(yolox_model)
    for k, line in enumerate(lines):
        frame = pictures[k, :32, :64] if 4 <= k < 7 else pictures[k]
        recipe = RECIPES["yolox"](model.inputs[0], frame.shape[:2], None)
        assert line["result"] == recipe.to_json(
            recipe.decode(model.run(recipe.preprocess(np.ascontiguousarray(frame))))
        )


def test_a_network_of_one_size_takes_them_all(
    map_model: Path, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, _ = run(capsys, map_model, mixed, "--size", "48x48", "--output", tmp_path / "out.npz", "--compare", 1)
    assert said["bit_identical_frames"] == said["compared_frames"] == 10
    with np.load(tmp_path / "out.npz") as found:
        assert found["y"].shape == (11, 1, 1, 48, 48)
        assert np.flatnonzero(found["recomputed"] == 1).tolist() == [0, 4, 7]  # anew, though much looks alike


def test_a_drawn_video_keeps_its_size(
    map_model: Path, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, map_model, mixed, "--output", tmp_path / "out.mp4", "--overlay")
    capture, shapes = cv2.VideoCapture(str(tmp_path / "out.mp4")), []
    while (frame := capture.read()[1]) is not None:
        shapes.append(frame.shape)
    assert shapes == [(64, 96, 3)] * 11


def test_arrays_of_changing_shapes_end_an_npz_with_what_was_there(
    map_model: Path, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, err = run(capsys, map_model, mixed, "--output", tmp_path / "out.npz", code=1)
    assert "error: output y changed its shape" in err
    assert "use .jsonl" in said["error"]
    with np.load(tmp_path / "out.npz") as found:
        assert len(found["y"]) == said["frames"] == 4


def test_a_source_that_fails_in_the_middle_keeps_its_results(
    map_model: Path, tmp_path: Path, pictures: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for k in range(3):
        cv2.imwrite(str(folder / f"{k}.png"), pictures[k])
    (folder / "3.png").write_bytes(b"no picture")
    assert main(["run", str(map_model), str(folder), "--output", str(tmp_path / "out.npz")]) == 1
    out, err = capsys.readouterr()
    assert "frames" in out
    assert err == f"error: {folder / '3.png'}: not a picture that can be read\n"
    with np.load(tmp_path / "out.npz") as found:
        assert len(found["y"]) == 3


def test_a_live_source_and_a_file_share_a_model(
    map_model: Path, clips: list[Path], pictures: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    """The stream ends for good while the file still runs."""
    with Http(cam=motion_jpeg(lambda: iter(pictures), seconds=0.01)) as server:
        said, err = run(
            capsys, map_model, server.url("cam"), clips[0], "--reconnect", 0, "--timeout", 2, "--compare", 0, code=1
        )
    cam, walk = said["sources"].values()
    assert walk["frames"] == 24
    assert walk["error"] is None
    assert 0 < cam["frames"] <= 24 - cam["dropped"]
    assert "the connection broke off" in cam["error"]
    assert "error: " in err


def test_a_camera_that_comes_late_joins_the_others(
    map_model: Path, clips: list[Path], pictures: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sends nothing before the file's results are whole: the file does not wait for it, and it is not forgotten."""
    target, came_late = tmp_path / "walk.jsonl", []

    def late() -> Iterator[NDArray[np.uint8]]:
        end = time.monotonic() + 60
        while time.monotonic() < end and not (target.is_file() and target.read_text().count("\n") == 24):
            time.sleep(0.01)
        came_late.append(target.is_file() and target.read_text().count("\n") == 24)
        yield from pictures[:9]

    with Http(cam=motion_jpeg(late)) as server:
        options = ["--output", tmp_path / "{name}.jsonl", "--reconnect", 0, "--timeout", 50]
        said, err = run(capsys, map_model, server.url("cam"), clips[0], *options, code=1)
    cam, walk = said["sources"].values()
    assert came_late[0]
    assert (walk["frames"], walk["error"]) == (24, None)
    assert 0 < cam["frames"] == Path(cam["output"]).read_text().count("\n")
    assert "the connection broke off" in cam["error"]
    assert "go on" not in err  # no others were left


def test_a_dead_address_is_told_while_the_others_run(
    map_model: Path, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with Http() as server:
        port = server.port
    dead = f"http://127.0.0.1:{port}/x"
    said, err = run(capsys, map_model, dead, clips[1], dead, "--reconnect", 0.7, code=1)
    first, small, second = said["sources"].values()
    assert (small["frames"], small["error"]) == (7, None)
    for row in (first, second):
        assert row["frames"] == 0
        assert "connection refused" in row["error"]
    assert err.count("trying again for 0.7 s") == 2
    assert err.splitlines()[0].startswith(f"{dead}: connection refused; trying again")
    assert [line.startswith("error: ") for line in err.splitlines()[-2:]] == [True, True]


def test_a_source_that_does_not_fit_when_it_comes_ends_alone() -> None:
    def frames() -> Generator[Callable[[], NDArray[Any]]]:
        while True:
            yield lambda: np.zeros((4, 6, 3), np.uint8)

    def unfit(name: str, source: Source) -> Lane:
        raise InputError(f"{name} of {source.shape} does not fit")

    reader = Reader("cam", lambda: Connection(True, None, None, frames()), Patience(0), lambda _note: None)
    coming = Coming(unfit)
    coming.add("cam", reader)
    while not reader.settled:
        reader.wait()
    lanes, failed = coming.arrived()
    assert lanes == []
    assert [str(error) for error in failed] == ["cam of (4, 6) does not fit"]
    assert coming.errors == {"cam": failed[0]}
    assert len(coming) == 0
    assert not any(thread.name == "reader of cam" for thread in threading.enumerate())


def test_the_manuals_pool_of_streams_runs(map_model: Path, pictures: NDArray[np.uint8]) -> None:
    """docs/sources.md, with two files on a web server, a camera that gives up and a page that is not there."""
    manual = (Path(__file__).resolve().parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", manual, re.DOTALL)
    model = reconv.load(map_model)
    recipe = RECIPES["raw"](model.inputs[0], (64, 96), None)
    with Http(
        a=a_file(encoded(pictures, "mp4")),
        b=a_file(encoded(pictures[:9], "mp4")),
        cam=motion_jpeg(lambda: iter(pictures[:4])),
    ) as server:
        names: dict[str, Any] = {
            "reconv": reconv,
            "time": time,
            "start_source": partial(start_source, patience=Patience(0, 2)),
            "model": model,
            "recipe": recipe,
        }
        urls = names["urls"] = [server.url(page) for page in ("cam", "nothing", "a", "b")]
        exec(code, names)  # the manual is ours
    pool: Any = names["pool"]
    of_cam = pool.stats.steps - (24 + 9)
    assert 0 < of_cam <= 4
    assert pool.stats.dense == 3
    assert list(names["errors"]) == urls[:2]
    assert "broke off" in str(names["errors"][urls[0]])
    assert "404" in str(names["errors"][urls[1]])


def test_every_and_limit_count_per_source(
    map_model: Path, clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, _ = run(capsys, map_model, *clips[:2], "--every", 3, "--limit", 4, "--output", tmp_path / "{name}.npz")
    assert [row["frames"] for row in said["sources"].values()] == [4, 3]
    for name, frames in (("walk", [0, 3, 6, 9]), ("small", [0, 3, 6])):
        with np.load(tmp_path / f"{name}.npz") as found:
            assert found["frame"].tolist() == frames


def test_a_live_clip_is_drawn_in_its_own_time(
    map_model: Path,
    pictures: NDArray[np.uint8],
    *,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames that were dropped leave gaps: the video lasts as long as what it shows."""

    def slow(*_: object) -> None:
        time.sleep(0.1)

    with Http(cam=motion_jpeg(lambda: iter(np.concatenate([pictures] * 4)), seconds=0.02)) as server:
        monkeypatch.setattr("reconv.app.tally.Tally.compare", slow)
        target = tmp_path / "out.mp4"
        said, _ = run(capsys, map_model, server.url("cam"), "--output", target, "--reconnect", 0, "--limit", 8)
    assert said["dropped"] > 8
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    times = []
    while capture.read()[0]:
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    assert len(times) == 8
    assert times[-1] - times[0] > 8 * 1000 / 25  # of 25 a second, as FFmpeg takes motion JPEG to be
