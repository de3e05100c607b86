"""Small servers of streams on this machine: what cameras do, and what they do when they go wrong.

HTTP (RFC 9110): a file, with ranges or without; motion JPEG as multipart/x-mixed-replace; MPEG-TS without an end. RTSP
(RFC 2326) with RTP in the same connection (clause 10.12): H.264 (RFC 6184, single units and FU-A).
"""

from __future__ import annotations

import itertools
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (N, H, W, 3), BGR
SECONDS = 0.03  # between frames
QUICK = {"crf": "10", "preset": "veryfast", "tune": "zerolatency", "g": "10"}  # no picture waits for later ones


def encoded(frames: Frames, format: str, rate: int = 30, **options: str) -> bytes:
    """A clip in H.264; every picture can be decoded as soon as it is there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        with av.open(str(path), "w", format=format, options=options) as container:
            stream: Any = container.add_stream("libx264", rate=rate)
            stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
            stream.options = QUICK
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")))
            container.mux(stream.encode())
        return path.read_bytes()


def units(frames: Frames) -> list[list[bytes]]:
    """The H.264 units of every picture, without start codes."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.height, context.width, context.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = QUICK
    pictures = []
    for frame in frames:
        packets = context.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24"))
        stream = b"".join(bytes(packet) for packet in packets).replace(b"\0\0\0\1", b"\0\0\1")
        pictures.append([unit for unit in stream.split(b"\0\0\1") if unit])
    return pictures


class Server:
    """Serves in threads of its own until `stop`; `start` may be called again, and listens at the same port."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[str] = []  # first lines of requests, and what their heads said of the user agent
        self._open: list[socket.socket] = []
        self._listening: socket.socket | None = None

    def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._listening, self.port = listening, listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self.answer(connection)

    def answer(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def head(self, connection: socket.socket) -> str:
        """A request's head; "" when there is none any more."""
        text = b""
        while not text.endswith(b"\r\n\r\n"):
            more = connection.recv(1)
            if not more:
                return ""
            text += more
        self.seen.append(text.decode())
        return text.decode()

    def stop(self) -> None:
        """As when the plug is pulled: whoever is connected is cut off, and nobody listens any more."""
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        while self._open:
            connection = self._open.pop()
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Http(Server):
    """`pages`: path -> what writes the answer to a connection, given the request's head."""

    def __init__(self, **pages: Callable[[socket.socket, str], None]) -> None:
        super().__init__()
        self.pages = pages

    def url(self, page: str) -> str:
        return f"http://127.0.0.1:{self.port}/{page}"

    def answer(self, connection: socket.socket) -> None:
        head = self.head(connection)
        page = self.pages.get(head.split(" ")[1].strip("/").partition(".")[0] if head else "")
        if page is None:
            connection.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        else:
            page(connection, head)


def a_file(data: bytes, cut: int | None = None) -> Callable[[socket.socket, str], None]:
    """A file, from the byte on that is asked for; `cut` ends the first answer after so many bytes."""
    cuts = iter([cut])

    def page(connection: socket.socket, head: str) -> None:
        start = int(head.partition("Range: bytes=")[2].partition("-")[0] or 0)
        size = len(data)
        status = f"206 Partial Content\r\nContent-Range: bytes {start}-{size - 1}/{size}" if start else "200 OK"
        connection.sendall(f"HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\nContent-Length: {size - start}\r\n".encode())
        connection.sendall(b"Connection: close\r\n\r\n" + data[start : next(cuts, None)])

    return page


def motion_jpeg(
    pictures: Callable[[], Iterator[NDArray[np.uint8]]], seconds: float = SECONDS
) -> Callable[[socket.socket, str], None]:
    """One JPEG after the other, `seconds` apart."""

    def page(connection: socket.socket, head: str) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
        for picture in pictures():
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            connection.sendall(
                b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(data), data)
            )
            time.sleep(seconds)

    return page


def endless(data: bytes, seconds: float = SECONDS) -> Callable[[socket.socket, str], None]:
    """A stream without a length, in small pieces."""

    def page(connection: socket.socket, head: str) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
        for start in range(0, len(data), 4096):
            connection.sendall(data[start : start + 4096])
            time.sleep(seconds)

    return page


def silence(connection: socket.socket, head: str) -> None:
    """Accepts, and never says a word."""
    with suppress(OSError):
        connection.recv(1)


class Rtsp(Server):
    """One H.264 stream that loops, `seconds` between pictures; `frames` may be changed between `stop` and `start`."""

    def __init__(self, frames: Frames, seconds: float = SECONDS) -> None:
        super().__init__()
        self.frames, self.seconds = frames, seconds
        self.rude = 0  # so many greetings are cut off

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/door"

    def answer(self, connection: socket.socket) -> None:
        pictures = units(self.frames)
        while head := self.head(connection):
            verb = head.split(" ")[0]
            if verb == "DESCRIBE" and self.rude:
                self.rude -= 1
                return
            number = next(line for line in head.splitlines() if line.lower().startswith("cseq"))
            extra, body = "", ""
            if verb == "OPTIONS":
                extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif verb == "DESCRIBE":
                body = (
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=door\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
                )
                extra = f"Content-Base: {self.url}/\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif verb == "SETUP":
                extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            elif verb == "PLAY":
                extra = "Session: 1\r\n"
            connection.sendall(f"RTSP/1.0 200 OK\r\n{number}\r\n{extra}\r\n{body}".encode())
            if verb == "PLAY":
                self._play(connection, pictures)

    def _play(self, connection: socket.socket, pictures: list[list[bytes]]) -> None:
        counter = itertools.count()
        for place, picture in enumerate(itertools.cycle(pictures)):
            payloads = [payload for unit in picture for payload in _payloads(unit)]
            for index, payload in enumerate(payloads):
                last = 0x80 if index == len(payloads) - 1 else 0
                header = struct.pack(">BBHII", 0x80, last | 96, next(counter) & 0xFFFF, place * 3000 & 0xFFFFFFFF, 7)
                packet = header + payload
                connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
            time.sleep(self.seconds)


def _payloads(unit: bytes, most: int = 1200) -> Iterator[bytes]:
    """One unit as it is, or in pieces when it is large."""
    if len(unit) <= most:
        yield unit
        return
    pieces = [unit[start : start + most] for start in range(1, len(unit), most)]
    for index, piece in enumerate(pieces):
        edge = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
        yield bytes([unit[0] & 0xE0 | 28, edge | unit[0] & 0x1F]) + piece
