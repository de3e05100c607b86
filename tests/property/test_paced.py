"""Streams whose steps turn plain and back at any moment: what comes out is that of dense runs and of fresh streams.

The pace is made to switch by a script. At tolerance 0 every output is that of a dense run, bit for bit. At any other,
plain steps and those that start anew are, and the steps after a start are, bit for bit, those of a stream whose first
frame it was: so whatever holds of a stream that never switches (tests/property/test_bounded.py) holds of this one.
"""

from __future__ import annotations

from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reconv.engine import Model, Stream, load, paced
from reconv.engine.pace import Pace
from reconv.engine.tail import same_bits
from tests.property.profiles import examples
from tests.unit.small import Array, cnn, frame

MODELS = {tail: load(cnn(tail=tail), threads=2) for tail in (False, True)}


class _Script(Pace):
    """Turns plain, and back, after the steps that it is told."""

    turns: tuple[bool, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._left = list(self.turns)

    def _turn(self) -> bool:
        return bool(self._left) and self._left.pop(0)

    def listed(self, share: float, moved: object) -> None:
        self.plain = self._turn()

    def returns(self, moved: float | None) -> bool:
        assert moved is None or 0 <= moved <= 1
        self._steps += 1
        self.plain = not self._turn()
        return not self.plain


def _frames(seed: int, count: int, batch: int) -> list[Array]:
    random = np.random.default_rng(seed)
    found = [frame(seed=seed, batch=batch)]
    for _ in range(1, count):
        x, kind = found[-1].copy(), random.integers(5)
        y, column = random.integers(0, 20), random.integers(0, 28)
        if kind == 0:
            x = frame(seed=int(random.integers(99)), batch=batch)
        elif kind == 1:
            x = np.asarray(x + random.normal(0, 0.02, x.shape), np.float32)
        elif kind == 2:
            x[:, :, y : y + 4, column : column + 4] = random.standard_normal((batch, 3, 4, 4))
        elif kind == 3:
            x[0, 0, y, column] = random.choice([np.nan, np.inf, -0.0])
        found.append(x)
    return found


def _check(model: Model, stream: Stream, frames: list[Array], tolerance: float) -> int:
    """Steps the stream and what it is compared with; how often it started anew."""
    starts, fresh = 0, stream
    for x in frames:
        outputs, dense = stream(x), model.run(x)
        if stream.last.dense:
            starts += 1
            fresh = model.stream(tolerance, never_slower=False)
        alone = fresh(x)
        for name, value in outputs.items():
            assert same_bits(value, alone[name])
            assert same_bits(value, dense[name]) or (tolerance > 0 and not stream.last.dense)
        assert stream.last.recomputed == (1 if stream.last.dense else fresh.last.recomputed)
        assert not stream.last.dense or stream.last.changed == tuple(outputs)
    return starts


@examples(60)
@given(
    seed=st.integers(0, 10_000),
    turns=st.lists(st.booleans(), max_size=12).map(tuple),
    tolerance=st.sampled_from((0.0, 0.05, 0.5)),
    tail=st.booleans(),
    batch=st.sampled_from((1, 2)),
)
def test_switches_change_nothing(seed: int, turns: tuple[bool, ...], tolerance: float, tail: bool, batch: int) -> None:
    script = type("Script", (_Script,), {"turns": turns})
    frames = [x for x in _frames(seed, 10, batch) if tolerance == 0 or np.isfinite(x).all()]
    with mock.patch.object(paced, "Pace", script), MODELS[tail].stream(tolerance) as stream:
        _check(MODELS[tail], stream, frames, tolerance)


@examples(30)
@given(seed=st.integers(0, 10_000), every=st.integers(1, 5), tolerance=st.sampled_from((0.0, 0.05, 0.5)))
def test_refreshes_change_nothing(seed: int, every: int, tolerance: float) -> None:
    frames = [x for x in _frames(seed, 10, 1) if np.isfinite(x).all()]
    with MODELS[True].stream(tolerance, refresh_every=every, never_slower=False) as stream:
        assert _check(MODELS[True], stream, frames, tolerance) == -(-len(frames) // every)


@examples(30)
@given(seed=st.integers(0, 10_000), start=st.sampled_from((0.05, 0.3)), target=st.sampled_from((0.5, 0.9, 0.999)))
def test_audits_refresh_at_the_tolerance_that_they_choose(seed: int, start: float, target: float) -> None:
    """After an audit the stream is one that began with the audited frame, at the tolerance that it now has."""
    model, frames = MODELS[False], _frames(seed, 40, 1)
    frames = [x for x in frames if np.isfinite(x).all()]
    with model.stream(start, audit_every=1, audit_budget=1.0, target=target, never_slower=False) as stream:
        fresh = stream
        for x in frames:
            outputs = stream(x)
            if stream.last.dense:
                assert same_bits(outputs["y"], model.run(x)["y"])
                fresh = model.stream(stream.tolerance, never_slower=False)
            assert same_bits(outputs["y"], fresh(x)["y"])
