"""The search for factors finds what is cheap, leaves what is dear, and never ends worse than it began."""

from __future__ import annotations

import pytest

from reconv.engine.tolerance import Profile
from reconv.optimize import Trial, exchange_rate, group_maps, tune_factors

GROUPS = (("deep", "deeper"), ("last",), ("idle",))


def factor(profile: Profile, name: str) -> float:
    return profile.maps[name].factor if name in profile.maps else 1.0


def network(profile: Profile) -> Trial:
    """Deep maps cost much work and little loss, the last map the other way round, the idle one neither."""
    deep, last = factor(profile, "deep") * profile.tolerance, factor(profile, "last") * profile.tolerance
    assert factor(profile, "deeper") == factor(profile, "deep")
    return Trial(share=0.05 / deep + 0.0001 / last, loss=0.02 * deep + 0.8 * last)


def test_work_moves_to_where_the_loss_is() -> None:
    said: list[str] = []
    found = tune_factors(network, GROUPS, 0.1, 1.0, say=said.append)
    deep, last, idle = found.factors
    assert deep > 2
    assert last < 0.6
    assert idle == 1
    alone = network(Profile(0.1))
    assert found.trial.share + found.trial.loss < alone.share + alone.loss
    assert found.trial == network(found.profile(0.1))
    assert len(said) >= 2
    profile = found.profile(0.2, "abc")
    assert (profile.tolerance, profile.model) == (0.2, "abc")
    assert profile.maps.keys() == {"deep", "deeper", "last"}


def test_no_profile_is_tried_twice() -> None:
    tried: list[Profile] = []

    def trial(profile: Profile) -> Trial:
        assert profile not in tried
        tried.append(profile)
        return network(profile)

    assert tune_factors(trial, GROUPS, 0.1, 1.0).trials == len(tried)


def test_noise_is_no_reason_to_move() -> None:
    found = tune_factors(lambda p: Trial(0.5 - 1e-5 * factor(p, "deep"), 0.1), GROUPS, 0.1, 1.0)
    assert found.factors == (1.0, 1.0, 1.0)
    assert found.profile(0.1) == Profile(0.1)


def test_factors_stay_in_bounds() -> None:
    found = tune_factors(lambda p: Trial(1 / factor(p, "deep") + factor(p, "last"), 0.0), GROUPS, 0.1, 1.0)
    assert 5 < found.factors[0] <= 8
    assert 0.15 <= found.factors[1] < 0.25


def test_no_groups() -> None:
    found = tune_factors(network, (), 0.1, 1.0)
    assert (found.factors, found.trials, found.trial) == ((), 1, network(Profile(0.1)))


def test_groups_are_neighbours_of_one_size() -> None:
    maps = {"a": (8, 8), "b": (4, 4), "c": (4, 4), "d": (4, 4), "e": (8, 8), "f": (4, 4)}
    assert group_maps(maps, 2) == [("a",), ("b", "c"), ("d",), ("e",), ("f",)]
    assert group_maps({}) == []


def test_exchange_rate() -> None:
    trials = [Trial(0.5, 0.02), Trial(0.3, 0.05), Trial(0.1, 0.12)]
    assert exchange_rate(trials) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="two tolerances"):
        exchange_rate(trials[:1])
    with pytest.raises(ValueError, match="did not cost"):
        exchange_rate([Trial(0.5, 0.0), Trial(0.1, 0.0)])
