"""Generated traffic is what its name says: by its counts, sizes and costs, not by eye."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from reconv.cache import WORKLOADS, generate, replay
from reconv.cache.mobilenet import BLOCKS
from reconv.cache.trace import next_uses
from reconv.errors import CacheError


def counts(text: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.bincount(generate(text).keys)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload(name: str) -> None:
    one, again, other = (generate(f"{name}:requests=4321,seed={seed}") for seed in (5, 5, 6))
    assert len(one) == len(other) == 4321
    for column in ("keys", "sizes", "costs"):
        np.testing.assert_array_equal(getattr(one, column), getattr(again, column))
    assert not all(np.array_equal(getattr(one, column), getattr(other, column)) for column in ("keys", "sizes"))
    for key in np.unique(one.keys)[:50]:
        assert len(np.unique(one.sizes[one.keys == key])) == 1  # a key is one value
        assert len(np.unique(one.costs[one.keys == key])) == 1
    low, high = (5e6, 100e6) if name == "camera" else (1e4, 2e6)
    assert low <= one.sizes.min() <= one.sizes.max() <= high
    assert 1e-5 < one.costs.min() <= one.costs.max() < 0.1
    assert len(generate(f"{name}:requests=1")) == 1
    assert {"requests", "seed"} <= inspect.signature(WORKLOADS[name]).parameters.keys()
    assert WORKLOADS[name].__doc__


def test_zipf_follows_the_ranks() -> None:
    found = counts("zipf:requests=200000,objects=100,alpha=1")
    expected = 200_000 / np.arange(1, 101) / np.sum(1 / np.arange(1, 101))
    assert np.abs(found / expected - 1).max() < 0.15
    assert np.abs(counts("zipf:requests=200000,objects=10,alpha=0") / 20_000 - 1).max() < 0.05


def test_scan_passes_over_what_never_comes_again() -> None:
    keys = generate("scan:requests=9000,objects=50,every=1000,length=500").keys.reshape(-1, 1500)
    assert (keys[:, :1000] < 50).all()
    once = keys[:, 1000:].ravel()
    assert once.tolist() == list(range(50, 50 + 3000))


def test_loop_is_every_sample_once_an_epoch() -> None:
    assert generate("loop:requests=25,objects=10").keys.tolist() == [*range(10), *range(10), *range(5)]
    epochs = generate("loop:requests=40,objects=10,shuffle=true").keys.reshape(4, 10)
    assert (np.sort(epochs, 1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4


def test_drift_moves_the_favourite() -> None:
    keys = generate("drift:requests=40000,objects=400,speed=0.01").keys
    favourites = [int(np.bincount(part).argmax()) for part in np.split(keys, 40)]
    assert favourites == pytest.approx(np.arange(40) * 10 + 5, abs=6)
    still = generate("drift:requests=4000,objects=400,speed=0").keys
    assert np.bincount(still[:2000]).argmax() == np.bincount(still[2000:]).argmax() == 0


def test_mixture_has_its_shares() -> None:
    keys = generate("mixture:requests=20000,objects=100,looping=0.3,once=0.2").keys
    looping, once = keys[(keys >= 100) & (keys < 200)] - 100, keys[keys >= 200]
    assert looping.tolist() == (np.arange(len(looping)) % 100).tolist()
    assert len(np.unique(once)) == len(once)
    assert len(looping) / 20_000 == pytest.approx(0.3, abs=0.02)
    assert len(once) / 20_000 == pytest.approx(0.2, abs=0.02)


def test_crawler_brings_one_time_visitors() -> None:
    found = counts("crawler:requests=20000,objects=100,once=0.8")
    assert (found == 1).sum() / 20_000 == pytest.approx(0.8, abs=0.02)


def test_cameras_run_at_their_rate_and_pause() -> None:
    trace = generate("camera:requests=20000,streams=20,fps=10,seconds_on=20,seconds_off=60")
    assert trace.times is not None
    assert (np.diff(trace.times) >= 0).all()
    pauses, rates, duty = [], [], []
    for stream in range(20):
        gaps = np.diff(trace.times[trace.keys == stream])
        rates.append(np.median(gaps))
        pauses.append(gaps[gaps > 0.15].mean())
        duty.append((gaps <= 0.15).sum() * 0.1 / trace.times[-1])
    assert rates == pytest.approx(np.full(20, 0.1))
    assert 40 < np.mean(pauses) < 90
    assert 0.18 < np.mean(duty) < 0.32
    assert len(np.unique(trace.sizes)) == 4  # resolutions


def test_sweep_shares_prefixes() -> None:
    """A candidate asks block by block, and two candidates share exactly what comes before the first change."""
    samples, depth = 3, len(BLOCKS)
    trace = generate(f"sweep:requests={40 * samples * depth},samples={samples},accepted=0")
    paths = trace.keys.reshape(40, samples, depth)
    first = paths[0]
    assert len(np.unique(first)) == samples * depth
    shared = (paths == first).all(1)
    lengths = shared.sum(1)
    assert (shared == (np.arange(depth) < lengths[:, None])).all()  # once apart, never together again
    assert {0, depth} < set(lengths.tolist())
    assert trace.costs[:depth].sum() == pytest.approx(sum(block.multiply_adds for block in BLOCKS) / 50e9)
    moving = generate(f"sweep:requests={40 * samples * depth},samples={samples},accepted=1").keys.reshape(40, -1)
    next_to, apart = ((moving[:-gap] == moving[gap:]).mean() for gap in (1, 20))
    assert 2 * apart < next_to < 0.9  # the search moves away from where it began


def test_the_network_is_mobilenet_v2() -> None:
    """300.8 million multiply-adds with the classifier's 1.28 million, which is no map."""
    assert sum(block.multiply_adds for block in BLOCKS) == 300_774_272 - 1_280_000
    assert [block.map_bytes for block in BLOCKS[:2]] == [4 * 112 * 112 * 32, 4 * 112 * 112 * 16]
    assert BLOCKS[-1].map_bytes == 4 * 7 * 7 * 1280


def test_policies_can_be_told_apart() -> None:
    """Each kind of traffic is hard for somebody: that is what they are for."""

    def ratio(text: str, policy: str) -> float:
        trace = generate(text)
        return replay(trace.keys, policy=policy, capacity_bytes=100).hit_ratio

    assert ratio("loop:requests=10000,objects=150", "lru") == 0 < ratio("loop:requests=10000,objects=150", "belady")
    assert ratio("scan:requests=20000,objects=200", "arc") > ratio("scan:requests=20000,objects=200", "lru") + 0.02
    assert (
        ratio("crawler:requests=20000,objects=300", "arc") > ratio("crawler:requests=20000,objects=300", "lru") + 0.02
    )
    assert next_uses(generate("crawler:requests=100,once=1").keys).tolist() == [100] * 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("poisson", "no workload is called 'poisson'; there are zipf, scan"),
        ("zipf:size=3", "zipf has no parameter 'size'; it has requests, objects, alpha, seed"),
        ("zipf:objects=many", "objects is a whole number, got 'many'"),
        ("zipf:alpha=steep", "alpha is a number, got 'steep'"),
        ("loop:shuffle=1", "shuffle is true or false, got '1'"),
        ("zipf:objects", "objects is a whole number, got ''"),
        ("zipf:requests=0", "requests is 0, expected a whole number from 1 up"),
        ("zipf:seed=-1", "seed is -1"),
        ("zipf:alpha=-1", "alpha is -1"),
        ("zipf:alpha=nan", "alpha is nan"),
        ("drift:speed=inf", "speed is inf"),
        ("mixture:looping=0.8,once=0.3", "two shares whose sum is at most 1"),
        ("crawler:once=nan", "two shares"),
        ("camera:fps=0", "fps is 0.0, expected a number above 0"),
        ("camera:seconds_off=-1", "seconds_off is -1"),
        ("sweep:accepted=2", "accepted is 2.0, expected a probability"),
        ("sweep:samples=0", "samples is 0"),
        ("scan:every=0", "every is 0"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    with pytest.raises(CacheError, match=said):
        generate(text)
