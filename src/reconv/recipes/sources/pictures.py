"""Pictures: one file, or a folder of them.

Whatever the file holds, a picture is uint8 (H, W, 3) in BGR: grey has three equal channels, an alpha channel is left
out, 16 bits a colour become 8, and the orientation that a camera wrote into the file is applied. Of a file
of several pages the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.errors import SourceError
from reconv.recipes.sources.quiet import quiet_opencv
from reconv.recipes.sources.source import Frame, Source
from reconv.recipes.sources.tidied import tidied

__all__ = ["PICTURES", "folder", "one_picture", "picture_files", "read_picture"]

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def picture_files(path: Path) -> list[Path]:
    """The pictures in a folder in the order of their names, numbers in them as numbers."""

    def order(file: Path) -> list[tuple[int, int, str]]:
        parts = re.findall(r"\d+|\D+", file.name)
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]

    return sorted((p for p in path.iterdir() if p.suffix.lower() in PICTURES), key=order)


def read_picture(file: Path) -> NDArray[Any]:
    """uint8 (H, W, 3) in BGR. Raises SourceError when it cannot be read, MissingError without OpenCV."""
    cv2 = quiet_opencv()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from error
    try:
        picture = cv2.imdecode(np.frombuffer(tidied(data), np.uint8), cv2.IMREAD_COLOR) if data else None
    except (cv2.error, ValueError):  # sizes beyond what it decodes, a PNG that is not whole
        picture = None
    if picture is None:
        raise SourceError(f"{file}: not a picture that can be read")
    return np.asarray(picture)


def one_picture(path: Path) -> Source:
    """A file as a source of one frame."""
    picture = read_picture(path)
    return Source(str(path), (picture.shape[0], picture.shape[1]), None, 1, lambda: iter([picture]))


def folder(path: Path) -> Source:
    """The pictures of a folder, of any sizes. Raises SourceError when it holds none or the first cannot be read."""
    try:
        files = picture_files(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not files:
        raise SourceError(f"{path} holds no pictures ({', '.join(PICTURES)})")
    first = read_picture(files[0])

    def frames() -> Iterator[Frame]:
        yield first
        for file in files[1:]:
            yield read_picture(file)

    return Source(str(path), (first.shape[0], first.shape[1]), None, len(files), frames)
