"""The file of the disk tier: one SQLite database in a folder, replaced by a fresh one when it is broken.

Python's own `sqlite3` is the library: its format is old, documented and tested against crashes and damaged files at
every byte, its write-ahead log survives `kill -9` at any instant and lets readers of other processes go on while one
writes, and nothing has to be installed. What else was looked at: lmdb maps its file into memory, so that a truncated
one kills the process with SIGBUS; diskcache has had no release since 2023 and pickles.

A file name is never used twice: `values-<generation>-<random>.sqlite`, published by a rename when it is complete. The
newest is the one that counts; who finds it broken publishes the next generation and removes the older ones. Processes
that still have an older one open notice that it is gone and follow. So no two processes ever write to one log for two
databases, which is the classical way to corrupt SQLite by deleting its files.

Locks need a local disk: network file systems are not for this.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

__all__ = ["PAGE_BYTES", "Database"]

PAGE_BYTES = 8192  # of 4 to 32 KiB the best for values of 4 KB and of 1 MB together
APPLICATION = 0x72656376  # "recv"
FORMAT = 1
LOG_BYTES = 16 << 20  # the log is copied into the file when it is this long
_NAME = re.compile(r"values-(\d+)-[0-9a-f]{8}\.sqlite")
_BESIDE = ("", "-wal", "-shm", "-journal")
_STALE_SECONDS = 60.0  # an unpublished file this old was left by a process that died
_MOST_IDLE = 8  # connections
# a request failed, the file is fine: somebody else has the lock, the disk is full, the file belongs to another user
_PASSING = ("locked", "full", "disk I/O error", "readonly", "interrupted", "out of memory", "too big")
_INHERITED: list[list[_Connection]] = []  # of the process that forked: closing them here would disturb it


class _Connection(sqlite3.Connection):
    file: Path


class Database:
    """Connections to the newest file of a folder. Made for several threads, processes and forked children."""

    def __init__(self, folder: Path, schema: str, timeout_seconds: float) -> None:
        """`schema`: the statements that make the tables of an empty file. Nothing is opened or created yet."""
        self._folder = folder
        self._schema = schema
        self._timeout = timeout_seconds
        self.file = folder
        self._identity: tuple[int, int] | None = None
        self._closed = False
        self._adopt()

    def _adopt(self) -> None:
        """Start with no connections, in the process that this is."""
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        weakref.finalize(self, _close_idle, self._idle, os.getpid())

    def after_fork(self) -> None:
        _INHERITED.append(self._idle)
        self._adopt()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses; closed when the block raises, and the file replaced when it is broken."""
        connection = self._taken() or self._connected()
        try:
            yield connection
        except BaseException as error:
            connection.close()  # rolls back
            if _is_broken(error):
                self._replace(connection.file)
            raise
        self._give_back(connection)

    @property
    def writable(self) -> bool:
        return os.access(self._folder, os.W_OK)

    def start_anew(self) -> None:
        """Forget everything: a fresh file in place of the one there is."""
        self._replace(self._follow())

    def close(self) -> None:
        self._closed = True
        _close_idle(self._idle, os.getpid())

    # --- connections ---

    def _taken(self) -> _Connection | None:
        file = self._follow()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.file == file:
                return connection
            connection.close()

    def _give_back(self, connection: _Connection) -> None:
        if self._closed or connection.file != self.file or len(self._idle) >= _MOST_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def _connected(self) -> _Connection:
        while True:
            file = self._follow()
            try:
                return self._connected_to(file)
            except (sqlite3.Error, UnicodeError) as error:
                if self._follow() == file:  # otherwise somebody has replaced it meanwhile: try theirs
                    if _is_broken(error):
                        self._replace(file)
                    raise

    def _connected_to(self, file: Path) -> _Connection:
        if self.writable:
            return _connect(file, "mode=rw", self._timeout, _SETTINGS)
        try:
            return _connect(file, "mode=ro", self._timeout)
        except sqlite3.Error:  # the log's index cannot be made here: read the file as it lies there
            return _connect(file, "mode=ro&immutable=1", self._timeout)

    # --- the file ---

    def _follow(self) -> Path:
        """The file to use: still the one in use, or the newest in the folder, or a fresh one."""
        if _identity(self.file) != self._identity or self._identity is None:
            with self._lock:
                self._use(self._newest() or self._publish(1))
        return self.file

    def _use(self, file: Path) -> None:
        self.file, self._identity = file, _identity(file)

    def _replace(self, broken: Path) -> None:
        with self._lock:
            newest = self._newest()
            if newest is None or newest == broken:
                newest = self._publish(_age(newest)[0] + 1 if newest else 1)
            self._use(newest)

    def _newest(self) -> Path | None:
        newest = max(self._listed(), key=_age, default=None)
        return newest if newest is not None and _age(newest)[0] else None

    def _listed(self) -> list[Path]:
        try:
            return [self._folder / name for name in os.listdir(self._folder)]
        except FileNotFoundError:
            return []

    def _publish(self, generation: int) -> Path:
        """Make a complete empty file, give it its name, remove what is older: the file that is the newest then."""
        self._folder.mkdir(parents=True, exist_ok=True)
        unique = secrets.token_hex(4)
        fresh = self._folder / f"new-{unique}.sqlite"
        try:
            _create(fresh, self._schema)
            fresh.rename(self._folder / f"values-{generation:08d}-{unique}.sqlite")
        except BaseException:
            _remove(fresh)
            raise
        newest = self._newest()
        if newest is None:
            raise OSError(f"{self._folder} was emptied meanwhile")
        for base in {path.with_name(path.name.partition(".sqlite")[0] + ".sqlite") for path in self._listed()}:
            if (0, "") < _age(base) < _age(newest) or _is_left_over(base):
                _remove(base)
        return newest


_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # a power cut may cost the last values, never the file
    f"PRAGMA wal_autocheckpoint = {LOG_BYTES // PAGE_BYTES}",
    f"PRAGMA journal_size_limit = {LOG_BYTES}",
)
_CAREFUL = ("PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON", "PRAGMA mmap_size = 0")


def _connect(file: Path, how: str, timeout_seconds: float, settings: tuple[str, ...] = ()) -> _Connection:
    """Raises sqlite3.DatabaseError when the file is not one of ours."""
    connection = sqlite3.connect(
        f"file:{quote(str(file.absolute()))}?{how}",
        timeout=timeout_seconds, isolation_level=None, check_same_thread=False, factory=_Connection, uri=True,
    )  # fmt: skip
    try:
        connection.file = file
        connection.text_factory = bytes  # text in a damaged row need not be text
        for setting in _CAREFUL + settings:
            connection.execute(setting).fetchall()
        marks = [connection.execute(f"PRAGMA {mark}").fetchone()[0] for mark in ("application_id", "user_version")]
        if marks != [APPLICATION, FORMAT]:
            raise sqlite3.DatabaseError(f"{file} is not a file of this cache, or of another version of it")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(file: Path, schema: str) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.executescript(
            f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL;"
            f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; {schema}; COMMIT;"
            "PRAGMA journal_mode = WAL;"
        )
    finally:
        connection.close()


def _is_broken(error: BaseException) -> bool:
    # a message that quotes a damaged name is no text, and arrives as a UnicodeError
    return isinstance(error, (sqlite3.Error, UnicodeError)) and not any(words in str(error) for words in _PASSING)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _age(file: Path) -> tuple[int, str]:
    """What the files are ordered by: the generation, and the name where two processes published one at once."""
    found = _NAME.fullmatch(file.name)
    return (int(found[1]), file.name) if found else (0, "")


def _is_left_over(file: Path) -> bool:
    with suppress(OSError):
        return file.name.startswith("new-") and time.time() - file.stat().st_mtime > _STALE_SECONDS
    return False


def _remove(file: Path) -> None:
    for suffix in _BESIDE:
        with suppress(OSError):
            file.with_name(file.name + suffix).unlink()


def _close_idle(idle: list[_Connection], pid: int) -> None:
    while idle and pid == os.getpid():
        idle.pop().close()
