"""What a cache did so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["CacheStats"]


@dataclass
class CacheStats:
    """Counts since the cache was made.

    hits: found here. hits_below: found in the tier below. shared: another thread was computing it. misses: not found
    here (those of `hits_below` and `shared` are among them). refused: not taken in. seconds_saved: costs of what was
    found or shared. seconds_keeping: spent on looking up, taking in and evicting, by sampling; what callers add for
    hashing and copying (`reconv.cached`) is in it.
    """

    policy: str = ""
    hits: int = 0
    hits_below: int = 0
    shared: int = 0
    misses: int = 0
    insertions: int = 0
    refused: int = 0
    evictions: int = 0
    entries: int = 0
    bytes: int = 0
    seconds_saved: float = 0.0
    seconds_keeping: float = 0.0

    @property
    def hit_ratio(self) -> float:
        """Share of the requests that were found here; 0 before the first."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0

    def copy(self, **changes: Any) -> CacheStats:
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"hit_ratio": self.hit_ratio}
