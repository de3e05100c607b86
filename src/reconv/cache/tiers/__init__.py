"""The table of tiers below the memory: one line each."""

from __future__ import annotations

from collections.abc import Callable

from reconv.cache.tiers.disk import DiskTier
from reconv.cache.tiers.redis import RedisTier
from reconv.cache.tiers.tier import Tier

__all__ = ["TIERS", "DiskTier", "RedisTier", "Tier"]

TIERS: dict[str, Callable[..., Tier]] = {
    "disk": DiskTier,
    "redis": RedisTier,
}
