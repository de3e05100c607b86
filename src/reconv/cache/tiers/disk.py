"""Values on a disk, shared by the processes of one machine, under a limit for the file.

Several processes may use one folder, also with different limits: each keeps to its own when it writes. The value used
longest ago leaves first; a use is written down with the next value, or when 256 of them or five seconds have
gathered, so that a hit costs no write. A process that is killed at any instant leaves what it had kept, at most
without the last uses.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconv.cache.tiers.database import LOG_BYTES, PAGE_BYTES, Database
from reconv.cache.tiers.guard import GuardedTier
from reconv.errors import CacheError

__all__ = ["DiskTier"]

# payloads apart from uses: SQLite writes the whole row when a column of it changes
_SCHEMA = """
CREATE TABLE entries (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, used INTEGER NOT NULL);
CREATE INDEX entries_used ON entries (used);
CREATE TABLE payloads (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)
"""
_PAGES_APART = 10  # not a value's: of the empty tables, and what their indices grow by
_PAGES_PER_MAP = PAGE_BYTES // 6  # SQLite keeps one page of notes for some more than that many
_LEAST_BYTES = 1 << 20
_LARGEST_BYTES = 10**9  # of a value in SQLite
_MOST_USES = 256
_USES_SECONDS = 5.0
_LONGEST_LOG_BYTES = 4 * LOG_BYTES


class DiskTier(GuardedTier):
    """A tier in a folder. Never fails: one that cannot be written is read, one that cannot be read is a miss."""

    def __init__(
        self,
        folder: str | Path,
        capacity_bytes: int,
        *,
        timeout_seconds: float = 0.25,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            folder: made when it is not there. What it has of the names `values-*.sqlite*` and `new-*.sqlite*` is ours.
            capacity_bytes: limit of the file, values and tables together, from 1 MiB up. Beside it lies a log of some
                16 MiB, or as long as the largest value.
            timeout_seconds: how long a request waits for another process's write.
            clock: seconds, by which the processes that share the folder order their uses.

        Raises:
            CacheError: a limit below 1 MiB, or a timeout that is not above 0.
        """
        if isinstance(capacity_bytes, bool) or not isinstance(capacity_bytes, int) or capacity_bytes < _LEAST_BYTES:
            raise CacheError(f"capacity_bytes is {capacity_bytes!r}, expected a whole number from {_LEAST_BYTES} up")
        self.capacity_bytes = capacity_bytes
        pages = capacity_bytes // PAGE_BYTES
        largest = (pages - pages // _PAGES_PER_MAP - _PAGES_APART) * (PAGE_BYTES - 4)
        super().__init__(timeout_seconds, min(largest, _LARGEST_BYTES))
        self._database = Database(Path(folder), _SCHEMA, timeout_seconds)
        self._clock = clock
        self._uses: dict[bytes, int] = {}
        self._uses_due = 0.0
        self._longest_log = _LONGEST_LOG_BYTES

    # --- the hooks ---

    def _read(self, name: bytes) -> bytes | None:
        with self._database.connection() as connection:
            row = connection.execute(
                "SELECT payload FROM entries JOIN payloads USING (id) WHERE name = ?", (name,)
            ).fetchone()
            if row is None:
                return None
            if not isinstance(row[0], bytes):
                raise sqlite3.DatabaseError("a payload is not bytes")
            self._note_use(connection, name)
            return row[0]

    def _write(self, name: bytes, payload: bytes) -> None:
        with self._database.connection() as connection:
            with _transaction(connection):
                self._write_uses(connection)
                _drop(connection, "name = ?", name)
                self._make_room(connection, len(payload))
                used = int(self._clock() * 1e6)
                entry = connection.execute("INSERT INTO entries (name, used) VALUES (?, ?)", (name, used)).lastrowid
                connection.execute("INSERT INTO payloads (id, payload) VALUES (?, ?)", (entry, payload))
            with suppress(sqlite3.OperationalError):  # somebody else is at it: next time
                self._shrink(connection)

    def _delete(self, name: bytes) -> bool:
        with self._database.connection() as connection:
            if connection.execute("SELECT 1 FROM entries WHERE name = ?", (name,)).fetchone() is None:
                return False
            with _transaction(connection):
                return _drop(connection, "name = ?", name)

    def _clear(self) -> None:
        self._database.start_anew()

    def _close(self) -> None:
        try:
            if self._uses and self._database.writable:
                with self._database.connection() as connection, _transaction(connection):
                    self._write_uses(connection)
        finally:
            self._database.close()

    def _after_fork(self) -> None:
        self._uses = {}
        self._database.after_fork()

    # --- room ---

    def _make_room(self, connection: sqlite3.Connection, size: int) -> None:
        """Let the values used longest ago leave until the pages of one more fit."""
        needed = size // (PAGE_BYTES - 4) + 2
        most = self.capacity_bytes // PAGE_BYTES - needed - needed // _PAGES_PER_MAP
        while _pages(connection, "page_count") - _pages(connection, "freelist_count") > most:
            if not _drop(connection, "id = (SELECT id FROM entries ORDER BY used LIMIT 1)"):
                return

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Give pages back when the limit has become lower, and the log's when readers kept it from starting over."""
        above = _pages(connection, "page_count") - self.capacity_bytes // PAGE_BYTES
        if above > 0:
            connection.executescript(f"PRAGMA incremental_vacuum({above})")  # `execute` would give back one page
        log = self._database.file.with_name(self._database.file.name + "-wal")
        with suppress(OSError):
            if log.stat().st_size > self._longest_log:  # waits for who reads just now
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._longest_log = max(_LONGEST_LOG_BYTES, 2 * log.stat().st_size)  # in vain? not again so soon

    # --- uses ---

    def _note_use(self, connection: sqlite3.Connection, name: bytes) -> None:
        now = self._clock()
        with self._lock:
            if not self._uses:
                self._uses_due = now + _USES_SECONDS
            self._uses[name] = int(now * 1e6)
            due = len(self._uses) >= _MOST_USES or not 0 <= self._uses_due - now <= _USES_SECONDS
        if due and self._database.writable:
            connection.execute("PRAGMA busy_timeout = 0")  # a hit does not wait for writers
            with suppress(sqlite3.OperationalError), _transaction(connection):
                self._write_uses(connection)
            connection.execute(f"PRAGMA busy_timeout = {max(int(self.timeout_seconds * 1000), 1)}")

    def _write_uses(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            uses, self._uses = self._uses, {}
        connection.executemany(
            "UPDATE entries SET used = ?1 WHERE name = ?2 AND used < ?1", [(used, name) for name, used in uses.items()]
        )


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block or nothing of it is kept."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _drop(connection: sqlite3.Connection, which: str, *values: bytes) -> bool:
    """Delete the entry that the condition names, and its payload; whether there is one."""
    row = connection.execute(f"SELECT id FROM entries WHERE {which}", values).fetchone()
    if row is None:
        return False
    connection.execute("DELETE FROM payloads WHERE id = ?", row)
    return connection.execute("DELETE FROM entries WHERE id = ?", row).rowcount == 1


def _pages(connection: sqlite3.Connection, which: str) -> int:
    return int(connection.execute(f"PRAGMA {which}").fetchone()[0])
