"""What commands share for talking to the user: two consoles, sizes as text, and the interrupt that waits its turn."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console

from reconv.errors import InputError

__all__ = [
    "Interrupt",
    "console",
    "in_bytes",
    "json_text",
    "number",
    "parse_shapes",
    "parse_size",
    "print_json",
    "waiting_interrupt",
]

PIPE_WIDTH = 200  # where there is no terminal whose width could be asked


def console(*, stderr: bool = False) -> Console:
    """A console on today's stdout or stderr; in a pipe no colours, and lines wide enough for the tables."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else PIPE_WIDTH)


def json_text(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False)


def print_json(value: Any) -> None:
    print(json_text(value))


def number(value: float) -> str:
    """A count with a unit prefix and three digits: 1234567 -> 1.23M."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{unit}" if abs(value) < 999.5 * scale else f"{value / scale:.0f}{unit}"
    return f"{value:g}"


def in_bytes(count: float) -> str:
    return f"{number(count)}B"


def parse_size(text: str | None) -> tuple[int, int] | None:
    """ "576x768" (height x width) as (576, 768). Raises InputError."""
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(f"--size is height x width, as in 576x768; got {text!r}")
    return int(height), int(width)


def parse_shapes(texts: list[str]) -> Mapping[str, tuple[int, ...]]:
    """["images=1x3x480x640"] as {"images": (1, 3, 480, 640)}. Raises InputError."""
    shapes = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        parts = sizes.lower().split("x") if sizes else []
        if not name or not all(part.isdecimal() for part in parts):
            raise InputError(f"--shape is name=sizes, as in images=1x3x480x640; got {text!r}")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


class Interrupt:
    """Becomes true when Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.came = False

    def __bool__(self) -> bool:
        return self.came


@contextmanager
def waiting_interrupt() -> Iterator[Interrupt]:
    """Inside, the first Ctrl-C only sets the flag, so that a frame is finished and written whole; a second one raises
    KeyboardInterrupt at once."""
    interrupt = Interrupt()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if interrupt.came:
            raise KeyboardInterrupt
        interrupt.came = True

    try:
        before = signal.signal(signal.SIGINT, on_signal)
    except ValueError:  # not the main thread: Ctrl-C does not come here
        yield interrupt
        return
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
