"""The arms and whose turn it is, on stand-ins whose loss and time are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reconv.optimize.arms import Arm, Frontier, Halving, Ladder, Notes
from reconv.optimize.limits import Limits
from reconv.optimize.measured import Paired
from reconv.optimize.search import search
from reconv.optimize.trial import Candidate, Step, Trial

LAYERS = tuple(f"l{i}" for i in range(12))
LIMIT = 0.1
Rule = Callable[[Candidate], tuple[float, float]]  # candidate -> loss, milliseconds


def trial_of(rule: Rule, tried: list[Candidate]) -> Callable[[Candidate], Trial]:
    def trial(candidate: Candidate) -> Trial:
        assert candidate not in tried, "nothing is tried twice"
        tried.append(candidate)
        loss, ms = rule(candidate)
        pair = None if candidate.part < 1 else Paired(10.0, ms, ms / 10, ms / 10, ms / 10)
        return Trial(candidate, 1 - loss, loss, loss, 100, pair, None, 1.0)

    return trial


def notes(order: Sequence[str] = LAYERS) -> Notes:
    return Notes(lambda t: t.loss <= LIMIT, {"error": order}, dict.fromkeys(order, 1))


def left(candidate: Candidate) -> set[str]:
    return set(candidate.steps[-1].settings.get("exclude", ())) if candidate.steps else set(LAYERS)


def needs(*layers: str) -> Rule:
    """The loss is within the limit where these layers stay float; every layer in 8 bits saves half a millisecond."""

    def rule(candidate: Candidate) -> tuple[float, float]:
        kept = left(candidate)
        return (0.05 if kept >= set(layers) else 0.5), 10 - 0.5 * (len(LAYERS) - len(kept))

    return rule


def run(arms: Sequence[Arm], rule: Rule, seconds: float = float("inf")) -> tuple[Any, list[Candidate]]:
    tried: list[Candidate] = []
    found = search(trial_of(rule, tried), [Candidate((), "t")], arms, Limits(max_degradation=LIMIT), seconds=seconds)
    return found, tried


@pytest.mark.parametrize("count", range(12))
def test_the_fewest_float_layers_are_found_in_few_trials(count: int) -> None:
    found, tried = run([Frontier(notes(), "t", {}, "error")], needs(*LAYERS[:count]))
    best = found.within(Limits(max_degradation=LIMIT))[0]
    assert left(best.candidate) == set(LAYERS[:count])
    assert found.complete
    halving = [c for c in tried[1:] if len(left(c)) != count - 1 or left(c) == set(LAYERS[: count - 1])]
    assert len(halving) <= 10  # of 12 layers, doubling and halving; giving back tries single ones


def test_layers_that_need_not_be_float_are_given_back() -> None:
    found, _ = run([Frontier(notes(), "t", {}, "error")], needs("l0", "l5"))
    best = found.within(Limits(max_degradation=LIMIT))[0]
    assert left(best.candidate) == {"l0", "l5"}


def test_where_nothing_but_all_float_helps_no_quantization_is_given() -> None:
    found, _ = run([Frontier(notes(), "t", {}, "error")], needs(*LAYERS))
    assert [t.candidate.steps for t in found.within(Limits(max_degradation=LIMIT))] == [()]


def test_recipes_are_halved_and_the_best_goes_on() -> None:
    recipes = [{"calibration": word} for word in "abcdef"]
    worth = dict(zip("abcdef", (0.6, 0.5, 0.09, 0.4, 0.08, 0.7), strict=True))

    def rule(candidate: Candidate) -> tuple[float, float]:
        settings = candidate.steps[-1].settings if candidate.steps else {}
        return (worth[settings["calibration"]], 5.0) if settings else (0.0, 10.0)

    about = notes()
    _, tried = run([Halving(about, "t", recipes)], rule)
    parts = [(c.part, c.steps[-1].settings["calibration"]) for c in tried[1:]]
    assert parts[:6] == [(0.25, word) for word in "abcdef"]
    assert parts[6:9] == [(0.5, word) for word in "ecd"]
    assert parts[9:] == [(1.0, "e"), (1.0, "c")]
    assert about.recipe == {"t": {"calibration": "e"}}


def test_a_ladder_stops_where_it_loses_too_much_and_is_then_quantized() -> None:
    about = notes()
    about.recipe["t"] = {"calibration": "mse"}
    settings = [{"ratio": r} for r in (0.1, 0.2, 0.3, 0.4, 0.5)]

    def rule(candidate: Candidate) -> tuple[float, float]:
        if not candidate.steps:
            return 0.0, 10.0
        ratio = candidate.steps[0].settings["ratio"]
        eight = len(candidate.steps) > 1
        return (0.04 if ratio < 0.25 else 0.3), 10 * (1 - ratio) / (2 if eight else 1)

    found, tried = run([Ladder(about, "t", "prune", settings)], rule)
    assert [c.steps[0].settings["ratio"] for c in tried[1:5]] == [0.1, 0.2, 0.3, 0.4]
    best = found.within(Limits(max_degradation=LIMIT))[0].candidate
    assert [step.method for step in best.steps] == ["prune", "quantize"]
    assert best.steps[0].settings == {"ratio": 0.2}


def test_turns_go_to_the_arm_that_gets_somewhere() -> None:
    """One method does nothing, one makes it faster step by step: the second is through before the first is half way."""

    def rule(candidate: Candidate) -> tuple[float, float]:
        if not candidate.steps:
            return 0.0, 10.0
        step = candidate.steps[0]
        return 0.0, 10.0 if step.method == "idle" else 10 - step.settings["n"]

    many = [{"n": n} for n in range(1, 9)]
    arms = [Ladder(notes(), "t", "idle", many), Ladder(notes(), "t", "good", many)]
    found, tried = run(arms, rule, seconds=12)
    assert [c.steps[0].method for c in tried[1:]].count("good") == 8
    assert found.turns["good, on t"] == 8
    assert not found.complete


def test_time_is_that_of_the_trials() -> None:
    found, tried = run([Frontier(notes(), "t", {}, "error")], needs("l3"), seconds=3)
    assert len(tried) == 3
    assert not found.complete


def test_a_candidate_that_fails_ends_its_arm_and_not_the_search() -> None:
    def trial(candidate: Candidate) -> Trial:
        bad = bool(candidate.steps) and candidate.steps[0].method == "bad"
        pair = None if bad else Paired(10.0, 9.0, 0.9, 0.9, 0.9)
        return Trial(candidate, 1.0, float("inf") if bad else 0.0, 0.0, 1, pair, None, 1.0, "no" if bad else "")

    arms = [Ladder(notes(), "t", "bad", [{"n": 1}]), Ladder(notes(), "t", "good", [{"n": 1}])]
    found = search(trial, [Candidate((), "t")], arms, Limits(max_degradation=LIMIT), seconds=100)
    assert [t.failed for t in found.trials] == ["", "no", ""]
    assert len(found.within(Limits(max_degradation=LIMIT))) == 2


def test_a_limit_that_nothing_keeps_gives_the_nearest() -> None:
    limits = Limits(max_degradation=LIMIT, max_latency_ms=1.0)
    tried: list[Candidate] = []
    found = search(
        trial_of(needs("l0"), tried), [Candidate((), "t")], [Frontier(notes(), "t", {}, "error")], limits, seconds=99
    )
    assert found.within(limits) == []
    assert left(found.nearest(limits)[0].candidate) == {"l0"}


def test_a_candidate_is_its_text() -> None:
    one = Candidate((Step("quantize", {"exclude": ["b"], "calibration": "mse"}),), "t")
    same = Candidate((Step("quantize", {"calibration": "mse", "exclude": ("b",)}),), "t")
    assert one.key == same.key
    assert one.key != Candidate(one.steps, "t", 0.5).key
    assert one.title == "quantize (1 layers float, calibration mse)"


def test_drift_of_the_machine_does_not_choose() -> None:
    """The slower candidate was measured while the machine was quick: fewer milliseconds, a worse ratio."""
    ms = {"": (10.0, 10.0), "good": (12.0, 9.6), "lucky": (8.0, 7.2)}

    def trial(candidate: Candidate) -> Trial:
        before, after = ms[candidate.steps[0].method if candidate.steps else ""]
        pair = Paired(before, after, after / before, 0.0, 1.0)
        return Trial(candidate, 1.0, 0.0, 0.0, 1, pair, None, 1.0)

    arms = [Ladder(notes(), "t", name, [{"n": 1}]) for name in ("lucky", "good")]
    limits = Limits(max_degradation=LIMIT)
    found = search(trial, [Candidate((), "t")], arms, limits, seconds=100)
    assert found.within(limits)[0].candidate.steps[0].method == "good"
    assert found.nearest(limits)[0].candidate.steps[0].method == "good"
