"""The disk tier: which values leave, how large its files become, and who follows whom."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reconv.cache.tiers import DiskTier
from reconv.errors import CacheError
from tests.unit.apart import apart

MIB = 1 << 20
TIMEOUT = 5.0


class Clock:
    """Moves on when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1e-3
        return self.now


def file_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.sqlite"))


def held(tier: DiskTier, names: list[bytes]) -> set[bytes]:
    return {name for name in names if tier.get(name) is not None}


NAMES = [b"%d" % number for number in range(8)]
FIFTH = MIB // 5  # four of these fit into 1 MiB, beside the tables


def test_the_value_used_longest_ago_leaves(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, MIB, clock=Clock())
    for name in NAMES[:4]:
        tier.put(name, bytes(FIFTH))
    assert tier.get(NAMES[0]) is not None
    tier.put(NAMES[4], bytes(FIFTH))
    assert held(tier, NAMES) == {NAMES[0], *NAMES[2:5]}
    for name in (NAMES[2], NAMES[4], NAMES[0], NAMES[3]):
        tier.get(name)
    tier.put(NAMES[5], bytes(2 * FIFTH))
    assert held(tier, NAMES) == {NAMES[0], NAMES[3], NAMES[5]}
    tier.put(NAMES[0], bytes(10))
    tier.put(NAMES[6], bytes(FIFTH))
    assert held(tier, NAMES) == {NAMES[0], NAMES[3], NAMES[5], NAMES[6]}, "a smaller value made room"
    tier.close()


def test_uses_of_another_tier_count_when_they_are_five_seconds_old(tmp_path: Path) -> None:
    clock = Clock()
    reader, writer = (DiskTier(tmp_path, MIB, clock=clock) for _ in range(2))
    for name in NAMES[:4]:
        writer.put(name, bytes(FIFTH))
    reader.get(NAMES[0])
    clock.now += 6
    reader.get(NAMES[1])
    writer.put(NAMES[4], bytes(FIFTH))
    writer.put(NAMES[5], bytes(FIFTH))
    assert held(writer, NAMES) == {NAMES[0], NAMES[1], NAMES[4], NAMES[5]}
    reader.close()
    writer.close()


def test_uses_count_when_there_are_many_and_when_the_tier_closes(tmp_path: Path) -> None:
    clock = Clock()
    tier = DiskTier(tmp_path, 4 * MIB, clock=clock)
    names = [b"%d" % number for number in range(300)]
    for name in names:
        tier.put(name, b"x")
    created = _uses(tmp_path)
    for name in names[:255]:
        tier.get(name)
    assert _uses(tmp_path) == created, "a hit is not a write"
    tier.get(names[255])
    assert {name for name in names if _uses(tmp_path)[name] > created[name]} == set(names[:256])
    tier.get(names[299])
    tier.close()
    assert _uses(tmp_path)[names[299]] > created[names[299]]


def _uses(folder: Path) -> dict[bytes, int]:
    (file,) = folder.glob("values-*.sqlite")
    connection = sqlite3.connect(file)
    try:
        return dict(connection.execute("SELECT name, used FROM entries").fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("size", [10, 1000, 4100, 8100, 8300, 20_000, 300_000])
def test_the_file_stays_under_the_limit_and_is_used_well(tmp_path: Path, size: int) -> None:
    capacity = MIB if size < 10_000 else 4 * MIB
    tier = DiskTier(tmp_path, capacity, timeout_seconds=TIMEOUT)
    random = np.random.default_rng(size)
    names = [b"%d" % number for number in random.permutation(2 * capacity // (size + 70))]
    for name in names:
        tier.put(name, bytes(int(random.integers(size // 2, size + 1))))
        assert file_bytes(tmp_path) <= capacity
    kept = held(tier, names)
    assert names[-1] in kept
    assert len(kept) < len(names), "some had to leave"
    assert len(kept) * (size * 0.75 + 80) > 0.5 * capacity, "half of the room is values"
    tier.close()
    assert tier.failures == 0


def test_the_largest_value_fits_and_one_more_byte_does_not(tmp_path: Path) -> None:
    for capacity in (MIB, 3 * MIB + 17, 40 * MIB):
        tier = DiskTier(tmp_path / str(capacity), capacity, timeout_seconds=TIMEOUT)
        largest = tier._largest_bytes
        assert largest > 0.9 * capacity - 130_000
        tier.put(b"a", bytes(200_000))
        tier.put(b"b", bytes(largest))
        assert (tier.get(b"a"), tier.get(b"b")) == (None, bytes(largest))
        assert file_bytes(tmp_path / str(capacity)) <= capacity
        tier.put(b"a", bytes(largest + 1))
        assert (tier.get(b"a"), tier.get(b"b")) == (None, bytes(largest))
        tier.close()


def test_a_lower_limit_gives_the_disk_back(tmp_path: Path) -> None:
    large = DiskTier(tmp_path, 16 * MIB)
    for number in range(60):
        large.put(b"%d" % number, bytes(200_000))
    large.close()
    assert file_bytes(tmp_path) > 10 * MIB
    small = DiskTier(tmp_path, 2 * MIB)
    small.put(b"new", bytes(100_000))
    small.close()
    assert file_bytes(tmp_path) <= 2 * MIB
    assert small.failures == 0


def test_the_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when there is always somebody who reads, which keeps SQLite from starting its log over."""
    monkeypatch.setattr("reconv.cache.tiers.disk._LONGEST_LOG_BYTES", 20 * MIB)
    tier, over = DiskTier(tmp_path, 4 * MIB, timeout_seconds=TIMEOUT), threading.Event()
    tier.put(b"0", bytes(MIB // 2))
    (file,) = tmp_path.glob("*.sqlite")

    def read() -> None:
        readers = [sqlite3.connect(file, isolation_level=None) for _ in range(2)]
        while not over.wait(0.002):
            readers[0].execute("BEGIN")
            readers[0].execute("SELECT id FROM entries").fetchall()
            if readers[1].in_transaction:
                readers[1].execute("COMMIT")
            readers.reverse()
        for reader in readers:
            reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    longest = 0
    for number in range(150):
        tier.put(b"%d" % (number % 3), bytes(MIB // 2))
        longest = max(longest, *(path.stat().st_size for path in tmp_path.glob("*-wal")))
    over.set()
    thread.join()
    tier.close()
    assert longest < 30 * MIB
    assert [path.name for path in tmp_path.iterdir()] == [file.name], "the last one to close puts the log away"
    assert tier.failures == 0


def test_a_reader_that_never_ends_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconv.cache.tiers.disk._LONGEST_LOG_BYTES", 2 * MIB)
    tier = DiskTier(tmp_path, 4 * MIB, timeout_seconds=TIMEOUT)
    tier.put(b"0", bytes(MIB // 2))
    (file,) = tmp_path.glob("*.sqlite")
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT id FROM entries").fetchall()
    waits: list[str] = []
    with tier._database.connection() as connection:
        connection.execute("PRAGMA busy_timeout = 10")
        connection.set_trace_callback(lambda text: waits.append(text) if "wal_checkpoint" in text else None)
    for number in range(30):
        tier.put(b"%d" % (number % 3), bytes(MIB // 2))
    assert 1 <= len(waits) <= 4, "at 2, 4, 8 and 16 MiB, not at each value"
    reader.close()
    tier.close()
    assert tier.failures == 0


def _write(folder: Path, first: int) -> int:
    tier = DiskTier(folder, 2 * MIB, timeout_seconds=TIMEOUT)
    for number in range(first, first + 100):
        tier.put(b"%d" % number, b"%d" % number * 2000)
    tier.close()
    return tier.failures


def test_two_processes_write_under_one_limit(tmp_path: Path) -> None:
    failures: list[int] = []
    threads = [
        threading.Thread(target=lambda first: failures.append(apart(_write, tmp_path, first)), args=(first,))
        for first in (0, 100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [0, 0]
    assert file_bytes(tmp_path) <= 2 * MIB
    tier = DiskTier(tmp_path, 2 * MIB)
    assert all(tier.get(b"%d" % number) in (None, b"%d" % number * 2000) for number in range(200))
    tier.close()


def _removed(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _cleared(folder: Path) -> None:
    other = DiskTier(folder, MIB)
    other.clear()
    other.close()


@pytest.mark.parametrize("away", [_removed, _cleared])
def test_a_tier_follows_when_its_file_goes_away(tmp_path: Path, away: Callable[[Path], None]) -> None:
    tier, other = DiskTier(tmp_path, MIB), DiskTier(tmp_path, MIB)
    tier.put(b"a", b"old")
    assert other.get(b"a") == b"old"
    away(tmp_path)
    assert tier.get(b"a") is None
    tier.put(b"a", b"new")
    assert other.get(b"a") == b"new"
    assert len(list(tmp_path.glob("*.sqlite"))) == 1
    tier.close()
    other.close()
    assert (tier.failures, other.failures) == (0, 0)


def test_the_later_of_two_files_made_at_once_counts(tmp_path: Path) -> None:
    """As two processes leave them that start in an empty folder at the same moment."""
    tier = DiskTier(tmp_path, MIB)
    tier.put(b"a", b"mine")
    other = DiskTier(tmp_path / "elsewhere", MIB)
    other.put(b"a", b"theirs")
    other.close()
    (theirs,) = (tmp_path / "elsewhere").glob("*.sqlite")
    theirs.rename(tmp_path / "values-00000001-ffffffff.sqlite")
    late = DiskTier(tmp_path, MIB)
    assert late.get(b"a") == b"theirs"
    late.clear()
    assert (tier.get(b"a"), late.get(b"a")) == (None, None)
    assert len(list(tmp_path.glob("*.sqlite"))) == 1
    tier.close()
    late.close()


def test_many_threads_start_in_an_empty_folder(tmp_path: Path) -> None:
    tiers = [DiskTier(tmp_path / "new" / "folder", MIB, timeout_seconds=TIMEOUT) for _ in range(3)]
    threads = [threading.Thread(target=tier.put, args=(b"%d" % number, b"x")) for number in range(9) for tier in tiers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for tier in tiers:
        tier.put(b"last", b"y")
    assert [tier.get(b"last") for tier in tiers] == [b"y"] * 3
    for tier in tiers:
        tier.close()
    assert [tier.failures for tier in tiers] == [0, 0, 0]
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1


def test_a_tier_that_nobody_closed_leaves_no_open_files(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, MIB)
    tier.put(b"a", b"x")
    (file,) = tmp_path.glob("*.sqlite")
    assert (tmp_path / (file.name + "-wal")).exists()
    del tier
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("capacity", [0, MIB - 1, -5, 1.5e9, True, None])
def test_a_limit_is_at_least_a_mebibyte(tmp_path: Path, capacity: int) -> None:
    with pytest.raises(CacheError, match=r"capacity_bytes is .*, expected a whole number from 1048576 up"):
        DiskTier(tmp_path, capacity)
