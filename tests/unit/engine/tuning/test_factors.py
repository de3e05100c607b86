"""The search for factors finds what is cheap, leaves what is dear, and never ends worse than it began."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.engine.tolerance import Profile
from reconv.engine.tuning import Trial, exchange_rate, tune_factors
from reconv.engine.tuning.factors import FURTHEST, proposed

GROUPS = (("deep", "deeper"), ("last",), ("idle",))


def factor(profile: Profile, name: str) -> float:
    return profile.maps[name].factor if name in profile.maps else 1.0


def network(profile: Profile) -> Trial:
    """Deep maps cost much work and little loss, the last map the other way round, the idle one neither."""
    deep, last = factor(profile, "deep") * profile.tolerance, factor(profile, "last") * profile.tolerance
    assert factor(profile, "deeper") == factor(profile, "deep")
    return Trial(share=0.05 / deep + 0.0001 / last, loss=0.2 * deep**2 + 8 * last**2)


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


def test_least_work_at_an_equal_loss_is_found() -> None:
    """Where the algebra of the docstring holds, the factors are as (s / a) ** (1 / 3) but for one factor for all."""
    saves, costs = np.array([4.0, 1.0, 1.0, 2.0, 8.0]), np.array([1.0, 1.0, 4.0, 2.0, 2.0])
    groups = [(str(i),) for i in range(5)]

    def trial(profile: Profile) -> Trial:
        f = profile.tolerance * np.array([factor(profile, str(i)) for i in range(5)])
        return Trial(float((saves / f).sum()), float((costs * f**2).sum()))

    found = np.array(tune_factors(trial, groups, 1.0, 1.0).factors)
    best = (saves / costs) ** (1 / 3)
    ratio = found / best
    assert ratio.max() / ratio.min() < 1.1


def test_no_profile_is_tried_twice() -> None:
    tried: list[Profile] = []

    def trial(profile: Profile) -> Trial:
        assert profile not in tried
        tried.append(profile)
        return network(profile)

    assert tune_factors(trial, GROUPS, 0.1, 1.0).trials == len(tried)


def test_what_the_frames_cannot_tell_moves_nothing() -> None:
    """Costs that are all noise between the stretches: the factors stay near one another; sure ones part."""
    now = Trial(1.0, 1.0, (1.0,) * 8)
    rough = [(1.6, Trial(0.9, 1.0 + c, tuple(1.0 + c + d for d in (-9, 9) * 4))) for c in (0.02, 0.2, 0.4)]
    sure = [(1.6, Trial(0.9, 1.0 + c, (1.0 + c,) * 8)) for c in (0.02, 0.2, 0.4)]
    guessed, known = proposed(now, rough), proposed(now, sure)
    assert guessed.max() / guessed.min() < 1.05
    assert known.max() / known.min() > 2
    assert known[0] > known[1] > known[2]
    assert known.max() <= FURTHEST


def test_nothing_saved_or_nothing_lost_is_no_reason_to_move() -> None:
    now = Trial(0.5, 0.1)
    assert proposed(now, [(1.6, Trial(0.5, 0.2)), (1.6, Trial(0.6, 0.1))]).tolist() == [1, 1]
    assert proposed(now, [(1.6, Trial(0.4, 0.1)), (1.6, Trial(0.3, 0.05))]).tolist() == [1, 1]
    found = tune_factors(lambda p: Trial(0.5 - 1e-5 * factor(p, "deep"), 0.1), GROUPS, 0.1, 1.0)
    assert found.factors == (1.0, 1.0, 1.0)
    assert found.profile(0.1) == Profile(0.1)


def test_factors_stay_in_bounds() -> None:
    def steep(p: Profile) -> Trial:
        return Trial(1 / factor(p, "deep"), 1e-6 * factor(p, "deep") ** 2 + 5 * factor(p, "last") ** 2)

    found = tune_factors(steep, GROUPS, 0.1, 1.0, rounds=9)
    assert 5 < found.factors[0] <= 8
    assert 0.15 <= found.factors[1] < 0.25


def test_no_groups() -> None:
    found = tune_factors(network, (), 0.1, 1.0)
    assert (found.factors, found.trials, found.trial) == ((), 1, network(Profile(0.1)))


def test_exchange_rate() -> None:
    trials = [Trial(0.5, 0.02), Trial(0.3, 0.05), Trial(0.1, 0.12)]
    assert exchange_rate(trials) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="two tolerances"):
        exchange_rate(trials[:1])
    with pytest.raises(ValueError, match="did not cost"):
        exchange_rate([Trial(0.5, 0.0), Trial(0.1, 0.0)])
