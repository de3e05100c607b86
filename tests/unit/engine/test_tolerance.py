"""Tolerance profiles: files, weights, and what makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconv.engine.tolerance import FORMAT, MapProfile, Profile, check_tolerance, read_profile
from reconv.errors import ProfileError


def test_file_round_trip(tmp_path: Path) -> None:
    maps = {
        "a": MapProfile(factor=0.5),
        "b": MapProfile(deviation=(1.0, 2.0)),
        "c": MapProfile(2.0, weights=(0.0, 1.5)),
    }
    profile = Profile(0.15, maps, model="ab12", refresh_every=64, tuned={"recipe": "yolox", "asked": 0.98})
    profile.save(tmp_path / "p.json")
    assert read_profile(tmp_path / "p.json") == profile
    assert read_profile(json.loads((tmp_path / "p.json").read_text())) == profile
    assert read_profile(profile) is profile


def test_weights() -> None:
    measured = np.array([1, 2], np.float32)
    np.testing.assert_allclose(MapProfile().cutoff_weights(measured), [1 / 2, 1 / 8])
    np.testing.assert_allclose(MapProfile(factor=0.5).cutoff_weights(measured), [4 / 2, 4 / 8])
    np.testing.assert_allclose(MapProfile(deviation=(2.0, 2.0)).cutoff_weights(None), [1 / 8, 1 / 8])
    np.testing.assert_allclose(MapProfile(weights=(3.0, 0.0), factor=2).cutoff_weights(None), [3 / 4, 0])


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), 1e39, "0.1", None, True])
def test_tolerances_that_make_no_sense(value: Any) -> None:
    with pytest.raises(ProfileError, match="expected a number from 0"):
        check_tolerance(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not a tolerance profile"),
        ('{"format": "reconv profile 99"}', 'expected "format": "reconv profile 1"'),
        (json.dumps({"format": FORMAT, "tolerance": -1}), "expected a number from 0"),
        (json.dumps({"format": FORMAT, "tolerence": 1}), "unknown entries: tolerence"),
        (json.dumps({"format": FORMAT, "maps": []}), '"maps" is not an object'),
        (json.dumps({"format": FORMAT, "tuned": 3}), '"tuned" is not an object'),
        (json.dumps({"format": FORMAT, "refresh_every": 0}), "refresh_every is 0"),
        (json.dumps({"format": FORMAT, "refresh_every": 2.5}), "refresh_every is 2.5"),
        (json.dumps({"format": FORMAT, "maps": {"a": 3}}), "map 'a'"),
        (json.dumps({"format": FORMAT, "maps": {"a": {"factor": 0}}}), "map 'a': factor is 0.0"),
        (json.dumps({"format": FORMAT, "maps": {"a": {"weights": [-1]}}}), "map 'a': a weight"),
        (json.dumps({"format": FORMAT, "maps": {"a": {"deviation": [0]}}}), "map 'a': a deviation"),
        (json.dumps({"format": FORMAT, "maps": {"a": {"sigma": 1}}}), "map 'a': unknown entries: sigma"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(ProfileError, match=message):
        read_profile(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        read_profile(tmp_path / "none.json")
