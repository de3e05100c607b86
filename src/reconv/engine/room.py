"""Memory that is asked for and not there: an error of reconv's own tree, before the machine is driven to its end.

A file of a few bytes can ask for maps of any size. What a plan needs is known before anything is allocated, so it is
compared with what the machine has at all. What is free at the moment says less: the system gives memory back when it
is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from reconv.errors import InputError, one_line

__all__ = ["check_room", "memory_bytes", "no_room", "room"]

CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@cache
def memory_bytes(limits: tuple[Path, ...] = CGROUPS) -> int:
    """Memory of the machine, or what the cgroup leaves of it; 0 where neither can be told."""
    found = []
    with suppress(ValueError, OSError, AttributeError):  # not on every system
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in limits:
        with suppress(ValueError, OSError):  # no such file, or "max"
            found.append(int(limit.read_text(encoding="utf-8")))
    return max(min(found, default=0), 0)


def check_room(needed_bytes: int, what: str, there_bytes: int | None = None) -> None:
    """Compare what is needed with the machine's memory, or with ``there_bytes``.

    Raises:
        InputError: it is more than there is.
    """
    there = memory_bytes() if there_bytes is None else there_bytes
    if 0 < there < needed_bytes:
        raise InputError(
            f"{what} needs {needed_bytes / 1e9:.1f} GB of memory, and there are {there / 1e9:.1f} GB; "
            "run the model at smaller sizes"
        )


@contextmanager
def room(what: str) -> Iterator[None]:
    """Within, memory that runs out is an InputError about ``what``."""
    try:
        yield
    except MemoryError as error:
        raise no_room(what, error) from error


def no_room(what: str, error: Exception) -> InputError:
    """What is raised where memory ran out for ``what``."""
    return InputError(f"there is not enough memory for {what}: {one_line(error)}")
