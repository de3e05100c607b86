"""The self-audit: what it costs, what it finds, and the tolerance that follows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from reconv.engine import Audit, Profile, load
from reconv.engine.audit import DOWN, LEAST, MOST, SETTLED, UP, Auditor, AuditPlan
from reconv.engine.relative_error import relative_error
from reconv.engine.stream import Stream
from reconv.engine.tail import same_bits
from reconv.errors import InputError, ProfileError
from tests.unit.small import Array, cnn, frame


def _frames(count: int, moving: float = 0.02, seed: int = 0) -> list[Array]:
    """A still picture with faint noise, in front of which a patch of `moving` of the frame goes to and fro."""
    random = np.random.default_rng(seed)
    still, side = frame(48, 64), max(1, round((48 * 64 * moving) ** 0.5))
    found = []
    for _ in range(count):
        x = still + random.normal(0, 0.05, still.shape)
        y, column = random.integers(0, 48 - side), random.integers(0, 64 - side)
        x[:, :, y : y + side, column : column + side] += 1
        found.append(np.asarray(x, np.float32))
    return found


def _feed(stream: Stream) -> None:
    for x in _frames(40):
        stream(x)


def _half(_: Mapping[str, Any], __: Mapping[str, Any]) -> float:
    return 0.5


# --- a stream ---


def test_an_audited_step_gives_the_dense_outputs_and_says_so() -> None:
    model = load(cnn(tail=True))
    stream = model.stream(0.1, audit_every=1, audit_budget=1.0, target=0.5)
    audited = 0
    for x in _frames(60):
        outputs = stream(x)
        if stream.last.audited:
            audited += 1
            assert stream.last.dense
            assert stream.last.recomputed > 1
            assert all(same_bits(outputs[name], value) for name, value in model.run(x).items())
            assert stream.last.changed == tuple(info.name for info in model.outputs)
    assert stream.audit is not None
    assert 2 < audited == stream.audit.samples <= 60 / SETTLED


def test_the_frame_after_an_audit_reuses_also_at_a_lower_tolerance() -> None:
    stream = load(cnn()).stream(0.3, audit_every=1, audit_budget=1.0, agreement=_half)
    tolerances, after = [], []
    previous = False
    for x in _frames(80):
        stream(x)
        if previous:
            after.append(stream.last.dense)
        previous = stream.last.audited
        tolerances.append(stream.tolerance)
    assert min(tolerances) < 0.2
    assert after
    assert not any(after)


@pytest.mark.parametrize("budget", [0.05, 0.2])
def test_audits_keep_to_their_budget_at_every_moment(budget: float) -> None:
    stream = load(cnn()).stream(0.1, audit_every=1, audit_budget=budget)
    own = extra = 0.0
    for x in _frames(150, moving=0.1):
        stream(x)
        extra += stream.last.audited
        own += stream.last.recomputed - stream.last.audited
        assert extra <= budget * own
        assert stream.audit is not None
        assert stream.audit.extra_work == pytest.approx(extra / own)
    assert extra > 0


def test_at_most_every_nth_step() -> None:
    stream, audited = load(cnn()).stream(0.1, audit_every=30, audit_budget=1.0, target=0.5), []
    for index, x in enumerate(_frames(200, moving=0.1)):
        stream(x)
        audited += [index] * stream.last.audited
    assert len(audited) > 2
    assert np.diff(audited).min() >= 30


@pytest.mark.parametrize("refresh", [2, 3, SETTLED, SETTLED + 1])
def test_a_stream_that_is_refreshed_soon_is_audited_at_the_last_step_before(refresh: int) -> None:
    stream = load(cnn()).stream(0.3, refresh_every=refresh, audit_every=1, audit_budget=1.0, target=0.5)
    since_dense, audited = 0, []
    for x in _frames(200):
        stream(x)
        if stream.last.audited:
            audited.append(since_dense + 1)
        since_dense = 0 if stream.last.dense else since_dense + 1
        assert since_dense < refresh
    assert len(audited) > 3
    assert set(audited) == {refresh - 1}


def test_there_is_nothing_to_audit_where_every_step_is_dense() -> None:
    model = load(cnn())
    for words in ({"refresh_every": 1}, {"profile": Profile(tolerance=0.1, refresh_every=1)}):
        with pytest.raises(ProfileError, match="at refresh_every 1 every step is dense, nothing to audit") as error:
            model.stream(0.1, audit_every=5, **words)
        assert "\n" not in str(error.value)


def test_another_stream_starts_from_the_tolerance_that_the_user_gave() -> None:
    """And not from where audits have taken this one."""
    model = load(cnn())
    stream = model.stream(0.1, audit_every=1, audit_budget=1.0, target=0.98, agreement=lambda _a, _b: 0.5)
    for _ in range(3):
        for x in _frames(80):
            stream(x)
        assert LEAST * 0.1 <= stream.tolerance < 0.05
        stream = stream.another(lambda _item, _size: True)
        assert stream.tolerance == 0.1
    stream.tolerance = 0.2
    _feed(stream)
    assert stream.another(lambda _item, _size: True).tolerance == 0.2


def test_the_function_sees_both_outputs_of_one_frame() -> None:
    model = load(cnn())
    stream: Stream

    def agreement(ours: Mapping[str, Any], dense: Mapping[str, Any]) -> float:
        assert same_bits(dense["y"], model.run(now)["y"])
        assert not same_bits(ours["y"], dense["y"])
        seen.append(relative_error(ours, dense))
        return 1 - seen[-1]

    seen: list[float] = []
    stream = model.stream(0.3, audit_every=1, audit_budget=1.0, agreement=agreement)
    for now in _frames(40):
        stream(now)
    assert stream.audit is not None
    assert len(seen) == stream.audit.samples > 1
    assert stream.audit.error == pytest.approx(np.mean(seen), rel=0.5)
    assert stream.audit.agreement == pytest.approx(1 - np.mean(seen), rel=0.1)


def test_the_tolerance_follows_what_audits_find() -> None:
    """Started far too high or low for the target, streams of the same frames meet from both sides."""
    model, ends = load(cnn()), []
    for start in (0.6, 0.1):
        stream = model.stream(start, audit_every=1, audit_budget=1.0, target=0.93)
        for x in _frames(400, moving=0.1):
            stream(x)
        assert stream.audit is not None
        assert stream.audit.agreement is not None
        ends.append((stream.tolerance, stream.audit.agreement))
    (high, fell), (low, rose) = ends
    assert high < 0.5
    assert low >= 0.1
    assert fell > 0.9
    assert rose > 0.9


def test_plain_and_still_streams_need_no_audits() -> None:
    noisy = load(cnn()).stream(0.1, audit_every=1, audit_budget=1.0)
    for seed in range(25):
        noisy(frame(seed=seed))
    assert noisy.audit == Audit(0, 0.98, None, None, None, None, 0.1, 0.0)
    still = load(cnn()).stream(0.1, audit_every=1)
    for _ in range(200):
        still(frame())
    assert still.audit is not None
    assert still.audit.samples == 0


def test_setting_the_tolerance_starts_from_it() -> None:
    stream = load(cnn()).stream(0.3, audit_every=1, audit_budget=1.0, agreement=_half)
    for x in _frames(60):
        stream(x)
    assert stream.tolerance < 0.2
    stream.tolerance = 0.25
    assert stream.audit is not None
    assert stream.audit.tolerance == stream.tolerance == 0.25
    with pytest.raises(ProfileError, match="at tolerance 0 is exact"):
        stream.tolerance = 0
    assert stream.tolerance == 0.25


def test_a_function_that_fails_leaves_the_stream_usable() -> None:
    model = load(cnn())

    def broken(_: Mapping[str, Any], __: Mapping[str, Any]) -> float:
        raise RuntimeError("no boxes")

    stream = model.stream(0.3, audit_every=1, audit_budget=1.0, agreement=broken)
    failed = 0
    for x in _frames(40):
        try:
            stream(x)
        except RuntimeError:
            failed += 1
            assert same_bits(stream(x)["y"], model.run(x)["y"])
            assert stream.last.dense
    assert failed > 0


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), "much", None])
def test_agreements_that_are_none(value: Any) -> None:
    stream = load(cnn()).stream(0.3, audit_every=1, audit_budget=1.0, agreement=lambda _a, _b: value)
    with pytest.raises(InputError, match=r"the agreement of an audit is .*, expected a number from 0 to 1"):
        _feed(stream)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"audit_every": 0}, "audit_every is 0"),
        ({"audit_every": 2.5}, "audit_every is 2.5"),
        ({"audit_every": 5, "target": 1.0}, "target is 1.0"),
        ({"audit_every": 5, "target": float("nan")}, "target is nan"),
        ({"audit_every": 5, "audit_budget": 0}, "audit_budget is 0"),
        ({"audit_every": 5, "tolerance": 0.0}, "at tolerance 0 is exact"),
    ],
)
def test_numbers_that_make_no_sense(words: dict[str, Any], match: str) -> None:
    with pytest.raises(ProfileError, match=match):
        load(cnn()).stream(**{"tolerance": 0.1, **words})


def test_without_it_there_is_none() -> None:
    assert load(cnn()).stream(0.1).audit is None


# --- the controller ---


def _audit(auditor: Auditor, agreement: float, share: float = 0.3, steps: int = 10_000) -> float | None:
    """Steps at a share until an audit is due, then its sample."""
    for _ in range(steps):
        auditor.note(share, dense=False)
        if auditor.due:
            return auditor.learn(agreement, 1 - agreement)
    return None


def test_steps_and_bounds_of_the_tolerance() -> None:
    low, high = (Auditor(AuditPlan(1), 0.1) for _ in range(2))
    downs, ups = [0.1], [0.1]
    for _ in range(30):
        downs.append(_audit(low, 0.0) or 0)
        ups.append(_audit(high, 1.0) or 0)
    assert downs[-1] == pytest.approx(LEAST * 0.1)
    assert ups[-1] == pytest.approx(MOST * 0.1)
    assert all(b >= DOWN * a * 0.999 for a, b in pairwise(downs))
    assert all(b <= UP * a * 1.001 for a, b in pairwise(ups))


def test_a_stream_at_its_target_keeps_its_tolerance() -> None:
    auditor = Auditor(AuditPlan(1), 0.1)
    assert {_audit(auditor, 0.98) for _ in range(20)} == {0.1}
    report = auditor.report
    assert report.samples == 20
    assert report.agreement == pytest.approx(0.98)
    assert report.agreement_spread == pytest.approx(0, abs=1e-6)


def test_the_spread_is_that_of_the_samples() -> None:
    auditor = Auditor(AuditPlan(1), 0.1)
    _audit(auditor, 1.0)
    assert auditor.report.agreement_spread is None
    for agreement in (0.96, 1.0, 0.96, 1.0, 0.96):
        _audit(auditor, agreement)
    assert auditor.report.agreement_spread == pytest.approx(0.022, abs=0.004)
    assert auditor.report.error_spread == pytest.approx(0.022, abs=0.004)


def test_one_audit_is_held_back_for_a_change() -> None:
    """At a share of 0.3, 0.05 of the work is an audit in 67 steps."""
    auditor = Auditor(AuditPlan(1), 0.1)
    waits = []
    for share in (0.3, 0.3, 0.3, 0.3, 0.9 * 0.3, 0.6):
        for step in range(500):
            auditor.note(share, dense=False)
            if auditor.due:
                auditor.learn(0.98, 0.02)
                waits.append(step)
                break
    assert all(60 < wait < 70 for wait in waits[:3])  # few samples: as soon as it is paid for
    assert 125 < waits[3] < 140  # there is one to spare from now on
    assert 60 < waits[4] < 80
    assert waits[5] < 15


def test_a_frame_soon_after_a_dense_one_is_not_audited() -> None:
    auditor = Auditor(AuditPlan(1, budget=1.0), 0.1)
    for _ in range(10):
        for step in range(SETTLED):
            auditor.note(1.0 if step == 0 else 0.4, dense=step == 0)
            assert not auditor.due
    auditor.note(0.4, dense=False)
    assert auditor.due


def test_what_was_learnt_before_a_change_counts_for_little() -> None:
    same, changed = (Auditor(AuditPlan(1), 0.1) for _ in range(2))
    for auditor, share in ((same, 0.3), (changed, 0.05)):
        for _ in range(20):
            _audit(auditor, 1.0, share)
    assert same.tolerance == changed.tolerance == 0.1  # never above what the user gave
    for auditor in (same, changed):
        _audit(auditor, 0.9)
    assert changed.tolerance < same.tolerance


# --- the error of raw outputs ---


def _error(ours: Any, dense: Any) -> float:
    return relative_error({"y": np.asarray(ours)}, {"y": np.asarray(dense)})


def test_relative_error() -> None:
    assert _error([1.0, 3.0], [1.0, 3.0]) == 0
    assert _error([1.0, 4.0], [1.0, 3.0]) == 0.5
    assert _error([[1.0, 4.0]], [1.0, 3.0]) == 1
    assert _error([1, 2, 3, 4], [1, 2, 3, 5]) == 0.25
    assert _error([np.inf, 1.0, np.nan], [np.inf, 1.0, np.nan]) == 0
    assert _error([np.nan, 1.0], [0.0, 1.0]) == 1
    assert _error([2.0, 2.0], [1.0, 1.0]) == 1
    assert _error(np.zeros(0, np.float32), np.zeros(0, np.float32)) == 0
    both = relative_error({"a": np.array([1.0, 4.0]), "b": np.ones(2)}, {"a": np.array([1.0, 3.0]), "b": np.ones(2)})
    assert both == 0.25
