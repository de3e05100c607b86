"""`reconv run --audit-every --target --refresh-every`: the stream is told, and the summary says what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reconv.app import main

FRAMES = 150


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Frames (3, 24, 32) whose left half moves, by more than a tolerance of 0.3 in about half of its pixels."""
    random = np.random.default_rng(0)
    frames = np.repeat(random.standard_normal((1, 3, 24, 32)), FRAMES, axis=0)
    frames[..., :16] += random.normal(0, 0.3, (FRAMES, 3, 24, 16))
    path = tmp_path / "frames.npy"
    np.save(path, frames.astype(np.float32))
    return path


def test_audits_are_made_and_told(map_model: Path, arrays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(map_model), str(arrays), "--tolerance", "0.3", "--audit-every", "5", "--target", "0.95"]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    audit = said["audit"]
    assert audit["samples"] >= 2
    assert 0 < audit["extra_work"] <= 0.05
    assert 0.9 < audit["agreement"] < 1
    assert audit["target"] == 0.95
    assert audit["tolerance"] == said["tolerance"]
    assert main(words) == 0
    assert f"{audit['samples']}: agreement 0.9" in " ".join(capsys.readouterr().out.split())


def test_without_it_nothing_is_told(map_model: Path, arrays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(map_model), str(arrays), "--tolerance", "0.3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit"] is None


def test_refreshes(map_model: Path, arrays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.jsonl"
    words = ["--tolerance", "3", "--refresh-every", "10", "--output", str(target)]
    assert main(["run", str(map_model), str(arrays), *words, "--json"]) == 0
    capsys.readouterr()
    shares = [json.loads(line)["recomputed"] for line in target.read_text().splitlines()]
    assert [index for index, share in enumerate(shares) if share == 1] == list(range(0, FRAMES, 10))


def test_audits_go_on_when_frames_change_their_size(
    map_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What audits ask is the recipe of the frames as they are now: a map of another size has another one."""
    cv2 = pytest.importorskip("cv2")
    folder, random = tmp_path / "mixed", np.random.default_rng(0)
    folder.mkdir()
    for index in range(130):
        side = 32 if index < 30 else 64
        picture = np.full((side, side, 3), 90, np.uint8)
        picture[: side // 2] += random.integers(0, 12, (side // 2, side, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index:03}.png"), picture)
    words = ["--recipe", "dbnet", "--tolerance", "0.1", "--audit-every", "5", "--compare", "0", "--json"]
    assert main(["run", str(map_model), str(folder), *words]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["frames"], said["size_changes"]) == (130, 1)
    assert said["audit"]["samples"] > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--audit-every", "5"], "at tolerance 0 is exact"),
        (
            ["--audit-every", "5", "--refresh-every", "1", "--tolerance", "0.1"],
            "at refresh_every 1 every step is dense",
        ),
        (["--dense", "fastest"], "dense is 'fastest', expected one of reconv, measured"),
        (["--audit-every", "5", "--tolerance", "0.1", "--target", "1"], "target is 1.0"),
    ],
)
def test_mistakes(words: list[str], told: str, map_model: Path, arrays: Path, mistake: Callable[..., str]) -> None:
    assert told in mistake("run", map_model, arrays, *words)
