"""Metrics: what they give for right and for wrong outputs, and which fits what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reconv.errors import InputError
from reconv.optimize.limits import Figures, Limits, evidence, excess
from reconv.optimize.metric import Judge, output_error
from reconv.optimize.samples import Samples, open_samples
from tests.unit.optimize.nets import classifier, pictures

Array = np.ndarray[Any, Any]


def samples(labels: list[int] | None = None) -> Samples:
    return open_samples(pictures(4), classifier(), labels=labels)


def outputs(*best: int) -> list[dict[str, Array]]:
    return [{"y": np.eye(4, dtype=np.float32)[[i]]} for i in best]


def test_top1_with_labels() -> None:
    judge = Judge(samples([0, 1, 2, 3]), outputs(0, 1, 2, 0))
    assert (judge.name, judge.of_original) == ("top1", 0.75)
    worse = judge(outputs(0, 1, 0, 0))
    assert (worse.value, worse.loss) == (0.5, 0.25)
    better = judge(outputs(0, 1, 2, 3))
    assert (better.value, better.loss) == (1.0, -0.25)


def test_agreement_with_the_original() -> None:
    judge = Judge(samples(), outputs(3, 3, 1, 0))
    assert (judge.name, judge.of_original) == ("top1_agreement", 1.0)
    assert judge(outputs(3, 3, 1, 1)).loss == 0.25
    assert judge(outputs(3, 3, 1, 0)).error == 0.0
    assert judge.some(0.5)(outputs(3, 1)).loss == 0.0


def test_a_function_gets_all_outputs_and_labels_or_the_originals() -> None:
    def far(ours: list[Any], expected: list[Any]) -> float:
        return -float(sum(np.abs(a["y"] - b["y"]).sum() for a, b in zip(ours, expected, strict=True)))

    judge = Judge(samples(), outputs(0, 0, 0, 0), far)
    assert (judge.name, judge.of_original) == ("far", 0.0)
    assert judge(outputs(0, 0, 0, 1)).loss == 2.0
    seen: list[Any] = []

    def labels(ours: list[Any], expected: list[Any]) -> float:
        seen.append(expected)
        return float(len(ours))

    Judge(samples([3, 2, 1, 0]), outputs(0, 0, 0, 0), labels)
    assert seen == [[3, 2, 1, 0]]


def test_what_is_no_number_loses_everything() -> None:
    judge = Judge(samples(), outputs(0, 1, 2, 3))
    broken = outputs(0, 1, 2, 3)
    broken[1]["y"][0, 0] = np.nan
    found = judge(broken)
    assert not found.finite
    assert found.loss == float("inf")
    assert output_error({"y": np.zeros(3, np.float32)}, {"y": np.zeros(4, np.float32)}) == float("inf")


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="no metric is called 'luck'"):
        Judge(samples(), outputs(0, 1, 2, 3), "luck")
    with pytest.raises(InputError, match="needs labels"):
        Judge(samples(), outputs(0, 1, 2, 3), "top1")
    with pytest.raises(InputError, match="a label is 7, but the model's output has the classes 0 to 3"):
        Judge(samples([0, 1, 2, 7]), outputs(0, 1, 2, 3))
    with pytest.raises(InputError, match="top-1 needs an output"):
        Judge(samples(), [{"y": np.zeros((1, 4, 2, 2), np.float32)}] * 4, "top1_agreement")
    with pytest.raises(InputError, match="the metric bad failed: ValueError: no"):
        Judge(samples(), outputs(0, 1, 2, 3), bad)
    with pytest.raises(InputError, match="failed: KeyError: 'scores'"):
        Judge(samples(), outputs(0, 1, 2, 3), lambda ours, _: ours[0]["scores"])
    with pytest.raises(InputError, match="gives nan"):
        Judge(samples(), outputs(0, 1, 2, 3), lambda *_: float("nan"))


def bad(ours: list[Any], expected: list[Any]) -> float:
    raise ValueError("no")


def test_evidence_says_by_how_much_a_limit_is_missed() -> None:
    limits = Limits(max_degradation=0.01, max_size_bytes=1000, max_latency_ms=2.0, max_memory_bytes=10)
    found = {e.limit: e for e in evidence(limits, Figures(0.01, 1500, 1.9, None), {"max_size_bytes": "the file"})}
    assert [found[name].met for name in limits.to_json()] == [True, False, True, False]
    assert found["max_size_bytes"].over == pytest.approx(0.5)
    assert found["max_size_bytes"].how == "the file"
    assert found["max_memory_bytes"].over == float("inf")  # what nobody measured is not kept
    assert excess(limits, Figures(0.0, 1500, 3.0, 5)) == pytest.approx(1.0)
    assert excess(Limits(max_degradation=0.0), Figures(0.0, 1, 1.0)) == 0


def test_a_share_that_binary_cannot_say_is_kept() -> None:
    (found,) = evidence(Limits(max_degradation=0.01), Figures(1.0 - 0.99, 1, 1.0), {})
    assert found.met


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1%", True])
def test_a_limit_has_to_be_a_number(value: Any) -> None:
    with pytest.raises(InputError, match="max_latency_ms is"):
        Limits(max_latency_ms=value)
    with pytest.raises(InputError, match="no limit is given"):
        Limits()
