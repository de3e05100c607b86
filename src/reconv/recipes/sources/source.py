"""What a source of frames is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from reconv.recipes.sources.reader import Reader
    from reconv.recipes.wav import Sound

__all__ = ["Frame", "Source"]

Frame = NDArray[Any] | dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Source:
    """Frames to come. `shape` is the (height, width) of the first, None when they are not pictures; others may have
    another one. `count` is None when unknown. `sound` is the sound that the frames are blocks of. `reader` is who reads
    ahead, for sources that come by a network or a cable."""

    name: str
    shape: tuple[int, int] | None
    rate: float | None
    count: int | None
    frames: Callable[[], Iterator[Frame]]  # once only: a camera cannot be rewound
    sound: Sound | None = None
    reader: Reader | None = None
