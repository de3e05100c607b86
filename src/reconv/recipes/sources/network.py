"""Sources behind an address: rtsp, http and what FFmpeg reads through them (MJPEG, MPEG-TS, mp4 and more), by PyAV.

RTSP goes over TCP: packets that UDP loses become smeared pictures, which a stream would take for motion. What has a
length is a file and is read whole; what has none is live. A video is turned upright as its file says.
"""

from __future__ import annotations

import errno
import importlib
import re
from collections.abc import Callable, Generator
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np
from numpy.typing import NDArray

from reconv.errors import MissingError, SourceError, one_line
from reconv.recipes.sources.reader import Connection, NeverError, Patience, Reader

__all__ = ["SCHEMES", "address", "parts_of", "shown"]

SCHEMES = ("rtsp", "rtsps", "http", "https")
PICTURES = re.compile(r"image2|gif|apng|.*_pipe")  # formats that hold a picture or a few, and know of no length
PROBE_SECONDS = 2  # for finding out what the streams are; FFmpeg's 5 would be lost at every return
WEB = ("http", "https")


def pyav() -> Any:
    """The module av. Raises MissingError when it is not installed."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise MissingError("streams over a network need PyAV: pip install 'reconv[video]'") from error


def shown(url: str) -> str:
    """An address without its password, for everything that is printed or written."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)


def parts_of(url: str) -> SplitResult:
    """An address taken apart. Raises SourceError when it is none, as one with half of a bracket."""
    try:
        return urlsplit(url)
    except ValueError:
        # without Python's words, also as the cause: they may hold the password
        raise SourceError(f"{shown(url)} is not an address: which host it names cannot be told") from None


def address(url: str, patience: Patience, say: Callable[[str], None]) -> Reader:
    """Begins to open an address. Raises SourceError when it is none, MissingError without PyAV."""
    av = pyav()
    if not parts_of(url).netloc:
        raise SourceError(f"{shown(url)} names no host")
    return Reader(shown(url), partial(_connect, av, url, patience), patience, say)


def _options(url: str, patience: Patience) -> dict[str, str]:
    options = {"analyzeduration": str(PROBE_SECONDS * 1_000_000)}
    scheme = parts_of(url).scheme
    if scheme.startswith("rtsp"):
        options |= {"rtsp_transport": "tcp", "allowed_media_types": "video", "user_agent": "reconv"}
    if scheme in WEB:
        options["user_agent"] = "reconv"
        if patience.reconnect_seconds >= 1:  # a file goes on at the byte where it was cut off
            options |= {"reconnect": "1", "reconnect_delay_max": str(int(patience.reconnect_seconds))}
    return options


def _connect(av: Any, url: str, patience: Patience) -> Connection:
    name = shown(url)
    try:
        container = av.open(url, options=_options(url, patience), timeout=patience.timeout_seconds)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _mishap(av, name, error, patience, "no connection; is the host's name right?") from error
    if not container.streams.video:
        container.close()
        raise NeverError(f"{name} holds no video")
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # threads by frame would be as many frames late
    length = (container.duration or 0) / 1e6
    file = length > 0 or PICTURES.fullmatch(container.format.name) is not None
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    rate_or_none = rate if 0 < rate <= 1000 else None
    count = stream.frames or (round(length * rate) if rate_or_none else 0)
    pictures = _pictures(av, name, container, stream, patience)
    return Connection(not file, rate_or_none, (count or None) if file else None, pictures)


def _pictures(
    av: Any, name: str, container: Any, stream: Any, patience: Patience
) -> Generator[Callable[[], NDArray[Any]]]:
    converter = av.video.reformatter.VideoReformatter()
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:  # the middle of a picture whose start we missed
                continue
            for frame in frames:
                yield partial(_upright, converter, frame)
    except (av.FFmpegError, OSError) as error:
        if not isinstance(error, av.error.EOFError):
            raise _mishap(av, name, error, patience, "the connection broke off") from error
    finally:
        container.close()


def _upright(converter: Any, frame: Any) -> NDArray[Any]:
    """uint8 (H, W, 3) in BGR, turned as the file says: `rotation` is in degrees, counter-clockwise."""
    picture = converter.reformat(frame, format="bgr24").to_ndarray()
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90) % 4))


def _mishap(av: Any, name: str, error: Exception, patience: Patience, broken: str) -> SourceError:
    """A foreign error as one of ours, and whether another try could help. `broken`: what FFmpeg means by an error of
    input or output."""
    if isinstance(error, av.error.ExitError):  # by the timeout that we asked for
        return SourceError(f"{name}: no answer for {patience.timeout_seconds:g} s")
    if getattr(error, "errno", None) == errno.EIO:
        return SourceError(f"{name}: {broken}")
    text = one_line(Exception(getattr(error, "strerror", None) or str(error)))
    for_good = (
        av.error.HTTPClientError,  # not there, or not for us
        av.error.ProtocolNotFoundError,
        av.error.DecoderNotFoundError,
        av.error.DemuxerNotFoundError,
    )
    never = isinstance(error, for_good) or not isinstance(error, (av.FFmpegError, OSError))
    if isinstance(error, av.error.InvalidDataError):  # by RTSP it may have been cut off in its greeting
        never = name.startswith(WEB)
    kind = NeverError if never else SourceError
    return kind(f"{name}: {text[:1].lower()}{text[1:]}")
