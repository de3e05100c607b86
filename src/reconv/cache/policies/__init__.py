"""The table of eviction policies: one line each."""

from __future__ import annotations

from collections.abc import Callable

from reconv.cache.policies.arc import ARC
from reconv.cache.policies.auto import Auto
from reconv.cache.policies.fifo import FIFO
from reconv.cache.policies.gdsf import GDSF
from reconv.cache.policies.lfu import LFU
from reconv.cache.policies.lru import LRU
from reconv.cache.policies.policy import Key, Policy
from reconv.cache.policies.s3fifo import S3FIFO
from reconv.cache.policies.sieve import SIEVE
from reconv.cache.policies.wtinylfu import WTinyLFU

__all__ = ["POLICIES", "Key", "Policy"]

_SINGLE: dict[str, Callable[[int], Policy]] = {
    "fifo": FIFO,
    "lru": LRU,
    "lfu": LFU,
    "arc": ARC,
    "sieve": SIEVE,
    "s3fifo": S3FIFO,
    "wtinylfu": WTinyLFU,
    "gdsf": GDSF,
}


def _auto(capacity_bytes: int) -> Policy:
    return Auto(capacity_bytes, _SINGLE, first="arc")


POLICIES: dict[str, Callable[[int], Policy]] = {**_SINGLE, "auto": _auto}
