"""Streams by RTSP and HTTP from servers on this machine, which die, return, change, or never come."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reconv.errors import SourceError
from reconv.recipes.sources import Patience, Source, open_source, shown
from tests.unit.recipes.servers import Http, Rtsp, a_file, encoded, endless, motion_jpeg, silence

SHORT = Patience(reconnect_seconds=10, timeout_seconds=2)
COUNT = 24


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """A bright square that walks over a grey ground: uint8 (24, 64, 96, 3)."""
    frames = np.full((COUNT, 64, 96, 3), 40, np.uint8)
    for k, frame in enumerate(frames):
        frame[8:40, 2 * k : 2 * k + 32] = 250
    return frames


def number(frame: Any) -> int:
    """Which of the pictures a frame is, by where its square stands."""
    left = int(np.argmax(frame[12:36].mean((0, 2)) > 145))
    return round(left / 2)


def taken(source: Source, count: int, meanwhile: Callable[[int], None] = lambda _count: None) -> list[Any]:
    """So many frames; `meanwhile` is told after each how many there are."""
    frames = []
    for frame in source.frames():
        frames.append(frame)
        meanwhile(len(frames))
        if len(frames) == count:
            break
    return frames


@pytest.mark.parametrize("layout", ["", "faststart"])
def test_a_file_on_a_web_server_is_read_whole(pictures: NDArray[np.uint8], layout: str, tmp_path: Path) -> None:
    data = encoded(pictures, "mp4", movflags=layout) if layout else encoded(pictures, "mp4")
    with Http(clip=a_file(data)) as server:
        source = open_source(server.url("clip.mp4"), SHORT)
        time.sleep(0.3)  # a live stream would have dropped by now
        frames: list[Any] = list(source.frames())
    assert (source.shape, source.rate, source.count) == ((64, 96), 30.0, COUNT)
    assert [number(frame) for frame in frames] == list(range(COUNT))
    assert source.reader is not None
    assert (source.reader.dropped, source.reader.reconnects, source.reader.received) == (0, 0, COUNT)
    assert "User-Agent: reconv" in server.seen[0]
    (tmp_path / "clip.mp4").write_bytes(data)
    local: list[Any] = list(open_source(str(tmp_path / "clip.mp4")).frames())
    for one, other in zip(frames, local, strict=True):
        assert np.abs(np.subtract(one, other, dtype=int)).mean() < 3  # two libraries, one picture


def test_a_download_that_is_cut_goes_on_where_it_was(pictures: NDArray[np.uint8]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, pictures.shape, np.uint8)
    data = encoded(noise, "mp4", movflags="faststart")
    with Http(clip=a_file(data, cut=len(data) // 2)) as server:
        frames = list(open_source(server.url("clip.mp4"), SHORT).frames())
        assert len(frames) == COUNT
        assert any("Range: bytes=" in head and "Range: bytes=0-" not in head for head in server.seen)


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_a_turned_video_on_a_web_server_is_as_upright_as_a_local_one(tmp_path: Path, turn: int) -> None:
    y, x = np.mgrid[:48, :80]
    picture = np.stack([x * 3, y * 5, 255 - x - y], 2).astype(np.uint8)
    with av.open(str(tmp_path / "phone.mp4"), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 80, "yuv444p"
        stream.set_display_rotation(turn)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    with Http(phone=a_file((tmp_path / "phone.mp4").read_bytes())) as server:
        source = open_source(server.url("phone.mp4"), SHORT)
        (found,) = source.frames()
    (local,) = open_source(str(tmp_path / "phone.mp4")).frames()
    assert isinstance(found, np.ndarray)
    assert found.shape[:2] == source.shape == local.shape[:2]  # type: ignore[union-attr]
    assert np.abs(found - local.astype(int)).mean() < 6  # type: ignore[union-attr]


def test_a_picture_on_a_web_server_is_one_frame(pictures: NDArray[np.uint8]) -> None:
    with Http(snapshot=a_file(cv2.imencode(".jpg", pictures[3])[1].tobytes())) as server:
        frames = list(open_source(server.url("snapshot.jpg"), SHORT).frames())
    assert [number(frame) for frame in frames] == [3]


def test_of_motion_jpeg_the_newest_frame_is_taken_and_the_others_are_counted(pictures: NDArray[np.uint8]) -> None:
    with Http(cam=motion_jpeg(lambda: itertools.cycle(pictures), seconds=0.02)) as server:
        source = open_source(server.url("cam"), SHORT)
        assert source.reader is not None
        frames = taken(source, 6, lambda _count: time.sleep(0.2))
    assert all(frame.shape == (64, 96, 3) for frame in frames)
    assert source.reader.dropped > 6
    assert source.reader.dropped + len(frames) <= source.reader.received
    steps = np.diff([number(frame) for frame in frames]) % COUNT
    assert (steps > 2).all()  # a slow taker does not fall behind


def test_who_is_fast_enough_gets_every_frame(pictures: NDArray[np.uint8]) -> None:
    with Http(cam=motion_jpeg(lambda: itertools.cycle(pictures), seconds=0.1)) as server:
        source = open_source(server.url("cam"), SHORT)
        numbers = [number(frame) for frame in taken(source, 12)][2:]  # the first come in a rush
    assert (np.diff(numbers) % COUNT == 1).all()


def test_mpeg_ts_without_a_length_is_live(pictures: NDArray[np.uint8]) -> None:
    data = encoded(np.concatenate([pictures] * 8), "mpegts")
    with Http(tv=endless(data)) as server:
        source = open_source(server.url("tv.ts"), SHORT)
        assert source.count is None
        assert source.reader is not None
        assert source.reader.live
        assert len(taken(source, 8)) == 8


def test_rtsp_gives_the_cameras_pictures(pictures: NDArray[np.uint8]) -> None:
    with Rtsp(pictures) as server:
        source = open_source(server.url, SHORT)
        frames = taken(source, 12)
        assert source.shape == (64, 96)
        for frame in frames:
            assert np.abs(frame - pictures[number(frame)].astype(int)).mean() < 6
        assert any("interleaved" in head for head in server.seen)  # over TCP
        assert any("User-Agent: reconv" in head for head in server.seen)


@pytest.mark.parametrize("size", [(64, 96), (96, 64)])
def test_a_camera_that_dies_and_returns_goes_on(pictures: NDArray[np.uint8], size: tuple[int, int]) -> None:
    """Also when it returns with another size."""
    notes: list[str] = []
    with Rtsp(pictures) as server:

        def pull_the_plug(count: int) -> None:
            if count == 5:
                server.stop()
                server.frames = pictures if size == (64, 96) else np.ascontiguousarray(pictures.transpose(0, 2, 1, 3))
                threading.Timer(0.3, server.start).start()

        source = open_source(server.url, SHORT, notes.append)
        frames = taken(source, 15, pull_the_plug)
        assert source.reader is not None
        assert source.reader.reconnects == 1
        assert frames[0].shape == (64, 96, 3)
        assert frames[-1].shape == (*size, 3)
        assert notes[0].startswith(f"{server.url}: ")
        assert notes[0].endswith("; trying again for 10 s")
        assert notes[1].startswith(f"{server.url} is back after ")
        assert len(notes) == 2


def test_a_camera_that_dies_for_good_ends_after_its_frames(pictures: NDArray[np.uint8]) -> None:
    frames = []
    with Http(cam=motion_jpeg(lambda: iter(pictures[:9]))) as server:
        source = open_source(server.url("cam"), Patience(reconnect_seconds=0.8, timeout_seconds=1))

        def pull_the_plug(count: int) -> None:
            frames.append(count)
            if count == 4:
                server.stop()

        with pytest.raises(SourceError, match="connection refused, and opening it again did not help for 1 s"):
            taken(source, 100, pull_the_plug)
    assert len(frames) >= 4


def test_silence_is_an_end_too() -> None:
    with Http(cam=silence) as server:
        start = time.monotonic()
        with pytest.raises(SourceError, match=r"no answer for 0.5 s$"):
            open_source(server.url("cam"), Patience(0, 0.5))
        assert time.monotonic() - start < 10  # FFmpeg's own patience is 30 s and more


def test_a_stream_that_falls_silent_is_opened_again(pictures: NDArray[np.uint8]) -> None:
    def stuck() -> Iterator[NDArray[np.uint8]]:
        yield from pictures[:5]
        time.sleep(20)

    notes: list[str] = []
    with Http(cam=motion_jpeg(stuck)) as server:
        source = open_source(server.url("cam"), Patience(5, 0.5), notes.append)
        taken(source, 8)
    assert "no answer for 0.5 s; trying again" in notes[0]


@pytest.mark.parametrize(
    ("page", "said"),
    [("nothing", "404 Not Found"), ("text", "invalid data"), ("sound", "holds no video")],
)
def test_what_will_never_come_is_not_waited_for(page: str, said: str, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    sound = (tmp_path / "sound.wav").read_bytes()
    notes: list[str] = []
    with Http(text=a_file(b"hello\n" * 500), sound=a_file(sound)) as server, pytest.raises(SourceError, match=said):
        open_source(server.url(page), Patience(60, 2), notes.append)
    assert notes == []


def test_a_camera_that_is_late_is_waited_for(pictures: NDArray[np.uint8]) -> None:
    server, notes = Rtsp(pictures), list[str]()
    with server:
        server.stop()
        threading.Timer(0.5, server.start).start()
        source = open_source(server.url, SHORT, notes.append)
        assert len(taken(source, 3)) == 3
    assert "connection refused; trying again for 10 s" in notes[0]


def test_a_camera_that_hangs_up_is_called_again(pictures: NDArray[np.uint8]) -> None:
    notes: list[str] = []
    with Rtsp(pictures) as server:
        server.rude = 1
        assert len(taken(open_source(server.url, SHORT, notes.append), 3)) == 3
        assert server.rude == 0
    assert "trying again for 10 s" in notes[0]


def test_a_password_is_shown_to_nobody(pictures: NDArray[np.uint8]) -> None:
    assert shown("rtsp://me:secret@door/1") == "rtsp://me:***@door/1"
    assert shown("http://door:80/a@b") == "http://door:80/a@b"
    notes: list[str] = []
    with Http() as server:
        url = server.url("cam").replace("//", "//me:secret@")
        with pytest.raises(SourceError, match="404") as raised:
            open_source(url, SHORT, notes.append)
    with pytest.raises(SourceError, match="refused") as refused:
        open_source(url, Patience(0.6, 1), notes.append)
    assert "secret" not in f"{raised.value} {refused.value} {notes}"
    assert "me:***@" in notes[0]
