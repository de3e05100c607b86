"""Ctrl-C on a running `reconv run`, and what a terminal sees that a pipe does not. Real processes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
Start = Callable[..., subprocess.Popen[str]]
PATIENCE_SECONDS = 60


def _wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def _stop(process: subprocess.Popen[str]) -> str:
    """Ctrl-C, then everything on stdout."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert "Traceback" not in (err or "")
    return out


def _bytes_in(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def test_json_lines_are_whole_and_the_summary_is_printed(
    start: Start, yolox_model: Path, endless: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    process = start("run", yolox_model, endless, "--recipe", "yolox", "--output", target, "--json")
    _wait(lambda: _bytes_in(tmp_path, "out.jsonl") > 1000, process)
    said = json.loads(_stop(process))
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert said["stopped"] is True
    assert said["frames"] == len(lines) > 1
    assert [line["frame"] for line in lines] == list(range(len(lines)))


def test_an_npz_is_whole(start: Start, map_model: Path, endless: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    process = start("run", map_model, endless, "--output", target, "--json")
    _wait(lambda: _bytes_in(tmp_path, ".reconv-*/*") > 100_000, process)
    said = json.loads(_stop(process))
    with np.load(target) as found:
        assert len(found["y"]) == len(found["frame"]) == said["frames"]
    assert list(tmp_path.glob(".reconv-*")) == []


def test_a_video_can_be_played(start: Start, map_model: Path, endless: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    process = start("run", map_model, endless, "--output", target)
    _wait(lambda: _bytes_in(tmp_path, "out.mp4") > 0, process)
    time.sleep(0.3)
    out = _stop(process)
    assert "(stopped)" in out
    capture, count = cv2.VideoCapture(str(target)), 0
    while capture.read()[0]:
        count += 1
    assert f"frames {count} (stopped)" in " ".join(out.split())


def test_a_terminal_sees_progress(start: Start, map_model: Path, endless: Path) -> None:
    ours, theirs = pty.openpty()
    process = start("run", map_model, endless, stderr=theirs)
    os.close(theirs)
    seen, stopped, end = b"", False, time.monotonic() + PATIENCE_SECONDS
    with suppress(OSError):  # that is how a terminal says that its last writer has gone
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.5)[0]:
                seen += os.read(ours, 65536)
            if b"frames/s" in seen and not stopped:
                process.send_signal(signal.SIGINT)
                stopped = True
    os.close(ours)
    assert process.wait(PATIENCE_SECONDS) == 130
    assert b"frames/s" in seen
    assert b"recomputed" in seen
