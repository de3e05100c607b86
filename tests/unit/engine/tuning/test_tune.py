"""`Model.tune` on a small network: the profile keeps what was asked where it runs, and every end is a clear one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reconv
from reconv.engine.tuning.tune import INTERRUPT
from reconv.errors import InputError
from reconv.recipes.raw import Raw
from tests.unit.small import Array, cnn

FRAMES = 48


class Near:
    """A recipe of arrays: the share of outputs within a tenth of the dense ones."""

    name = "near"

    def feeds(self, frame: Array) -> dict[str, Array]:
        return {"x": frame}

    def decode_brief(self, outputs: Mapping[str, Array]) -> Array:
        return outputs["y"]

    def agreement(self, results: Sequence[Array], dense: Sequence[Array]) -> dict[str, float]:
        return {"near": float(np.mean([np.abs(a - b) < 0.1 for a, b in zip(results, dense, strict=True)]))}

    def drift(self, result: Array, dense: Array) -> float:
        return float(np.square(result - dense).mean())


@pytest.fixture(scope="module")
def model() -> reconv.Model:
    return reconv.load(cnn(24, 32, 1), threads=1)


@pytest.fixture(scope="module")
def clip() -> list[Array]:
    """Noise over a still picture, and a patch that walks."""
    random = np.random.default_rng(5)
    still = random.standard_normal((1, 3, 24, 32)).astype(np.float32)
    frames = [np.asarray(still + random.normal(0, 0.01, still.shape), np.float32) for _ in range(FRAMES)]
    for place, frame in enumerate(frames):
        frame[..., 4:12, place % 24 : place % 24 + 6] = 2.0
    return frames


def test_the_profile_keeps_what_was_asked(model: reconv.Model, clip: list[Array], tmp_path: Path) -> None:
    said: list[str] = []
    found = model.tune(clip, Near(), agreement=0.97, say=said.append)
    assert found.met
    assert found.tuning["profile"].headline >= 0.97
    assert found.tuning["profile"].share <= found.tuning["single"].share < 0.9
    assert found.judged["profile"].headline > 0.9
    assert found.profile.model == model.digest
    assert found.profile.refresh_every == FRAMES // 4
    assert said
    told = json.loads(json.dumps(found.to_json()))
    assert told["asked"] == 0.97
    assert told["judged"]["profile"]["agreement"].keys() == {"near"}
    found.profile.save(tmp_path / "p.json")
    read = json.loads((tmp_path / "p.json").read_text())
    assert read["tuned"]["recipe"] == "near"
    assert read["tuned"]["judged"] == told["judged"]["profile"]
    with model.stream(profile=tmp_path / "p.json") as stream:
        dense = []
        for frame in clip[: 2 * found.profile.refresh_every + 1]:
            stream(frame)
            dense.append(stream.last.dense)
    assert [place for place, each in enumerate(dense) if each] == [0, FRAMES // 4, FRAMES // 2]


def test_what_is_reported_is_what_a_stream_gives(model: reconv.Model, clip: list[Array]) -> None:
    found = model.tune(clip, Near(), agreement=0.95, factors=False, refresh_every=12)
    assert found.factors == ()
    recipe, shares, ours, dense = Near(), [], [], []
    with model.stream(profile=found.profile) as stream:
        for frame in clip:
            ours.append(stream(frame)["y"])
            shares.append(stream.last.recomputed)
            dense.append(model.run(frame)["y"])
    first = [*range(12), *range(24, 36)]
    assert found.tuning["profile"].share == pytest.approx(np.mean([shares[place] for place in first]), abs=1e-9)
    agreed = recipe.agreement([ours[p] for p in first], [dense[p] for p in first])
    assert found.tuning["profile"].agreement == pytest.approx(agreed)


def test_without_refreshing(model: reconv.Model, clip: list[Array]) -> None:
    found = model.tune(clip, Near(), agreement=0.95, refresh_every=None, factors=False)
    assert found.profile.refresh_every is None
    assert found.met
    assert found.judged.keys() == {"profile", "single"}


def test_an_agreement_out_of_reach_is_dense(model: reconv.Model, clip: list[Array]) -> None:
    class Strict(Near):
        def agreement(self, results: Sequence[Array], dense: Sequence[Array]) -> dict[str, float]:
            return {"same": float(np.mean([np.array_equal(a, b) for a, b in zip(results, dense, strict=True)]))}

    found = model.tune(clip, Strict(), agreement=1.0)
    assert not found.met
    assert found.profile.tolerance == 0
    assert found.profile.refresh_every is None
    assert found.judged["profile"].headline == 1.0
    assert "came closest" in found.notes[0]


def test_frames_that_come_one_by_one_give_the_same(model: reconv.Model, clip: list[Array]) -> None:
    whole = model.tune(clip, Near(), agreement=0.97, factors=False)
    coming = model.tune(iter(clip), Near(), agreement=0.97, factors=False, count=len(clip))
    assert coming == whole


def test_a_class_of_recipes_is_made_for_the_frames(model: reconv.Model) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (16, 24, 32, 3)).astype(np.uint8)
    found = model.tune(pictures, Raw, agreement=0.5, factors=False)
    assert found.profile.tuned["recipe"] == "raw"


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), "0.9", True, None])
def test_agreements_that_make_no_sense(model: reconv.Model, clip: list[Array], value: Any) -> None:
    with pytest.raises(InputError, match=r"agreement is .*expected a share above 0 and up to 1"):
        model.tune(clip, Near(), agreement=value)


def test_mistakes_are_told(model: reconv.Model, clip: list[Array]) -> None:
    with pytest.raises(InputError, match=r"reconv.tune\(model, frames, 'yolox'\) takes a name"):
        model.tune(clip, "yolox", agreement=0.9)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="7 frames are too few"):
        model.tune(clip[:7], Near(), agreement=0.9)
    with pytest.raises(InputError, match="refresh_every is 0"):
        model.tune(clip, Near(), agreement=0.9, refresh_every=0)


class Stopping:
    """Says stop after so many frames were asked about."""

    def __init__(self, after: int) -> None:
        self.after, self.asked = after, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self.after


def test_a_stop_gives_the_best_so_far(model: reconv.Model, clip: list[Array]) -> None:
    found = model.tune(clip, Near(), agreement=0.9, stop=Stopping(FRAMES // 2 * 5))
    assert found.stopped == INTERRUPT
    assert found.judged == {}
    assert found.trials == 4
    assert found.tuning["profile"].headline >= 0.9
    with pytest.raises(InputError, match="interrupted before a tolerance was tried"):
        model.tune(clip, Near(), agreement=0.9, stop=Stopping(3))


def test_a_budget_ends_the_search_and_still_judges(
    model: reconv.Model, clip: list[Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock() -> Iterator[float]:
        yield from range(10_000)

    ticks = clock()
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
    found = model.tune(clip, Near(), agreement=0.9, seconds=FRAMES * 2)
    assert found.stopped == "the time was up"
    assert found.judged.keys() == {"profile", "single"}
    assert found.trials == 3
