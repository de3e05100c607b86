"""A clip measured: rows beside the best rival, baselines at a share, and agreement that sees a wrong answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from reconv.errors import InputError
from reconv.measure import Clip, Contestant, Pace, watch
from tests.contract.tiny_model import frame, save_tiny_model

QUICK = Pace(warmup_frames=1, turn_frames=3, settle_seconds=0)


def agree(results: Sequence[float], dense: Sequence[float]) -> dict[str, float]:
    return {"equal": float(np.mean([abs(a - b) < 1e-4 for a, b in zip(results, dense, strict=True)]))}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    model = str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))
    contestants = [
        Contestant("dense", "reconv", model, 1),
        Contestant("stream", "reconv-stream", model, 1, tolerance=0.0),
        Contestant("careless", "reconv-stream", model, 1, tolerance=100.0),
        Contestant("rival", "onnxruntime", model, 1),
    ]
    frames = ({"x": frame(index)} for index in range(9))
    return watch(contestants, frames, lambda outputs: float(outputs["y"].sum()), "rival", QUICK)


def test_rows_have_time_share_and_agreement(clip: Clip) -> None:
    rows = {row.name: row for row in clip.rows(agree)}
    assert clip.best == "rival"
    assert rows["rival"].over_best == 1
    assert rows["dense"].share == 1
    assert 0 < rows["stream"].share < 1
    assert rows["stream"].agreement == {"equal": 1.0}
    error = rows["stream"].error_of_frozen
    assert error is not None
    assert error < 1e-4
    assert all(row.mean_ms > 0 for row in rows.values())


def test_a_frozen_answer_is_seen(clip: Clip) -> None:
    careless = {row.name: row for row in clip.rows(agree)}["careless"]
    assert careless.share == 0
    assert careless.agreement == {"equal": 0.0}
    assert careless.error_of_frozen == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["hold", "gate"])
def test_baselines_hold_dense_answers(clip: Clip, name: str) -> None:
    every, few = clip.baseline(name, 1.0, agree), clip.baseline(name, 0.25, agree)
    assert every.share == 1
    assert every.agreement == {"equal": 1.0}
    assert few.share < 0.5
    assert few.agreement["equal"] < 0.75
    assert few.over_best == few.share
    assert not few.measured


def test_reference_and_rival_have_to_take_part() -> None:
    with pytest.raises(InputError, match="reference 'other' is not a contestant"):
        watch([Contestant("a", "reconv", "m.onnx", 1)], [], dict, "other")
    alone = Clip({"a": Contestant("a", "reconv", "m.onnx", 1)}, "a", {}, {}, {}, [])
    with pytest.raises(InputError, match="no rival took part"):
        _ = alone.best
