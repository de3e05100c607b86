"""Files as people have them: rotated and odd-sized videos, pictures of every kind, and what is broken."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.errors import InputError, SourceError
from reconv.recipes.sources import Patience, Reader, open_source, read_picture
from reconv.recipes.sources.reader import Connection
from reconv.recipes.sources.tidied import tidied
from reconv.recipes.sources.video import camera

Picture = NDArray[np.uint8]
HEIGHT, WIDTH = 48, 80


@pytest.fixture
def picture() -> Picture:
    """Smooth colours, with a corner that tells which way is up: uint8 (48, 80, 3), BGR."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([x * 2, y * 4, 255 - x - y], 2).astype(np.uint8)
    image[:12, :20] = (0, 0, 255)
    return image


def write_clip(path: Path, picture: Picture, codec: str, pixels: str, *, count: int = 12, turn: int = 0) -> Path:
    """A clip of `count` equal pictures; `turn` is written into its display matrix, in degrees."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], pixels
        if turn:
            stream.set_display_rotation(turn)
        for _ in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def frames_of(path: Path) -> list[Any]:
    source = open_source(str(path))
    frames: list[Any] = list(source.frames())
    assert source.shape == frames[0].shape[:2]
    assert source.count in (None, len(frames))
    return frames


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_a_turned_video_is_upright(picture: Picture, tmp_path: Path, turn: int) -> None:
    frames = frames_of(write_clip(tmp_path / "phone.mp4", picture, "libx264", "yuv444p", turn=turn))
    upright = np.rot90(picture, turn // 90).astype(int)  # the matrix's angle is counter-clockwise
    assert len(frames) == 12
    for frame in frames:
        assert frame.shape == upright.shape
        assert np.abs(frame - upright).mean() < 6
    assert np.abs(frames[0] - np.rot90(upright, 2)).mean() > 30  # and would not fit the other way round


@pytest.mark.parametrize(("name", "codec", "pixels"), [("a.avi", "mjpeg", "yuvj420p"), ("b.mkv", "ffv1", "yuv420p")])
def test_odd_sizes_are_kept(picture: Picture, tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    odd = cv2.resize(picture, (401, 299))
    frames = frames_of(write_clip(tmp_path / name, odd, codec, pixels))  # type: ignore[arg-type]
    assert len(frames) == 12
    assert frames[0].shape == (299, 401, 3)
    assert np.abs(frames[0].astype(int) - odd).mean() < 6


@pytest.mark.parametrize(("codec", "pixels"), [("ffv1", "gray"), ("ffv1", "yuv420p10le"), ("ffv1", "bgra")])
def test_videos_of_other_depths_become_bytes(picture: Picture, tmp_path: Path, codec: str, pixels: str) -> None:
    frames = frames_of(write_clip(tmp_path / "clip.mkv", picture, codec, pixels))
    expected = picture
    if pixels == "gray":
        expected = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)  # type: ignore[assignment]
    assert frames[0].dtype == np.uint8
    assert np.abs(frames[0].astype(int) - expected).mean() < 6


def test_an_animated_gif_is_a_video(picture: Picture, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    stills = [image.fromarray(np.roll(picture, 8 * k, 1)[..., ::-1]) for k in range(5)]
    stills[0].save(tmp_path / "a.gif", save_all=True, append_images=stills[1:], duration=100, loop=0)
    frames = frames_of(tmp_path / "a.gif")
    assert len(frames) == 5
    for k, frame in enumerate(frames):
        assert np.abs(frame - np.roll(picture, 8 * k, 1).astype(int)).mean() < 16  # 256 colours


def written(picture: Picture, path: Path, kind: str) -> Picture:
    """Writes a picture of a kind, and gives what should be read."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    alpha = np.concatenate([picture, np.full((HEIGHT, WIDTH, 1), 90, np.uint8)], 2)
    expected: dict[str, tuple[Any, Any]] = {
        "grey": (grey, np.repeat(grey[..., None], 3, 2)),
        "alpha": (alpha, picture),
        "deep": (picture.astype(np.uint16) * 257, picture),
        "deep grey": (grey.astype(np.uint16) * 257, np.repeat(grey[..., None], 3, 2)),
    }
    assert cv2.imwrite(str(path), expected[kind][0])
    return np.asarray(expected[kind][1])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("kind", ["grey", "alpha", "deep", "deep grey"])
def test_pictures_of_all_kinds_have_three_bytes_a_pixel(
    picture: Picture, tmp_path: Path, suffix: str, kind: str
) -> None:
    expected = written(picture, tmp_path / f"one{suffix}", kind)
    (found,) = frames_of(tmp_path / f"one{suffix}")
    np.testing.assert_array_equal(found, expected)


def test_the_colours_of_print_become_those_of_screens(picture: Picture, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(picture[..., ::-1]).convert("CMYK").save(tmp_path / "print.jpg", quality=97)
    found = read_picture(tmp_path / "print.jpg")
    assert found.shape == picture.shape
    assert np.abs(found.astype(int) - picture).mean() < 6


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_pictures_own_orientation_is_applied(picture: Picture, tmp_path: Path, suffix: str) -> None:
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[274] = 6  # the camera was held so that the top is at the right
    image.fromarray(picture[..., ::-1]).save(tmp_path / f"held{suffix}", exif=exif)
    found = read_picture(tmp_path / f"held{suffix}")
    assert found.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(found - np.rot90(picture, -1).astype(int)).mean() < 6


def test_a_folder_may_hold_pictures_of_several_sizes(picture: Picture, tmp_path: Path) -> None:
    for k, size in enumerate([(80, 48), (40, 24), (80, 48)]):
        cv2.imwrite(str(tmp_path / f"{k}.png"), cv2.resize(picture, size))
    source = open_source(str(tmp_path))
    shapes = [np.shape(frame)[:2] for frame in source.frames()]  # type: ignore[arg-type]
    assert source.shape == (48, 80)
    assert shapes == [(48, 80), (24, 40), (48, 80)]


def test_a_damaged_picture_in_a_video_is_left_out(picture: Picture, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", picture, "png", "rgb24")
    whole = frames_of(path)
    data = bytearray(path.read_bytes())
    fifth = [place for place in range(len(data)) if data[place : place + 4] == b"\x89PNG"][4]
    data[fifth : fifth + 100] = bytes(100)
    path.write_bytes(data)
    notes: list[str] = []
    frames = list(open_source(str(path), say=notes.append).frames())
    assert len(whole) - 2 <= len(frames) < len(whole)
    np.testing.assert_array_equal(frames[-1], whole[-1])


def test_a_video_that_was_cut_off_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    path = tmp_path / "clip.avi"
    write_clip(path, noise, "mjpeg", "yuvj420p", count=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    notes: list[str] = []
    source = open_source(str(path), say=notes.append)
    if source.count is None:  # an .avi's count may come from its index, which is gone
        pytest.fail("no count to compare with")
    count = sum(1 for _ in source.frames())
    assert 10 < count < 50
    assert notes == [f"{path} has {count} of the 60 frames that it promises; is it cut off or damaged?"]


def broken(tmp_path: Path, picture: Picture) -> dict[str, Path]:
    """Files that are not what their names say."""
    good = write_clip(tmp_path / "good.mp4", picture, "libx264", "yuv444p").read_bytes()
    cv2.imwrite(str(tmp_path / "good.png"), picture)
    cv2.imwrite(str(tmp_path / "good.jpg"), picture)
    png, jpg = (tmp_path / "good.png").read_bytes(), (tmp_path / "good.jpg").read_bytes()
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 255
    contents = {
        "empty.mp4": b"",
        "text.mp4": b"hello, world\n" * 40,
        "letters.txt": b"hello, world\n" * 40,
        "cut.mp4": good[: len(good) // 2],  # its table of contents was at the end
        "list.m3u8": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n",
        "empty.png": b"",
        "text.png": b"hello, world\n" * 40,
        "cut.png": png[: len(png) // 2],
        "damaged.png": bytes(damaged),
        "huge.png": png[:16] + b"\x7f\xff\xff\xff" * 2 + png[24:],
        "cut.jpg": jpg[:200],
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    return {**{name: tmp_path / name for name in contents}, "folder": tmp_path / "folder", "none": tmp_path / "none"}


OPEN = """
import sys
from reconv.errors import SourceError
from reconv.recipes.sources import open_source
for path in sys.argv[1:]:
    try:
        open_source(path)
    except SourceError as error:
        print(error)
"""


def test_what_is_broken_is_one_line_and_nothing_else_is_said(picture: Picture, tmp_path: Path) -> None:
    paths = broken(tmp_path, picture)
    # a process of its own: FFmpeg reads how much to say once, at the first video that OpenCV opens for anyone
    command = [sys.executable, "-c", OPEN, *map(str, paths.values())]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = ended.stdout.splitlines()
    assert len(lines) == len(paths)
    for name, line in zip(paths, lines, strict=True):
        assert name in line
    assert ended.stderr == ""  # of the libraries as well, which write past Python


def test_a_profile_that_a_library_dislikes_is_not_mentioned(
    picture: Picture, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(picture[..., ::-1]).save(tmp_path / "odd.png", icc_profile=bytes(200))
    np.testing.assert_array_equal(read_picture(tmp_path / "odd.png"), picture)
    cv2.imwrite(str(tmp_path / "odd.jpg"), picture)
    data = (tmp_path / "odd.jpg").read_bytes()
    expected = read_picture(tmp_path / "odd.jpg")
    place = data.index(b"\xff\xdb")
    (tmp_path / "odd.jpg").write_bytes(data[:place] + bytes(69) + data[place:])
    np.testing.assert_array_equal(read_picture(tmp_path / "odd.jpg"), expected)
    assert capfd.readouterr() == ("", "")


def test_tidying_changes_no_picture(picture: Picture, tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".bmp"):
        cv2.imwrite(str(tmp_path / f"one{suffix}"), picture)
        data = (tmp_path / f"one{suffix}").read_bytes()
        assert tidied(data) == data
    for stump in (b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0\xff"):
        assert tidied(stump).startswith(b"\xff\xd8")
    with pytest.raises(ValueError, match="middle of a chunk"):
        tidied(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("name", ["a.png", "clip.npy", "pictures", "pictures/a.png"])
def test_what_may_not_be_read_is_one_line(picture: Picture, tmp_path: Path, name: str) -> None:
    (tmp_path / "pictures").mkdir()
    for file in (tmp_path / "a.png", tmp_path / "pictures" / "a.png"):
        cv2.imwrite(str(file), picture)
    np.save(tmp_path / "clip.npy", picture[None])
    root = os.geteuid() == 0  # who may read everything
    for path in (tmp_path, *tmp_path.parents):
        if root and path.owner() == "root" and not path.stat().st_mode & 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    (tmp_path / name).chmod(0)
    if "/" in name:
        (tmp_path / "pictures").chmod(0)
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(SourceError, match=f"{name} cannot be read: Permission denied$"):
            open_source(str(tmp_path / name))
    finally:
        if root:
            os.seteuid(0)
        (tmp_path / "pictures").chmod(0o755)


class FakeCamera:
    """Three frames, then its cable is pulled; the next one gives frames again."""

    made = itertools.count()

    def __init__(self, source: int | str) -> None:
        self.left = 3
        self.there = source == 7 and next(FakeCamera.made) != 1  # away at the second try

    def isOpened(self) -> bool:  # noqa: N802 -- OpenCV's name
        return self.there

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return (True, np.full((4, 6, 3), self.left, np.uint8)) if self.left >= 0 else (False, None)

    def get(self, prop: int) -> float:
        return 25.0

    def set(self, prop: int, value: float) -> bool:
        return True

    def release(self) -> None:
        self.there = False


def test_a_camera_that_goes_away_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    notes: list[str] = []
    source = open_source("7", Patience(reconnect_seconds=5), notes.append)
    assert (source.name, source.shape, source.rate) == ("camera 7", (4, 6), 25.0)
    frames = source.frames()
    next(frames)
    assert source.reader is not None
    while source.reader.received < 6:
        source.reader.wait()
    frames.close()  # type: ignore[attr-defined]
    assert notes[0] == "camera 7: it ended; trying again for 5 s"
    assert notes[1].startswith("camera 7 is back after ")
    with pytest.raises(SourceError, match="camera 8 cannot be opened"):
        camera("camera 8", 8, Patience(), notes.append).source()


def _reads(name: str) -> bool:
    return any(thread.name == f"reader of {name}" for thread in threading.enumerate())


def test_a_camera_that_is_not_waited_for_any_more_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while its first frame is waited for."""

    def pressed(_self: Reader) -> None:
        assert _reads("camera 7")
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeCamera, "made", itertools.count(2))
    monkeypatch.setattr(FakeCamera, "read", lambda _self: (True, np.zeros((4, 6, 3), np.uint8)))
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    monkeypatch.setattr(Reader, "_first", pressed)
    with pytest.raises(KeyboardInterrupt):
        open_source("7")
    assert not _reads("camera 7")


@pytest.mark.parametrize("fails", [True, False])
def test_a_reader_is_over_when_its_source_has_failed_too(fails: bool) -> None:
    """And says why, so that one of several can be told from the others."""

    def pictures() -> Generator[Callable[[], NDArray[Any]]]:
        for k in range(3):
            yield lambda k=k: np.full((4, 6, 3), k, np.uint8)  # type: ignore[misc]
        if fails:
            raise SourceError("cam: its cable is cut")

    reader = Reader("cam", lambda: Connection(False, None, 3, pictures()), Patience(0), lambda _note: None)
    source, seen = reader.source(), []
    assert reader.settled
    assert (reader.over, reader.error) == (False, None)
    while not reader.over:
        if (taken := reader.poll()) is not None:
            seen.append(taken[0])
        reader.wait()
    assert seen == [0, 1, 2]
    assert reader.poll() is None
    assert (str(reader.error) == "cam: its cable is cut") if fails else (reader.error is None)
    if fails:
        with pytest.raises(SourceError, match="its cable is cut"):
            list(source.frames())


@pytest.mark.parametrize(("reconnect", "timeout"), [(-1, 1), (float("nan"), 1), (1, 0), (1, float("inf"))])
def test_patience_has_limits(reconnect: float, timeout: float) -> None:
    with pytest.raises(InputError, match="expected seconds"):
        Patience(reconnect, timeout)


@pytest.mark.parametrize(
    "text",
    ["ftp://127.0.0.1/a.mp4", "http://", "rtsp:///door", "://x", "http://[::1/x", "rtsp://me:secret@do\u2100or/1"],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(SourceError, match=r"sources come by rtsp|names no host|is not an address") as raised:
        open_source(text)
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None  # Python's words have the password


def test_frames_are_the_same_however_often_one_looks(picture: Picture, tmp_path: Path) -> None:
    first, *others = frames_of(write_clip(tmp_path / "clip.mkv", picture, "ffv1", "bgr0"))
    for frame in (first, *others):
        np.testing.assert_array_equal(frame, picture)
