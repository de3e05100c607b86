"""Habits of the streams of a pool: refreshes, audits and plain steps are those of streams outside of it, below the
limit, and counted for what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from reconv.engine import Model, load
from reconv.engine import stream as streams
from reconv.engine.tail import same_bits
from reconv.errors import ProfileError
from reconv.reuse.states import StreamPool
from tests.unit.small import Array, cnn, frame

BIG = 1_000_000_000
HABITS: dict[str, Any] = {"tolerance": 0.3, "audit_every": 1, "audit_budget": 1.0, "target": 0.5}


def _frames(count: int, seed: int = 0) -> list[Array]:
    """A still picture with faint noise and a patch that goes to and fro."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        x = frame(48, 64) + random.normal(0, 0.05, (1, 3, 48, 64))
        y, column = random.integers(0, 36), random.integers(0, 52)
        x[:, :, y : y + 12, column : column + 12] += 1
        found.append(np.asarray(x, np.float32))
    return found


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)


def _state_bytes(model: Model, x: Array) -> int:
    with model.stream() as stream:
        stream(x)
        return stream.state_bytes


@pytest.mark.parametrize(
    "habits",
    [
        HABITS,
        HABITS | {"refresh_every": 5},
        HABITS | {"agreement": lambda _a, _b: 0.2},
        {"tolerance": 0.3, "refresh_every": 4},
        {"never_slower": False},
        {},
    ],
)
def test_a_stream_of_a_pool_has_the_habits_of_one_outside(habits: dict[str, Any]) -> None:
    """Frame by frame, three in turns: two that move a little, and noise, of which nearly all is stale."""
    model = load(cnn(tail=True))
    pool, alone = StreamPool(model, BIG, **habits), {name: model.stream(**habits) for name in "abc"}
    clips = {"a": _frames(40), "b": _frames(40, seed=1), "c": [frame(48, 64, seed=k) for k in range(40)]}
    for turn in range(40):
        for name, stream in alone.items():
            outputs, step = pool.step(name, clips[name][turn])
            assert _same(outputs, stream(clips[name][turn]))
            assert all(array.flags.writeable for array in outputs.values())
            last = stream.last
            assert (step.dense, step.audited, step.recomputed) == (last.dense, last.audited, last.recomputed)
    assert all(pool.audit(name) == stream.audit for name, stream in alone.items())
    assert (pool.stats.audited > 0) == ("audit_every" in habits)


def test_each_stream_audits_itself() -> None:
    """Agreement is poor in one stream alone; only its tolerance falls."""
    model = load(cnn())
    now = ""

    def agreement(_: Mapping[str, Any], __: Mapping[str, Any]) -> float:
        return 0.2 if now == "bad" else 1.0

    pool = StreamPool(model, BIG, **HABITS, agreement=agreement)
    good, bad = pool.stream("good"), pool.stream("bad")
    assert pool.audit("bad") is None  # no state yet
    for x in _frames(60):
        now = "good"
        good(x)
        now = "bad"
        bad(x)
    assert good.audit is not None
    assert bad.audit is not None
    assert good.audit.samples > 1
    assert good.audit.tolerance == 0.3 > bad.audit.tolerance
    bad.close()
    bad(x)
    assert bad.audit is not None
    assert (bad.audit.samples, bad.audit.tolerance) == (0, 0.3)  # a new state starts from what the user gave


def test_audited_steps_are_counted_for_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock on which a dense step takes 10 seconds, one that reuses 4, and an audited one both."""
    model = load(cnn())
    pool = StreamPool(model, BIG, "gdsf", **HABITS)
    counts = {"dense": 0, "reused": 0, "audited": 0}
    saved = 0.0
    advance = streams.Stream.advance

    def timed(self: streams.Stream, work: Any) -> dict[str, Any]:
        outputs = advance(self, work)
        last = self.last
        seconds = 14.0 if last.audited else 10.0 if last.dense else 4.0
        self._last = streams.Step(last.recomputed, seconds, last.dense, last.changed, last.audited)
        return outputs

    monkeypatch.setattr(streams.Stream, "advance", timed)
    for x in _frames(60):
        _, step = pool.step("a", x)
        counts["dense"] += step.dense
        counts["reused"] += not step.dense
        counts["audited"] += step.audited
        saved += 0 if step.dense and not step.audited else 10 - step.seconds
    stats = pool.stats
    assert counts["audited"] > 1
    assert {name: getattr(stats, name) for name in counts} == counts
    assert stats.steps == 60 == stats.reused + stats.dense
    assert stats.seconds_saved == pytest.approx(saved)
    pool("b", x)
    assert pool._ledger.costs["b"] == 10  # of a dense step, and not of two runs


@pytest.mark.parametrize("room", [1, 2, 3])
def test_audits_keep_to_the_limit(room: int) -> None:
    """An audit runs in the state that there is: no byte more, also where the tail's outputs are kept again."""
    model = load(cnn(tail=True))
    capacity = room * _state_bytes(model, frame(48, 64))
    pool, audited = StreamPool(model, capacity, "lru", **HABITS, refresh_every=4), 0
    for turn, x in enumerate(_frames(120)):
        _, step = pool.step("ab"[turn // 20 % 2], x)
        audited += step.audited
        held = sum(member.state.state_bytes for member in pool._members.values() if member.state is not None)
        assert held <= pool.bytes <= capacity
        assert held == len(pool) * capacity // room
    assert audited > 2
    assert pool.stats.dropped == (5 if room == 1 else 0)


def test_an_agreement_that_fails_frees_the_state() -> None:
    model = load(cnn())

    def broken(_: Mapping[str, Any], __: Mapping[str, Any]) -> float:
        raise RuntimeError("no boxes")

    pool, failed = StreamPool(model, BIG, **HABITS, agreement=broken), 0
    for x in _frames(40):
        try:
            pool("a", x)
        except RuntimeError:
            failed += 1
            assert (pool.bytes, len(pool)) == (0, 0)
            assert _same(pool("a", x), model.run(x))
    assert failed > 0


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"audit_every": 5}, "at tolerance 0 is exact"),
        ({"audit_every": 5, "tolerance": 0.1, "refresh_every": 1}, "every step is dense, nothing to audit"),
        ({"audit_every": 5, "tolerance": 0.1, "target": 1.0}, "target is 1.0"),
        ({"refresh_every": 0}, "refresh_every is 0"),
    ],
)
def test_numbers_that_make_no_sense(words: dict[str, Any], match: str) -> None:
    with pytest.raises(ProfileError, match=match):
        StreamPool(load(cnn()), BIG, **words)
