"""`reconv run` over a sound: windows in, pitches out; and what does not fit is told in one line."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import reconv
from reconv.app import main
from reconv.app.bench import _inputs
from reconv.app.exchange import _samples
from reconv.app.opened import open_recipe
from reconv.recipes.sources import open_source


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Half a second of 220 Hz at 44.1 kHz, two channels."""
    path = tmp_path / "sound.wav"
    tone = np.sin(2 * np.pi * 220 * np.arange(22050) / 44100) * 12000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(np.repeat(tone.astype("<i2"), 2).tobytes())
    return path


def test_pitches_of_a_sound(
    asset: Callable[[str], Path], sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pitch.jsonl"
    command = ["run", str(asset("crepe_tiny")), str(sound), "--recipe", "audio", "--output", str(output), "--json"]
    assert main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert summary["frames"] == len(lines) == 1 + -(-(8000 - 1024) // 160)
    assert summary["agreement"]["pitch@50c"] == 1.0
    assert [line["frame"] for line in lines] == list(range(len(lines)))
    assert all(abs(line["result"][0]["hz"] - 220) < 3 for line in lines[5:30])


def test_measurements_and_samples_are_of_windows(asset: Callable[[str], Path], sound: Path) -> None:
    model = reconv.load(asset("crepe_tiny"))
    source = open_source(str(sound))
    around = open_recipe("audio", model, source.shape, None)
    measured = list(_inputs(source, around, 2, 3))
    assert [inputs["frames"].shape for inputs in measured] == [(1, 1024)] * 3
    taken = _samples(model.graph, str(sound), "audio", None)
    assert {inputs["frames"].shape for inputs in taken} == {(1, 1024)}


def test_what_does_not_fit_is_told(
    asset: Callable[[str], Path], sound: Path, tmp_path: Path, mistake: Callable[..., str]
) -> None:
    crepe = asset("crepe_tiny")
    assert "needs a source of pictures" in mistake(
        "run", crepe, sound, "--recipe", "audio", "--output", tmp_path / "o.mp4"
    )
    assert "fixed length of 1024" in mistake("run", crepe, sound, "--recipe", "audio", "--size", "1x2048", "--json")
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is no sound")
    assert "not a WAV file" in mistake("run", crepe, broken, "--recipe", "audio", "--json")
