"""Every line of TIERS: keeps bytes by name and shares them with whoever uses the same medium."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconv.cache.packing import pack, unpack
from reconv.cache.store import Cache
from reconv.cache.tiers import TIERS, DiskTier, RedisTier, Tier
from reconv.errors import CacheError
from tests.servers import RedisServer
from tests.unit.apart import apart

Opener: TypeAlias = Callable[[], Tier]
MIB = 1 << 20
TIMEOUT = 5.0  # here nothing is slow, but the machine may be


def _disk(address: str) -> Tier:
    return DiskTier(address, 64 * MIB, timeout_seconds=TIMEOUT)


def _redis(address: str) -> Tier:
    return RedisTier(address, timeout_seconds=TIMEOUT)


# how to open each tier of the table on the medium with this address
OPEN: dict[str, Callable[[str], Tier]] = {"disk": _disk, "redis": _redis}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis"))
    yield running
    running.stop()


@pytest.fixture(params=sorted(TIERS))
def name_and_address(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A tier of the table, and the address of an empty medium for it."""
    if request.param == "disk":
        return request.param, str(tmp_path / "tier")
    server: RedisServer = request.getfixturevalue("server")
    server.command("FLUSHALL")
    return request.param, server.url


@pytest.fixture
def opened(name_and_address: tuple[str, str]) -> Iterator[Opener]:
    """Opens one more tier on the same empty medium; at the end none of them may have seen a failure."""
    name, address = name_and_address
    tiers: list[Tier] = []

    def one_more() -> Tier:
        tiers.append(OPEN[name](address))
        return tiers[-1]

    yield one_more
    for tier in tiers:
        tier.close()
    assert [tier.failures for tier in tiers] == [0] * len(tiers)


def test_the_suite_covers_the_table() -> None:
    assert OPEN.keys() == TIERS.keys()


def test_put_get_overwrite_delete_clear(opened: Opener) -> None:
    tier = opened()
    assert tier.get(b"a") is None
    assert tier.delete(b"a") is False
    tier.put(b"a", b"one")
    tier.put(b"b", b"two")
    assert (tier.get(b"a"), tier.get(b"b")) == (b"one", b"two")
    tier.put(b"a", b"a longer one")
    assert tier.get(b"a") == b"a longer one"
    tier.put(b"a", b"")
    assert tier.get(b"a") == b""
    assert tier.delete(b"a") is True
    assert tier.delete(b"a") is False
    assert (tier.get(b"a"), tier.get(b"b")) == (None, b"two")
    tier.clear()
    assert tier.get(b"b") is None
    tier.put(b"b", b"again")
    assert tier.get(b"b") == b"again"


NAMES = st.binary(max_size=3) | st.sampled_from(
    [b"", b"*", b"a*", b"[a]", b"\\", b"\x00", b"\xff" * 200, bytes(range(256))]
)
Steps: TypeAlias = list[tuple[int, str, bytes, bytes]]
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["get", "put", "delete"]), NAMES, st.binary(max_size=20))
    | st.tuples(st.integers(0, 1), st.just("clear"), st.just(b""), st.just(b"")),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_tiers_on_one_medium_are_one_dictionary(name_and_address: tuple[str, str], steps: Steps) -> None:
    name, address = name_and_address
    tiers, right = [OPEN[name](address) for _ in range(2)], dict[bytes, bytes]()
    tiers[0].clear()
    for which, what, key, payload in steps:
        tier = tiers[which]
        if what == "put":
            tier.put(key, payload)
            right[key] = payload
        elif what == "delete":
            assert tier.delete(key) == (right.pop(key, None) is not None)
        elif what == "clear":
            tier.clear()
            right.clear()
        assert tier.get(key) == right.get(key)
    for key, payload in right.items():
        assert [tier.get(key) for tier in tiers] == [payload, payload]
    for tier in tiers:
        tier.close()
        assert tier.failures == 0


def test_large_values(opened: Opener) -> None:
    tier = opened()
    payload = np.random.default_rng(1).bytes(9 * MIB)
    tier.put(b"large", payload)
    tier.put(b"small", b"x")
    assert tier.get(b"large") == payload
    tier.put(b"large", payload[::-1])
    assert tier.get(b"large") == payload[::-1]
    assert tier.get(b"small") == b"x"


def test_what_is_too_large_is_not_kept_and_evicts_nothing(opened: Opener) -> None:
    tier = opened()
    tier.put(b"old", b"x")
    tier.put(b"name", b"small")
    tier.put(b"name", bytes(513 * MIB))  # more than Redis takes, and than the disk tier of this suite
    assert tier.get(b"name") is None, "neither the new value nor the old one"
    assert tier.get(b"old") == b"x"


def _contents(name: bytes, version: int) -> bytes:
    return pack(np.full(500 + version, version), 1.0, name)


def test_many_threads(opened: Opener) -> None:
    tiers = [opened(), opened()]
    wrong: list[object] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(60):
            tier, name = tiers[random.integers(2)], b"name %d" % random.integers(5)
            what, version = random.integers(5), int(random.integers(100))
            if what == 0:
                tier.delete(name)
            elif what < 3:
                tier.put(name, _contents(name, version))
            elif (payload := tier.get(name)) is not None:
                found = unpack(payload, name)
                if found is None or len(set(found.value.tolist())) != 1 or found.value[0] != found.value.size - 500:
                    wrong.append(payload)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def _use_elsewhere(tier_name: str, address: str) -> tuple[bytes | None, int]:
    tier = OPEN[tier_name](address)
    seen = tier.get(b"ours")
    tier.put(b"theirs", b"from there")
    tier.delete(b"deleted there")
    tier.close()
    return seen, tier.failures


def test_another_process_sees_it(opened: Opener, name_and_address: tuple[str, str]) -> None:
    tier = opened()
    tier.put(b"ours", b"from here")
    tier.put(b"deleted there", b"x")
    assert apart(_use_elsewhere, *name_and_address) == (b"from here", 0)
    assert tier.get(b"theirs") == b"from there"
    assert tier.get(b"deleted there") is None


def _use_in_forked_children(tier_name: str, address: str) -> list[int]:
    """Exit codes of children that use the tier that their parent has open and uses at the same time."""
    tier = OPEN[tier_name](address)
    tier.put(b"common", b"parent")
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            own = b"child %d" % number
            good = tier.get(b"common") == b"parent"
            for turn in range(20):
                tier.put(own, b"%d" % turn)
                good = good and tier.get(own) == b"%d" % turn
            os._exit(0 if good and tier.failures == 0 else 1)
        children.append(child)
    mine = True
    for turn in range(50):
        tier.put(b"mine", b"%d" % turn)
        mine = mine and tier.get(b"mine") == b"%d" % turn
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    theirs = all(tier.get(b"child %d" % number) == b"19" for number in range(4))
    tier.close()
    return [*codes, 0 if mine and theirs and tier.failures == 0 else 1]


def test_forked_children_have_connections_of_their_own(name_and_address: tuple[str, str]) -> None:
    assert apart(_use_in_forked_children, *name_and_address) == [0] * 5


def test_after_close_everything_is_a_miss(opened: Opener) -> None:
    tier, other = opened(), opened()
    tier.put(b"a", b"one")
    tier.close()
    tier.close()
    assert tier.get(b"a") is None
    tier.put(b"a", b"two")
    tier.put(b"b", b"two")
    assert tier.delete(b"a") is False
    tier.clear()
    assert (other.get(b"a"), other.get(b"b")) == (b"one", None)


def test_a_cache_finds_what_another_one_computed(opened: Opener) -> None:
    value = {"map": np.arange(6, dtype=np.float32).reshape(2, 3), "label": "cat"}
    first, second = Cache(MIB, "lru", below=opened()), Cache(MIB, "lru", below=opened())
    assert first.compute("key", lambda: value) is value
    found = second.compute("key", dict[str, Any])
    np.testing.assert_array_equal(found["map"], value["map"])
    assert found["label"] == "cat"
    assert second.get(b"key") is None, "text and bytes are different keys"
    assert (second.stats.hits_below, second.stats.misses) == (1, 2)
    assert second.stats.seconds_saved > 0
    del second["key"]
    assert "key" in first, "the memory of another cache is its own"
    assert Cache(MIB, "lru", below=opened()).get("key") is None


@pytest.mark.parametrize("tier", sorted(TIERS))
@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_a_timeout_is_above_0(tier: str, timeout: float, tmp_path: Path) -> None:
    arguments = {"disk": (tmp_path, MIB), "redis": ("redis://127.0.0.1:1",)}[tier]
    with pytest.raises(CacheError, match=r"timeout_seconds is .*, expected a number above 0"):
        TIERS[tier](*arguments, timeout_seconds=timeout)
