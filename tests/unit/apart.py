"""Run a function in a fresh process of its own, where memory, limits and CPU seconds are nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns; its exceptions are raised here, and BrokenProcessPool if the process dies."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _pages(field: int) -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[field])


def address_space_bytes() -> int:
    """Of this process, reserved or used: what RLIMIT_AS limits."""
    return 4096 * _pages(0)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return 4096 * _pages(1)
