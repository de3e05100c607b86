"""The byte limit under every policy, over the request loop."""

from __future__ import annotations

import pytest

from reconv.cache.ledger import Ledger
from reconv.cache.policies import POLICIES, Key
from reconv.cache.policies.lru import LRU
from tests.property.ledgers import LedgerMachine, assert_fails, run


@pytest.mark.parametrize("policy", POLICIES)
def test_byte_limit_under_any_requests(policy: str) -> None:
    run(lambda: LedgerMachine(POLICIES[policy]), 40)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_larger_than_the_cache_evicts_nothing(policy: str) -> None:
    ledger = Ledger(100, POLICIES[policy])
    for key in range(10):
        assert ledger.insert(key, 10, 1.0) == []
    assert ledger.insert("large", 101, 1.0) is None
    assert ledger.sizes == dict.fromkeys(range(10), 10)
    assert ledger.insert("whole", 100, 1.0) is not None
    assert ledger.sizes == {"whole": 100}


# --- the machine can fail ---


class Wasteful(Ledger):
    """Evicts one more than it has to."""

    def insert(self, key: Key, size: int, cost: float, *, admitted: bool = False) -> list[Key] | None:
        left = super().insert(key, size, cost, admitted=admitted)
        return [*left, self._evict()] if left and len(self.sizes) > 2 else left


class Miscounting(Ledger):
    """Forgets to count what is put in place of something smaller."""

    def remove(self, key: Key) -> None:
        super().remove(key)
        self.bytes -= 1


@pytest.mark.parametrize("mistaken", [Wasteful, Miscounting])
def test_the_machine_sees_a_wrong_loop(mistaken: type[Ledger]) -> None:
    def machine() -> LedgerMachine:
        wrong = LedgerMachine(LRU)
        wrong.ledger = mistaken(100, LRU)
        return wrong

    assert_fails(machine)
