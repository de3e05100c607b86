"""Where frames come from: videos, cameras, streams over a network, pictures, files of arrays,
sounds.

Pictures are uint8 (H, W, 3) in BGR, as OpenCV gives them. A file of arrays gives one frame per entry of its first axis:
uint8 (N, H, W, 3) are pictures, anything else goes to the network as it is; an .npz with several arrays gives them by
name, for models with several inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reconv.errors import SourceError
from reconv.recipes.sources.arrays import array_file
from reconv.recipes.sources.network import SCHEMES, address, parts_of, shown
from reconv.recipes.sources.pictures import PICTURES, folder, one_picture, picture_files, read_picture
from reconv.recipes.sources.reader import Patience, Reader, stop_all
from reconv.recipes.sources.source import Frame, Source
from reconv.recipes.sources.video import camera, video_file
from reconv.recipes.wav import SOUNDS, open_wav

__all__ = [
    "FILES",
    "PICTURES",
    "Frame",
    "Patience",
    "Reader",
    "Source",
    "open_source",
    "parts_of",
    "picture_files",
    "read_picture",
    "shown",
    "start_source",
    "stop_all",
]


def _sound(path: Path) -> Source:
    sound = open_wav(path)
    return Source(sound.name, None, None, None, sound.blocks, sound)


FILES: dict[str, Callable[[Path], Source]] = {  # by suffix; what is not here is tried as a video
    ".npy": array_file,
    ".npz": array_file,
    **dict.fromkeys(PICTURES, one_picture),
    **dict.fromkeys(SOUNDS, _sound),
}


def open_source(text: str, patience: Patience | None = None, say: Callable[[str], None] = lambda _note: None) -> Source:
    """A source by what the user wrote: a number is a camera, what has :// in it an address, a folder holds pictures,
    the rest goes by its suffix. Waits for the first frame.

    Args:
        text: as above.
        patience: with cameras and addresses that go away; None is 30 seconds.
        say: is told in one line what the user of a long run wants to know: a source went away, came back, was cut off.

    Raises:
        SourceError: it is not there or cannot be read.
        MissingError: no OpenCV for video and pictures, no PyAV for addresses.
    """
    begun = start_source(text, patience, say)
    return begun.source() if isinstance(begun, Reader) else begun


def start_source(
    text: str, patience: Patience | None = None, say: Callable[[str], None] = lambda _note: None
) -> Source | Reader:
    """As `open_source`, without waiting for what may be long in coming: of a camera or an address it gives the reader,
    whose thread opens it meanwhile, and whose errors are told there.

    Raises:
        SourceError: a file is not there or cannot be read, an address is none.
        MissingError: as `open_source`.
    """
    patience = patience or Patience()
    if text.isdecimal():
        return camera(f"camera {text}", int(text), patience, say)
    if "://" in text:
        scheme = parts_of(text).scheme.lower()
        if scheme not in SCHEMES:
            raise SourceError(f"{shown(text)}: sources come by {', '.join(SCHEMES)}, not by {scheme or 'that'}")
        return address(text, patience, say)
    path = Path(text)
    try:
        if path.is_dir():
            return folder(path)
        if path.is_char_device():
            return camera(text, text, patience, say)
        if not path.is_file():
            raise SourceError(f"no such file or folder: {text} (a camera is given by its number)")
        with path.open("rb") as file:  # in words of our own, before a library tries
            if not file.read(1):
                raise SourceError(f"{text} is empty")
    except OSError as error:
        raise SourceError(f"{text} cannot be read: {error.strerror}") from error
    known = FILES.get(path.suffix.lower())
    return known(path) if known else video_file(path, say)
