"""`reconv run` on streams: what it says of one that dies, returns or never comes, and Ctrl-C while it waits."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.app import main
from tests.unit.recipes.servers import Http, Rtsp, motion_jpeg, silence

Start = Callable[..., subprocess.Popen[str]]
Mistake = Callable[..., str]
PATIENCE_SECONDS = 60


def test_a_stream_that_never_comes_is_one_line(map_model: Path, mistake: Mistake) -> None:
    with Http() as server:
        assert "404 Not Found" in mistake("run", map_model, server.url("cam"))
        port = server.port
    for url in (f"http://127.0.0.1:{port}/cam", f"rtsp://127.0.0.1:{port}/cam"):
        assert "connection refused" in mistake("run", map_model, url, "--reconnect", 0)
    assert "expected seconds" in mistake("run", map_model, url, "--reconnect", -1)
    assert "expected seconds" in mistake("run", map_model, url, "--timeout", 0)


def test_results_go_on_after_a_stream_returned(
    map_model: Path, pictures: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.jsonl"
    with Rtsp(pictures) as server:

        def cut_and_mend() -> None:
            end = time.monotonic() + PATIENCE_SECONDS
            while time.monotonic() < end and not (target.is_file() and target.read_text().count("\n") > 4):
                time.sleep(0.01)
            server.stop()
            time.sleep(0.3)
            server.start()

        thread = threading.Thread(target=cut_and_mend)
        thread.start()
        options = ["--output", str(target), "--limit", "30", "--timeout", "2", "--compare", "0", "--json"]
        assert main(["run", str(map_model), server.url, *options]) == 0
        thread.join()
    out, err = capsys.readouterr()
    said = json.loads(out)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert said["frames"] == len(lines) == 30
    assert (said["reconnects"], said["size_changes"], said["error"]) == (1, 0, None)
    assert [line["recomputed"] == 1 for line in lines].count(True) == 1  # the state was kept
    numbers = [line["frame"] for line in lines]
    assert numbers == sorted(set(numbers))
    assert err.count("\n") == 2
    assert "trying again for 30 s" in err
    assert "is back after" in err


def test_a_stream_that_dies_for_good_keeps_its_results(
    map_model: Path, pictures: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.npz"
    with Http(cam=motion_jpeg(lambda: iter(pictures))) as server:
        options = ["--output", str(target), "--reconnect", "0", "--timeout", "2"]
        assert main(["run", str(map_model), server.url("cam"), *options]) == 1
    out, err = capsys.readouterr()
    with np.load(target) as found:
        assert len(found["y"]) > 4
        assert f"frames      {len(found['y'])}" in out
    assert err == f"error: {server.url('cam')}: the connection broke off\n"


def test_ctrl_c_while_a_stream_is_silent_and_a_file_runs_on(
    start: Start, map_model: Path, pictures: NDArray[np.uint8], endless: Path, tmp_path: Path
) -> None:
    def stuck() -> Iterator[NDArray[np.uint8]]:
        yield from pictures[:6]
        time.sleep(PATIENCE_SECONDS)

    def lines(name: str) -> int:
        target = tmp_path / f"{name}.jsonl"
        return target.read_text().count("\n") if target.is_file() else 0

    with Http(cam=motion_jpeg(stuck)) as server:
        options = ["--output", tmp_path / "{name}.jsonl", "--json", "--timeout", 50]
        process = start("run", map_model, server.url("cam"), endless, *options)
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end and not (lines("127.0.0.1_cam") > 1 and lines("endless") > 20):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert time.monotonic() - sent < 20
    assert err == ""
    said = json.loads(out)
    assert said["stopped"] is True
    for name, row in said["sources"].items():
        assert row["frames"] == lines(name) > 1
        assert row["error"] is None


def test_ctrl_c_while_a_stream_has_yet_to_come_and_a_file_has_run(
    start: Start, map_model: Path, clip: Path, tmp_path: Path
) -> None:
    """The file's results are whole although the camera in front of it has said nothing."""
    target = tmp_path / "clip.jsonl"
    with Http(cam=silence) as server:
        options = ["--output", tmp_path / "{name}.jsonl", "--json", "--timeout", 50]
        process = start("run", map_model, server.url("cam"), clip, *options)
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end and not (target.is_file() and target.read_text().count("\n") == 24):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert time.monotonic() - sent < 20
    assert err == ""
    said = json.loads(out)
    assert said["stopped"] is True
    assert [(row["frames"], row["error"]) for row in said["sources"].values()] == [(0, None), (24, None)]


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_while_streams_are_waited_for(start: Start, map_model: Path, count: int) -> None:
    with Http() as server:
        url = server.url("cam")
    process = start("run", map_model, *[url] * count, "--reconnect", 50)
    assert process.stderr is not None
    for _ in range(count):
        assert "connection refused; trying again for 50 s" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_a_picture_of_the_newest_frame_is_what_a_slow_network_sees(
    map_model: Path, pictures: NDArray[np.uint8], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary says how many it did not."""
    monkeypatch.setattr("reconv.app.tally.Tally.compare", lambda *_: time.sleep(0.15))
    with Http(cam=motion_jpeg(lambda: itertools.cycle(pictures), seconds=0.02)) as server:
        assert main(["run", str(map_model), server.url("cam"), "--limit", "5"]) == 0
    out, err = capsys.readouterr()
    assert "came too fast and were dropped" in out
    assert err == ""
