"""A cached model equals the model bit for bit: whatever is asked, in any order, on several threads, aside or not."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconv.cache.policies import POLICIES
from reconv.cache.store import Cache
from reconv.engine import Model, load
from reconv.engine.tail import same_bits
from reconv.reuse.cached import cached
from tests.property.profiles import examples
from tests.unit.small import Array, cnn, frame, text

PICTURES = 7
MODELS = {
    "items": cnn(tail=True),
    "items of any size": cnn(),
    "mixes items": text("""g (float[n,3,h,w] x) => (float[n,3,h,w] y) <int64[1] axes = {0}> {
        m = ReduceMean <axes = [0]> (x)
        y = Sub(x, m)
    }"""),
}
Batch = tuple[int, ...]


@cache
def model(name: str) -> Model:
    return load(MODELS[name], threads=1)


def inputs(batch: Batch) -> Array:
    """Pictures by number; odd ones differ from the one before in the last pixel alone."""
    pictures = []
    for number in batch:
        picture = frame(10, 12, seed=number // 2)
        if number % 2:
            picture[0, -1, -1, -1] = np.nan
        pictures.append(picture)
    return np.concatenate(pictures)


@cache
def expected(name: str, batch: Batch) -> Mapping[str, Any]:
    return model(name).run(inputs(batch))


def check(name: str, batch: Batch, found: Mapping[str, Any]) -> None:
    right = expected(name, batch)
    assert list(found) == list(right)
    for output, value in right.items():
        assert same_bits(found[output], value), (name, batch, output)


batches = st.lists(st.integers(0, PICTURES - 1), min_size=1, max_size=5).map(tuple)
capacities = st.sampled_from([1, 1_500, 5_000, 1_000_000])


@examples(150)
@given(
    name=st.sampled_from(sorted(MODELS)),
    policy=st.sampled_from(sorted(POLICIES)),
    capacity=capacities,
    requests=st.lists(st.tuples(batches, st.booleans(), st.booleans()), max_size=25),
)
def test_any_sequence_of_requests(
    name: str, policy: str, capacity: int, requests: list[tuple[Batch, bool, bool]]
) -> None:
    """A request: a batch, whether the cache stands aside just then, and whether the caller scribbles on the outputs."""
    store = Cache(capacity, policy)
    fast = cached(model(name), store)
    for batch, aside, scribbles in requests:
        fast._worth.aside = aside
        found = fast.run(inputs(batch))
        check(name, batch, found)
        assert store.bytes <= capacity
        if scribbles:
            for value in found.values():
                value[:] = 7
    stats = fast.stats
    assert stats.requests == len(requests)
    assert stats.items == stats.hits + stats.computed
    assert stats.passed_by <= stats.computed
    if name != "mixes items":
        assert stats.items == sum(len(batch) for batch, _, _ in requests)


@examples(40)
@given(
    name=st.sampled_from(sorted(MODELS)),
    capacity=capacities,
    scripts=st.lists(st.lists(batches, min_size=1, max_size=8), min_size=2, max_size=4),
)
def test_any_requests_of_several_threads(name: str, capacity: int, scripts: list[list[Batch]]) -> None:
    """No caller waits for ever, and what fits is computed once in all."""
    fast = cached(model(name), Cache(capacity, "lru"), may_step_aside=False)
    for script in scripts:
        for batch in script:
            expected(name, batch)
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(scripts))

    def work(script: list[Batch]) -> None:
        try:
            barrier.wait()
            for batch in script:
                check(name, batch, fast.run(inputs(batch)))
        except BaseException as error:  # raised in the test's thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(script,), daemon=True) for script in scripts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "two callers wait for each other"
    if failures:
        raise failures[0]
    stats = fast.stats
    assert stats.items == stats.hits + stats.computed
    if capacity == 1_000_000:
        asked = [batch for script in scripts for batch in script]
        entries = set(asked) if name == "mixes items" else {number for batch in asked for number in batch}
        assert stats.computed == len(entries)


def test_the_check_can_fail() -> None:
    with pytest.raises(AssertionError):
        check("items", (0, 1), expected("items", (1, 0)))
