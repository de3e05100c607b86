"""Servers that tests talk to: a real Redis, and one that misbehaves on purpose."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HANG_SECONDS = 20  # nothing here takes a tenth of that: who waits longer hangs


class RedisServer:
    """A redis-server (or valkey-server) process of our own on a free port of the loopback; it keeps no files."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if self._binary is None:
            pytest.skip(
                "the tests of the Redis tier need redis-server (on Debian or Ubuntu: apt-get install redis-server)"
            )
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.unix = folder / "socket"
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        log = self._folder / "redis.log"
        for _ in range(5):
            self._process = subprocess.Popen(
                [str(self._binary), "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.unix),
                 "--save", "", "--appendonly", "no", "--dir", str(self._folder), "--logfile", str(log), *self._options],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            if self._answers():
                return
            self.stop()
            self.port = _free_port()  # somebody else took it meanwhile
        pytest.fail(f"redis-server does not start:\n{log.read_text(encoding='utf-8') if log.exists() else ''}")

    def _answers(self) -> bool:
        end = time.monotonic() + HANG_SECONDS
        while self._process is not None and self._process.poll() is None and time.monotonic() < end:
            try:
                if self.command("PING") == b"+PONG\r\n":
                    return True
            except OSError:
                time.sleep(0.01)
        return False

    def command(self, *words: str) -> bytes:
        """The start of the server's answer, as it comes over the wire."""
        with socket.create_connection(("127.0.0.1", self.port), HANG_SECONDS) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65536)

    def stop(self) -> None:
        """Kill it; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(HANG_SECONDS)
            self._process = None

    def halt(self) -> None:
        """It takes connections and requests from now on, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class OddServer:
    """Takes every connection on a free port of the loopback and has `answer` deal with it, each in a thread."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen)]
        self._sockets: list[socket.socket] = []
        self.connections = 0
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def _listen(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(taken)
            thread = threading.Thread(target=self._serve, args=(taken,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, taken: socket.socket) -> None:
        with taken:
            try:
                self._answer(taken)
            except OSError:
                return  # the client went away, or the test is over

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(HANG_SECONDS)
        for taken in self._sockets:
            try:
                taken.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(HANG_SECONDS)
            assert not thread.is_alive()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
