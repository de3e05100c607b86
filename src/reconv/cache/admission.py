"""Who is taken in at all, whatever leaves: apart from the policies, so that any goes with any."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconv.cache.policies.policy import Key

__all__ = ["ADMISSIONS", "Admission", "Second"]


class Admission(Protocol):
    """Asked once for every key that is not held and about to be inserted."""

    def admits(self, key: Key, size: int, cost: float) -> bool: ...


class Second:
    """Takes in what is asked for a second time: one-time visitors leave no trace but their name.

    The last `memory` names are remembered.
    """

    def __init__(self, memory: int = 16384) -> None:
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self._memory = memory

    def admits(self, key: Key, size: int, cost: float) -> bool:
        if key in self._seen:
            del self._seen[key]
            return True
        self._seen[key] = None
        if len(self._seen) > self._memory:
            self._seen.popitem(last=False)
        return False


ADMISSIONS: dict[str, Callable[[], Admission] | None] = {"all": None, "second": Second}
