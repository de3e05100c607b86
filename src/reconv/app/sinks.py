"""Where results go: JSON lines, an .npz file, an annotated video. Whatever was written before `close` is valid."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from reconv.errors import MissingError, SourceError, one_line
from reconv.recipes import Recipe
from reconv.recipes.pixels import opencv

__all__ = ["Answer", "Sink", "VideoWriter", "open_sink", "tint"]

RATE = 10.0  # of a video whose source has no rate of its own
STALE_COLOUR = (60, 60, 235)  # blue, green, red


@dataclass(frozen=True)
class Answer:
    """One frame and what came of it.

    `index` is its number in the source, `place` its place in time among the frames that were asked for; `recipe` is for
    frames of its size; `stale` (H, W) of the frame says which of its pixels moved, None if unknown.
    """

    index: int
    place: int
    frame: Any
    recipe: Recipe
    outputs: Mapping[str, NDArray[Any]]
    result: Any
    recomputed: float
    stale: NDArray[np.bool_] | None = None


class Sink(Protocol):
    def write(self, answer: Answer) -> None: ...

    def close(self) -> None: ...


def open_sink(text: str | None, rate: float | None, pictures: bool, source: str | None = None) -> Sink:
    """A sink by the suffix of its file; "-" is JSON lines on stdout, None keeps nothing. `source` is named in every
    line, where several share one output. Raises SourceError."""
    if text is None:
        return Nothing()
    suffix = Path(text).suffix.lower()
    if text != "-" and suffix not in (".jsonl", ".npz", ".mp4"):
        raise SourceError(f"--output {text}: the suffix says what to write: .jsonl, .npz or .mp4 (or - for stdout)")
    if suffix == ".mp4" and not pictures:
        raise SourceError("--output .mp4 needs a source of pictures")
    try:
        if text == "-" or suffix == ".jsonl":
            return JsonLines(sys.stdout if text == "-" else open(text, "w", encoding="utf-8"), source)
        return Npz(Path(text)) if suffix == ".npz" else Annotated(Path(text), rate or RATE)
    except OSError as error:
        raise SourceError(f"--output {text} cannot be written: {error.strerror or one_line(error)}") from error


class Nothing:
    def write(self, answer: Answer) -> None:
        pass

    def close(self) -> None:
        pass


class JsonLines:
    """One line per frame: {"frame", "recomputed", "result"}, after {"source"} where that was named."""

    def __init__(self, file: TextIO, source: str | None = None) -> None:
        self._file = file
        self._start: dict[str, Any] = {} if source is None else {"source": source}

    def write(self, answer: Answer) -> None:
        result = answer.recipe.to_json(answer.result)
        line = {**self._start, "frame": answer.index, "recomputed": round(answer.recomputed, 6), "result": result}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()  # whoever follows the file sees every frame

    def close(self) -> None:
        if self._file is not sys.stdout:
            self._file.close()


class Npz:
    """The network's outputs, one array (frames, ...) per output, with "frame" (the indices) and "recomputed".

    Outputs wait in files of their own until `close`, so a long run needs no more memory than a short one.
    """

    def __init__(self, path: Path) -> None:
        self._target = path.open("wb")
        self._folder = tempfile.TemporaryDirectory(prefix=".reconv-", dir=path.parent)
        self._files: dict[str, Any] = {}
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._frames: list[int] = []
        self._recomputed: list[float] = []

    def write(self, answer: Answer) -> None:
        for name, array in answer.outputs.items():
            kind = array.dtype, array.shape
            if self._kinds.setdefault(name, kind) != kind:
                raise SourceError(f"output {name} changed its shape to {array.shape}: .npz needs one shape, use .jsonl")
            if name not in self._files:
                path = Path(self._folder.name) / str(len(self._files))
                self._files[name] = path.open("w+b")
            self._files[name].write(np.ascontiguousarray(array).tobytes())
        self._frames.append(answer.index)
        self._recomputed.append(answer.recomputed)

    def close(self) -> None:
        with self._target, zipfile.ZipFile(self._target, "w", zipfile.ZIP_STORED) as archive:
            for name, values in (
                ("frame", np.array(self._frames, np.int64)),
                ("recomputed", np.array(self._recomputed)),
            ):
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, values)
            for name, file in self._files.items():
                dtype, shape = self._kinds[name]
                header = {
                    "descr": np.lib.format.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": (len(self._frames), *shape),
                }
                file.seek(0)
                with archive.open(f"{name.replace('/', '_')}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_2_0(member, header)
                    shutil.copyfileobj(file, member)
                file.close()
        self._folder.cleanup()


class VideoWriter:
    """H.264 in .mp4 from uint8 (H, W, 3) BGR pictures, through PyAV. The first one says how large the video is: an odd
    last row or column is cut, and pictures of other sizes are scaled to fit, in the middle of black."""

    def __init__(self, path: Path, rate: float) -> None:
        try:
            import av  # noqa: PLC0415 -- only who writes video needs it
        except ImportError as error:
            raise MissingError("writing video needs PyAV: pip install 'reconv[video]'") from error
        self._av: Any = av
        path.open("wb").close()  # an OSError of the user's path, not one of the library's words
        self._container: Any = av.open(str(path), "w")
        self._rate = Fraction(rate).limit_denominator(1001)
        self._stream: Any = None
        self._first: tuple[int, int] = (0, 0)
        self._next = 0

    def write(self, picture: NDArray[Any], place: int | None = None) -> None:
        """`place`: in time, counted in frames; later than the last one. None is the next: a gap shows the last picture
        for longer."""
        if self._stream is None:
            self._first = (picture.shape[0], picture.shape[1])
            if min(self._first) < 2:
                raise SourceError(f"pictures of {self._first[0]}x{self._first[1]} are too small for a video")
            self._stream = self._container.add_stream("libx264", rate=self._rate)
            self._stream.height, self._stream.width = (extent // 2 * 2 for extent in self._first)
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": "20", "preset": "veryfast"}
        height, width = self._stream.height, self._stream.width
        fitted = np.ascontiguousarray(_fitted(picture, self._first)[:height, :width])
        frame = self._av.VideoFrame.from_ndarray(fitted, format="bgr24")
        frame.pts, frame.time_base = self._next if place is None else place, 1 / self._rate
        self._next = frame.pts + 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()


class Annotated:
    """The frames with the results drawn on them; stale pixels tinted where the answer has them."""

    def __init__(self, path: Path, rate: float) -> None:
        self._video = VideoWriter(path, rate)

    def write(self, answer: Answer) -> None:
        self._video.write(_shown(answer), answer.place)

    def close(self) -> None:
        self._video.close()


def _shown(answer: Answer) -> NDArray[Any]:
    """The frame with the result drawn on it, or the picture that the result is; what moved is tinted in either."""
    frame = answer.frame if answer.stale is None else tint(answer.frame, answer.stale)
    picture = answer.recipe.draw(frame, answer.result)
    if answer.stale is None or picture.shape == frame.shape:
        return picture
    rows, columns = (np.arange(n) * m // n for n, m in zip(picture.shape, frame.shape[:2], strict=False))
    return tint(picture, answer.stale[rows[:, None], columns])


def _fitted(picture: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """The picture, scaled to fit into the middle of black where its (height, width) is another."""
    if picture.shape[:2] == size:
        return picture
    ratio = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = (
        max(1, min(most, round(extent * ratio))) for extent, most in zip(picture.shape, size, strict=False)
    )
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    whole = np.zeros((*size, 3), np.uint8)
    whole[top : top + height, left : left + width] = opencv().resize(picture, (width, height))
    return whole


def tint(frame: NDArray[Any], stale: NDArray[np.bool_]) -> NDArray[Any]:
    """A copy of the frame (H, W, 3) with the stale pixels (H, W) half red."""
    picture = frame.copy()
    picture[stale] = picture[stale] // 2 + np.array(STALE_COLOUR, np.uint8) // 2
    return picture
