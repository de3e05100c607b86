"""Where frames come from: a video file, a camera, a folder of pictures, an .npy or .npz file.

Pictures are uint8 (H, W, 3) in BGR, as OpenCV gives them. A file of arrays gives one frame per entry of its first axis:
uint8 (N, H, W, 3) are pictures, anything else goes to the network as it is; an .npz with several arrays gives them by
name, for models with several inputs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconv.errors import SourceError, one_line
from reconv.recipes.pixels import opencv

__all__ = ["PICTURES", "Frame", "Source", "open_source", "picture_files", "read_picture"]

Frame = NDArray[Any] | dict[str, NDArray[Any]]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True)
class Source:
    """Frames to come. `shape` is their (height, width), None when they are not pictures; `count` None when unknown."""

    name: str
    shape: tuple[int, int] | None
    rate: float | None
    count: int | None
    frames: Callable[[], Iterator[Frame]]  # once only: a camera cannot be rewound


def open_source(text: str) -> Source:
    """A source by what the user wrote: a number is a camera, a folder holds pictures, the rest goes by its suffix.

    Raises SourceError when it is not there or cannot be read, MissingError without OpenCV for video and pictures.
    """
    if text.isdecimal():
        return _camera(int(text))
    path = Path(text)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise SourceError(f"no such file or folder: {text} (a camera is given by its number)")
    if path.suffix.lower() in (".npy", ".npz"):
        return _arrays(path)
    return _video(path)


def _capture(what: str, source: int | str) -> Any:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # it would speak to the user in its own words
    cv2 = opencv()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        raise SourceError(f"{what} cannot be opened")
    return capture


def _captured(name: str, capture: Any, count: int | None) -> Source:
    cv2 = opencv()
    ok, first = capture.read()  # the header may promise what the data does not hold
    if not ok:
        raise SourceError(f"{name} has no frames that can be read")

    def frames() -> Iterator[Frame]:
        try:
            frame, more = first, True
            while more:
                yield frame
                more, frame = capture.read()
        finally:
            capture.release()

    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return Source(name, first.shape[:2], rate if 0 < rate <= 1000 else None, count, frames)


def _video(path: Path) -> Source:
    capture = _capture(f"{path}: not a video, or one that", str(path))
    count = int(capture.get(opencv().CAP_PROP_FRAME_COUNT))
    return _captured(str(path), capture, count if count > 0 else None)


def _camera(index: int) -> Source:
    return _captured(f"camera {index}", _capture(f"camera {index}", index), None)


def picture_files(path: Path) -> list[Path]:
    """The pictures in a folder in the order of their names, numbers in them as numbers."""

    def order(file: Path) -> list[tuple[int, int, str]]:
        parts = re.findall(r"\d+|\D+", file.name)
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]

    return sorted((p for p in path.iterdir() if p.suffix.lower() in PICTURES), key=order)


def read_picture(file: Path) -> NDArray[Any]:
    """uint8 (H, W, 3) in BGR. Raises SourceError when it cannot be read, MissingError without OpenCV."""
    picture = opencv().imread(str(file), opencv().IMREAD_COLOR)
    if picture is None:
        raise SourceError(f"{file}: not a picture that can be read")
    return np.asarray(picture)


def _folder(path: Path) -> Source:
    files = picture_files(path)
    if not files:
        raise SourceError(f"{path} holds no pictures ({', '.join(PICTURES)})")
    shape = read_picture(files[0]).shape

    def frames() -> Iterator[Frame]:
        for file in files:
            picture = read_picture(file)
            if picture.shape != shape:
                sizes = f"{picture.shape[0]}x{picture.shape[1]}, {files[0].name} has {shape[0]}x{shape[1]}"
                raise SourceError(f"{file} has {sizes}: a stream needs pictures of one size")
            yield picture

    return Source(str(path), (shape[0], shape[1]), None, len(files), frames)


def _arrays(path: Path) -> Source:
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: not an array file that can be read: {one_line(error)}") from error
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or 0 in counts:
        shapes = ", ".join(f"{name or 'array'} {array.shape}" for name, array in arrays.items()) or "nothing"
        raise SourceError(f"{path}: arrays need one first axis, that of the frames; it holds {shapes}")
    (count,) = counts
    if len(arrays) > 1:
        return Source(
            str(path), None, None, count, lambda: ({n: a[k] for n, a in arrays.items()} for k in range(count))
        )
    (array,) = arrays.values()
    pictures = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3
    return Source(str(path), array.shape[1:3] if pictures else None, None, count, lambda: iter(array))
