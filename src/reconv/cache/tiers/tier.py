"""What a tier below the memory is: bytes by name, kept where other processes or machines may see them."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Tier"]


class Tier(Protocol):
    """Base of the table TIERS. A tier that is down, slow, full or damaged costs a miss, never an error for the caller.

    Names are short, payloads are whatever `pack` made; a payload that comes back is the one that was put, or None. The
    caller checks it again: `unpack` finds damage. May be called from several threads.
    """

    def get(self, name: bytes) -> bytes | None:
        """The payload; None when it is not here, or cannot be had in time."""
        ...

    def put(self, name: bytes, payload: bytes) -> None:
        """Keep it if that can be done; a payload larger than the tier is not kept and evicts nothing."""
        ...

    def delete(self, name: bytes) -> bool:
        """Forget it; whether it was here, as far as can be known."""
        ...

    def clear(self) -> None: ...

    def close(self) -> None: ...

    @property
    def failures(self) -> int:
        """How often the medium failed so far, every one of them a miss or a value not kept."""
        ...
