"""`reconv tune`, and what takes its profiles: files, reports, mistakes, an interrupt."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import reconv
from reconv.app import main
from reconv.recipes.sources import open_source

cv2 = pytest.importorskip("cv2")
Mistake = Callable[..., str]


@pytest.fixture
def noisy(tmp_path: Path, pictures: NDArray[np.uint8]) -> Path:
    """The walking square with a sensor's noise."""
    noise = np.random.default_rng(2).integers(0, 4, pictures.shape)
    path = tmp_path / "noisy.npy"
    np.save(path, (pictures - noise).astype(np.uint8))
    return path


def tuned(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["tune", *(str(argument) for argument in arguments), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_profile_is_written_that_run_takes(
    yolox_model: Path, noisy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "profile.json"
    said = tuned(capsys, yolox_model, noisy, "--recipe", "yolox", "--agreement", 0.9, "--output", target)
    assert said["met"]
    assert said["measure"] == "f1@0.75"
    assert said["tuning"]["profile"]["agreement"]["f1@0.75"] >= 0.9
    assert said["frames"] == {"tuning": 12, "judged": 12}
    written = json.loads(target.read_text())
    assert written["tolerance"] == said["tolerance"] > 0
    assert written["refresh_every"] == 6
    assert written["tuned"]["asked"] == 0.9
    assert written["tuned"]["judged"] == said["judged"]["profile"]
    assert main(["run", str(yolox_model), str(noisy), "--recipe", "yolox", "--profile", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tolerance"] == said["tolerance"]


def test_run_tunes_first(yolox_model: Path, noisy: Path, capsys: pytest.CaptureFixture[str], mistake: Mistake) -> None:
    run = ["run", str(yolox_model), str(noisy), "--recipe", "yolox", "--agreement", "0.9", "--json"]
    assert main(run) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["tolerance"] > 0
    assert "for f1@0.75 of 0.9: " in err
    assert "leave out --tolerance and --profile" in mistake(*run[:-1], "--tolerance", "0.1")
    assert "leave out --tolerance and --profile" in mistake(*run[:-1], "--profile", "p.json")


def test_the_report_in_words(yolox_model: Path, noisy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["tune", str(yolox_model), str(noisy), "--recipe", "yolox", "--no-factors", "--agreement", "0.9"]
    assert main(call) == 0
    out = capsys.readouterr().out
    for words in ("f1@0.75 of 0.9 asked for", "the profile, chosen on 12 frames", "judged on 12", "nothing written"):
        assert words in out


def test_what_cannot_be_met_is_dense_and_says_so(
    map_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Noise of one grey level: any tolerance lets it pass, and some pixel is always at the threshold."""
    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (64, 64, 3)) + random.integers(0, 2, (24, 64, 64, 3))
    np.save(tmp_path / "noise.npy", frames.astype(np.uint8))
    said = tuned(capsys, map_model, tmp_path / "noise.npy", "--recipe", "raw", "--agreement", 1.0)
    assert not said["met"]
    assert said["tolerance"] == 0
    assert "came closest" in said["notes"][0]
    assert said["judged"]["profile"]["agreement"]["equal"] == 1


def test_a_budget(yolox_model: Path, noisy: Path, mistake: Mistake) -> None:
    assert "the time was up before a tolerance was tried" in mistake(
        "tune", yolox_model, noisy, "--recipe", "yolox", "--agreement", 0.9, "--budget", 0
    )


def test_mistakes(map_model: Path, clip: Path, tmp_path: Path, pictures: NDArray[np.uint8], mistake: Mistake) -> None:
    assert "expected a share above 0" in mistake("tune", map_model, clip, "--agreement", "98")
    assert "Missing option '--agreement'" in mistake("tune", map_model, clip)
    np.save(tmp_path / "short.npy", pictures[:7])
    assert "7 frames are too few to tune on" in mistake("tune", map_model, tmp_path / "short.npy", "--agreement", "0.9")
    assert "no such file" in mistake("tune", map_model, tmp_path / "none.mp4", "--agreement", "0.9")
    assert "no recipe is called" in mistake("tune", map_model, clip, "--agreement", "0.9", "--recipe", "yolo")
    assert "would overwrite" in mistake("tune", map_model, clip, "--agreement", "0.9", "--output", map_model)
    folder = tmp_path / "two sizes"
    folder.mkdir()
    for k, frame in enumerate(pictures):
        cv2.imwrite(str(folder / f"{k}.png"), frame[: 32 if k == 5 else None])
    said = mistake("tune", map_model, folder, "--agreement", "0.9")
    assert "made for frames of uint8 (64, 96, 3), got uint8 (32, 96, 3): bring all frames to one size" in said
    text = tmp_path / "clip.txt"
    text.write_text("no pictures")
    assert mistake("tune", map_model, text, "--agreement", "0.9")


def test_an_interrupt_leaves_the_best_so_far(
    yolox_model: Path,
    noisy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pressed(*given: Any, say: Callable[[str], None], **more: Any) -> Any:
        def heard(line: str) -> None:
            say(line)
            if line.startswith("one tolerance"):
                signal.raise_signal(signal.SIGINT)

        return reconv.tune(*given, say=heard, **more)

    monkeypatch.setattr("reconv.app.tune.tuned", pressed)
    target = tmp_path / "p.json"
    call = ["tune", str(yolox_model), str(noisy), "--recipe", "yolox", "--agreement", "0.9", "-o", str(target)]
    assert main(call) == 130
    out, err = capsys.readouterr()
    assert "interrupted: this is the best so far" in out
    assert "not judged on other frames" in out
    assert "Traceback" not in err
    assert reconv.load(yolox_model).stream(profile=target).tolerance > 0


def test_bench_takes_a_profile(  # noqa: PLR0917  # fixtures
    yolox_model: Path,
    noisy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mistake: Mistake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reconv.app.bench.ENTRANTS", ("reconv-stream", "onnxruntime"))
    profile = tmp_path / "p.json"
    reconv.Profile(0.2, refresh_every=4).save(profile)
    call = ["bench", str(yolox_model), str(noisy), "--recipe", "yolox", "--frames", "9", "--threads", "1"]
    assert main([*call, "--profile", str(profile), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["profile"], said["tolerance"]) == (str(profile), 0.2)
    row = next(row for row in said["runs"][0]["rows"] if row["name"] == "reconv-stream")
    assert row["share"] >= 2 / 8  # two of the eight steps are dense
    assert "one too many" in mistake(*call, "--profile", profile, "--tolerance", 0.1)


def test_the_function_takes_names_paths_and_frames(yolox_model: Path, noisy: Path) -> None:
    by_name = reconv.tune(yolox_model, noisy, "yolox", agreement=0.9, factors=False)
    frames = list(np.load(noisy))
    model = reconv.load(yolox_model)
    for given in (frames, iter(frames), open_source(str(noisy))):
        again = reconv.tune(model, given, "yolox", agreement=0.9, factors=False)
        assert again.profile == by_name.profile
    with pytest.raises(reconv.InputError, match="no recipe is called"):
        reconv.tune(model, frames, "yolo", agreement=0.9)
