"""The recipe of sounds: windows, what the known networks take and give, and their pitches on sounds of known pitch."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import reconv
from reconv.app.opened import open_recipe
from reconv.errors import InputError
from reconv.graph import TensorInfo
from reconv.recipes import Recipe
from reconv.recipes.audio import BASIC_PITCH, CREPE, OTHER, SWIFT_F0, Audio, family_of
from reconv.recipes.pitch import BINS, CENTS, Pitch, of_bins, of_pair, pitch_agreement, pitch_drift
from reconv.recipes.sources import open_source

Asset = Callable[[str], Path]
FLOAT = np.dtype(np.float32)


def _info(*shape: int | str | None, name: str = "x") -> TensorInfo:
    return TensorInfo(name, FLOAT, shape)


def write_wav(path: Path, samples: NDArray[Any], rate: int) -> Path:
    data = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data))
    path.write_bytes(b"RIFF" + struct.pack("<I", len(head) + len(data)) + head + data)
    return path


def tone(hz: float, rate: int, seconds: float) -> NDArray[Any]:
    """A note with overtones, as of a string."""
    phase = 2 * np.pi * hz * np.arange(int(rate * seconds)) / rate
    return np.asarray(0.4 * sum(np.sin(k * phase) / k**2 for k in range(1, 6)))


def _windows(recipe: Recipe, path: Path) -> list[NDArray[Any]]:
    return [np.asarray(window) for window in recipe.framed(open_source(str(path))).frames()]


def _cents(hz: float, of: float) -> float:
    return abs(1200 * float(np.log2(hz / of)))


# --- the recipe by itself


def test_known_networks_are_known_by_what_they_take_and_give() -> None:
    swift = (_info(1, "samples"), _info(name="fmin"), _info(name="fmax"))
    assert family_of(swift, (_info(1, "n"), _info(1, "n"))) is SWIFT_F0
    assert family_of((_info("batch", 1024),), (_info("batch", BINS),)) is CREPE
    assert family_of((_info("batch", 1024),), (_info("batch", 10),)) is OTHER
    assert family_of((_info("n", 43844, 1),), (_info("n", 172, 88),) * 3) is BASIC_PITCH
    assert family_of((_info(1, "samples"),), (_info(1, "n"), _info(1, "n"))) is OTHER


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64,), (64,)),
        (("samples",), (64,)),
        (("batch", 64), (1, 64)),
        ((1, None), (1, 64)),
        (("batch", 64, 1), (1, 64, 1)),
        ((1, 1, "samples"), (1, 1, 64)),
    ],
)
def test_a_window_goes_where_the_model_takes_samples(
    shape: tuple[int | str | None, ...], expected: tuple[int, ...]
) -> None:
    recipe = Audio(_info(*shape), size=(1, 64))
    window = np.linspace(-1, 1, 64, dtype=np.float32)
    x = recipe.inputs(window)
    assert list(x) == ["x"]
    assert x["x"].shape == expected
    np.testing.assert_array_equal(x["x"].ravel(), window)


def test_the_range_of_pitches_goes_beside_the_samples() -> None:
    recipe = Audio(_info(1, "samples", name="audio"), family=SWIFT_F0)
    inputs = recipe.inputs(np.zeros(8192, np.float32))
    assert {name: array.shape for name, array in inputs.items()} == {"audio": (1, 8192), "fmin": (), "fmax": ()}
    assert next(iter(inputs)) == "audio"  # what a motion gate looks at
    recipe.others = {"fmin": np.array(60, np.float32)}
    assert float(recipe.inputs(np.zeros(8192, np.float32))["fmin"]) == 60


def test_crepes_windows_have_mean_0_and_deviation_1() -> None:
    recipe = Audio(_info("batch", 1024), family=CREPE)
    assert (recipe.window, recipe.hop, recipe.rate) == (1024, 160, 16000)
    window = np.random.default_rng(0).normal(3, 0.01, 1024).astype(np.float32)
    x = recipe.preprocess(window)
    assert abs(float(x.mean())) < 1e-4
    assert float(x.std(ddof=1)) == pytest.approx(1, abs=1e-4)
    assert not recipe.preprocess(np.zeros(1024, np.float32)).any()


@pytest.mark.parametrize(
    ("shape", "given", "words"),
    [
        ((1, 3, 64, 64), {}, "needs an input of samples"),
        ((1, 3, 64), {}, "needs an input of samples"),
        ((1, "n"), {}, "give --size 1xSAMPLES"),
        ((1, 64), {"size": (1, 65)}, "fixed length of 64, --size asks for 65"),
        ((1, 64), {"size": (2, 32)}, "as --size 1xSAMPLES, got 2x32"),
        ((1, 64), {"hop": 65}, "a hop from 1 to the window's 64 samples"),
        ((1, 64), {"rate": -1}, "a rate from 1 up"),
        ((1, 64), {"frame_shape": (480, 640)}, "takes sounds, the source is made of pictures"),
    ],
)
def test_what_does_not_fit_is_told(shape: tuple[Any, ...], given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Audio(_info(*shape), **given)


def test_other_types_and_windows_are_refused() -> None:
    with pytest.raises(InputError, match="of floats"):
        Audio(TensorInfo("x", np.dtype(np.int64), (1, 64)))
    recipe = Audio(TensorInfo("x", np.dtype(np.float16), (1, 64)))
    assert recipe.inputs(np.zeros(64, np.float32))["x"].dtype == np.float16
    with pytest.raises(InputError, match=r"windows of float \(64,\), got float32 \(65,\)"):
        recipe.preprocess(np.zeros(65, np.float32))
    with pytest.raises(InputError, match="got int16"):
        recipe.preprocess(np.zeros(64, np.int16))


def test_outputs_of_another_network_are_refused() -> None:
    crepe = Audio(_info("batch", 1024), family=CREPE)
    with pytest.raises(InputError, match=r"expects one output \(1, 360\), the model gives y \(1, 10\)"):
        crepe.decode({"y": np.zeros((1, 10), np.float32)})
    swift = Audio(_info(1, "n"), family=SWIFT_F0)
    with pytest.raises(InputError, match="two outputs"):
        swift.decode({"pitch": np.zeros((1, 3)), "confidence": np.zeros((1, 4))})


# --- pitch


def test_the_pitch_is_the_mean_of_the_bins_around_the_greatest() -> None:
    activations = np.full((1, BINS), 0.001)
    activations[0, 99:102] = 0.4, 0.8, 0.6
    near = slice(96, 105)
    cents = float((activations[0, near] * CENTS[near]).sum() / activations[0, near].sum())
    found = of_bins(activations, 0.5)
    assert found.hz[0] == pytest.approx(10 * 2 ** (cents / 1200))
    assert CENTS[100] < cents < CENTS[101]
    assert found.confidence[0] == 0.8
    assert found.voiced[0]
    assert not of_bins(activations / 2, 0.5).voiced[0]


def test_the_first_and_the_last_bin_have_pitches_too() -> None:
    activations = np.zeros((2, BINS))
    activations[0, 0] = activations[1, -1] = 1
    found = of_bins(activations, 0.5)
    assert found.hz == pytest.approx([31.70, 2005.5], rel=1e-3)


def test_no_numbers_are_no_pitch() -> None:
    found = of_bins(np.full((1, BINS), np.nan), 0.5)
    assert not found.voiced.any()
    pair = of_pair(np.array([[np.nan, np.inf, 0.0, 220.0]]), np.array([[1.0, 1.0, 1.0, np.nan]]), 0.9)
    assert not pair.voiced.any()
    assert np.isfinite(pair.hz).all()


def _pitch(*hz: float) -> Pitch:
    return Pitch(np.array(hz), np.ones(len(hz)), np.array(hz) > 0)


def test_agreement_is_within_50_cents_and_equally_voiced() -> None:
    dense = [_pitch(220, 0), _pitch(440, 0)]
    near = [_pitch(220 * 2 ** (49 / 1200), 0), _pitch(440 * 2 ** (-51 / 1200), 100)]
    assert pitch_agreement(dense, dense) == {"pitch@50c": 1.0, "voicing": 1.0}
    assert pitch_agreement(near, dense) == {"pitch@50c": 0.5, "voicing": 0.75}
    assert pitch_agreement([], []) == {"pitch@50c": 1.0, "voicing": 1.0}


def test_drift_grows_with_what_is_apart() -> None:
    dense = _pitch(220, 0)
    drifts = [pitch_drift(_pitch(220 * 2 ** (cents / 1200), 0), dense) for cents in (0, 10, 25, 50, 300)]
    assert drifts == pytest.approx([0, 0.02, 0.125, 0.5, 0.5])
    assert pitch_drift(_pitch(0, 0), dense) == 0.5
    unsure = Pitch(dense.hz, dense.confidence - 0.25, dense.voiced)
    assert pitch_drift(unsure, dense) == pytest.approx(0.25)


# --- sounds


def test_windows_of_a_sound_at_another_rate(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(220, 44100, 0.5), 44100)
    recipe = Audio(_info("batch", 1024), family=CREPE)
    source = recipe.framed(open_source(str(path)))
    found = _windows(recipe, path)
    assert source.count == len(found) == 1 + -(-(8000 - 1024) // 160)
    assert source.rate == 100
    expected = tone(220, 16000, 0.5)
    for index in (10, 30):
        np.testing.assert_allclose(found[index], expected[index * 160 :][:1024], rtol=0, atol=2e-4)


def test_arrays_are_windows_already(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 64), np.float32))
    source = open_source(str(tmp_path / "a.npy"))
    assert Audio(_info(1, 64)).framed(source) is source


def test_an_input_that_nobody_knows_is_named(asset: Asset) -> None:
    model = reconv.load(asset("silero_vad"))
    recipe = open_recipe("audio", model, None, (1, 576))
    with pytest.raises(InputError, match="input 'state' is missing"):
        model.run(recipe.inputs(np.zeros(576, np.float32)))


@pytest.mark.parametrize("name", ["crepe_tiny", "swift_f0"])
def test_notes_are_heard_as_they_are(asset: Asset, tmp_path: Path, name: str) -> None:
    model = reconv.load(asset(name))
    notes = (110.0, 220.0, 329.63, 440.0)
    silence = np.zeros(44100)
    for hz in notes:
        sound = np.concatenate([tone(hz, 44100, 1.0), silence])
        recipe = open_recipe("audio", model, None, None)
        windows = _windows(recipe, write_wav(tmp_path / "a.wav", sound, 44100))
        found = [recipe.decode(model.run(recipe.inputs(w))) for w in windows[:: 20 if "crepe" in name else 3]]
        within = found[1 : len(found) // 3]
        assert all(p.voiced.all() and all(_cents(h, hz) < 25 for h in p.hz) for p in within), hz
        assert not found[-1].voiced.any()


@pytest.mark.parametrize("name", ["crepe_tiny", "swift_f0"])
def test_silence_costs_nothing_and_results_are_exact(asset: Asset, tmp_path: Path, name: str) -> None:
    sound = np.concatenate([tone(220, 16000, 0.6), np.zeros(20000), tone(330, 16000, 0.3)])
    model = reconv.load(asset(name), threads=2)
    recipe = open_recipe("audio", model, None, None)
    windows = _windows(recipe, write_wav(tmp_path / "a.wav", sound, 16000))
    shares, silent = [], []
    with model.stream(never_slower=False) as stream:
        for window in windows:
            inputs = recipe.inputs(window)
            outputs, dense = stream(inputs), model.run(inputs)
            assert all(outputs[key].tobytes() == dense[key].tobytes() for key in dense)
            shares.append(stream.last.recomputed)
            silent.append(not np.any(window))
    again = [share for share, now, before in zip(shares[1:], silent[1:], silent, strict=False) if now and before]
    assert again
    assert max(again) == 0
    assert max(shares[1:]) > 0.9, "overlapping windows lie at other places"
