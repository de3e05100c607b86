"""The disk tier with a damaged, foreign, locked, full or read-only file: right results, and it comes back."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconv.cache.tiers import DiskTier
from reconv.cache.tiers import database as file_of_tier
from tests.unit.apart import apart
from tests.unit.cache.faults import KEYS, ask_all, comes_back, overwrite_all

MIB = 1 << 20
SHORT = 0.01  # a timeout, and so the first pause after a failure


def open_tier(folder: Path) -> DiskTier:
    return DiskTier(folder, 32 * MIB, timeout_seconds=SHORT)


def fill(folder: Path) -> Path:
    """A folder with all values in its file."""
    tier = DiskTier(folder, 32 * MIB, timeout_seconds=5)
    ask_all(tier)
    tier.close()
    assert tier.failures == 0
    return folder


def main_file(folder: Path) -> Path:
    (file,) = folder.glob("values-*.sqlite")
    return file


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A closed folder, and one as a crash leaves it: part of the values only in the log."""
    root = tmp_path_factory.mktemp("images")
    closed = fill(root / "closed")
    tier = DiskTier(root / "open", 32 * MIB, timeout_seconds=5)
    ask_all(tier)
    shutil.copytree(root / "open", root / "crashed")
    tier.close()
    assert any(path.name.endswith("-wal") and path.stat().st_size > MIB for path in (root / "crashed").iterdir())
    return [closed, root / "crashed"]


def damage(folder: Path, chance: random.Random) -> None:
    """Flip, overwrite, cut or lengthen the files, in a way that the seed decides."""
    for path in folder.iterdir():
        content = bytearray(path.read_bytes())
        kind = chance.randrange(7)
        if kind == 0:
            start = chance.randrange(len(content))
            content[start : start + 5000] = chance.randbytes(min(5000, len(content) - start))
        elif kind == 1:
            del content[chance.randrange(len(content)) :]
        elif kind == 2:
            content += chance.randbytes(chance.randrange(1, 20_000))
        elif kind == 3:
            for _ in range(chance.randrange(1, 8)):  # the header and the schema
                content[chance.randrange(min(1000, len(content)))] = chance.randrange(256)
        elif kind < 6:
            for _ in range(chance.choice([1, 10, 100, 2000])):
                content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
        path.write_bytes(content)


def damaged_runs(images: list[Path], root: Path, seeds: range) -> tuple[int, int, int]:
    """How many runs found values, how many saw failures, how many started with a new file."""
    found = failed = anew = 0
    for seed in seeds:
        folder = root / str(seed)
        shutil.copytree(images[seed % 2], folder)
        before = main_file(folder).name
        damage(folder, random.Random(seed))
        tier = open_tier(folder)
        found += ask_all(tier) > 0
        failed += tier.failures > 0
        assert comes_back(tier), (seed, tier.last_failure)
        ask_all(tier)
        anew += main_file(folder).name != before
        tier.close()
        shutil.rmtree(folder)
    return found, failed, anew


def test_damaged_files(images: list[Path], tmp_path: Path) -> None:
    seeds = range(40)
    found, failed, anew = damaged_runs(images, tmp_path, seeds)
    assert found > len(seeds) / 2, "what is not damaged is used"
    assert failed > len(seeds) / 10
    assert anew > len(seeds) / 10


def _text(file: Path) -> None:
    file.write_text("not a database at all " * 1000, encoding="utf-8")


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _of_somebody_else(file: Path) -> None:
    file.unlink()
    connection = sqlite3.connect(file)
    connection.executescript("CREATE TABLE entries (id INTEGER PRIMARY KEY, name BLOB, used INTEGER)")
    connection.close()


def _of_another_version(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.executescript(f"PRAGMA user_version = {file_of_tier.FORMAT + 1}")
    connection.close()


def _without_a_table(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.executescript("DROP TABLE payloads")
    connection.close()


def _whose_tables_have_no_readable_names(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"TABLE payloads", b"TABL\xc7 pay\xc7oads"))


def _a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _a_dangling_link(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parent / "nowhere")


def _the_highest_number(file: Path) -> None:
    file.rename(file.with_name("values-99999999-00000000.sqlite")).write_bytes(b"x")


FOREIGN = [
    _text, _empty, _of_somebody_else, _of_another_version, _without_a_table, _whose_tables_have_no_readable_names,
    _a_folder, _a_dangling_link, _the_highest_number,
]  # fmt: skip


@pytest.mark.parametrize("spoil", FOREIGN, ids=lambda spoil: spoil.__name__.strip("_"))
def test_a_foreign_file_is_replaced(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(main_file(fill(tmp_path)))
    tier = open_tier(tmp_path)
    ask_all(tier)
    assert tier.failures > 0
    assert comes_back(tier)
    tier.close()
    later = open_tier(tmp_path)
    assert later.get(b"back") == b"again"
    later.close()
    assert later.failures == 0
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 1


def test_a_file_that_loses_its_end_while_it_is_used(tmp_path: Path) -> None:
    tier, other = open_tier(tmp_path), open_tier(tmp_path)
    ask_all(tier)
    ask_all(other)
    os.truncate(main_file(tmp_path), 100_000)
    ask_all(other)
    ask_all(tier)
    assert comes_back(tier)
    assert comes_back(other)
    tier.close()
    other.close()


def test_a_row_that_is_no_longer_bytes(tmp_path: Path) -> None:
    connection = sqlite3.connect(main_file(fill(tmp_path)))
    connection.executescript("UPDATE payloads SET payload = 7")
    connection.close()
    tier = open_tier(tmp_path)
    assert ask_all(tier) >= 0
    assert tier.failures > 0
    assert comes_back(tier)
    tier.close()


def test_payloads_that_changed_places(tmp_path: Path) -> None:
    """Each checksum is right, each name has the value of another one."""
    connection = sqlite3.connect(main_file(fill(tmp_path)))
    connection.executescript(
        "UPDATE payloads SET id = -id; UPDATE payloads SET id = (SELECT max(id) + 1 FROM entries) + id"
    )
    connection.close()
    tier = open_tier(tmp_path)
    ask_all(tier)
    assert tier.failures == 0, "the file is sound"
    assert ask_all(tier) > 0, "what was deleted has been put again"
    tier.close()


def test_a_locked_file_costs_misses_until_it_is_free(tmp_path: Path) -> None:
    file = main_file(fill(tmp_path))
    connection = sqlite3.connect(file, isolation_level=None)
    connection.executescript("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE")
    connection.execute("DELETE FROM entries WHERE used < 0")
    tier = open_tier(tmp_path)
    assert ask_all(tier) == 0
    assert "locked" in tier.last_failure
    connection.execute("ROLLBACK")
    connection.close()
    assert comes_back(tier)
    assert main_file(tmp_path) == file, "it is not replaced"
    assert tier.get(b"t" + KEYS[0].encode()) is None, (
        "its new value could not be written, so the old one is not trusted"
    )
    tier.close()
    later = open_tier(tmp_path)
    assert ask_all(later) > 0
    later.close()


def test_a_writer_at_work_does_not_keep_readers_waiting(tmp_path: Path) -> None:
    connection = sqlite3.connect(main_file(fill(tmp_path)), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    tier = open_tier(tmp_path)
    assert ask_all(tier) >= len(KEYS)
    connection.execute("ROLLBACK")
    connection.close()
    tier.close()
    assert tier.failures == 0


@pytest.mark.parametrize("where", ["in a file", "in the system's"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    tier = open_tier(tmp_path / "file" if where == "in a file" else Path("/proc") / "reconv")
    assert ask_all(tier) == 0
    assert tier.failures > 0
    tier.close()


def _ask_unprivileged(folder: Path) -> tuple[bool, int, int]:
    """As a user who may not write the folder: whether that is so, how many values came from below, the failures."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    tier = open_tier(folder)
    found = ask_all(tier)
    failures = tier.failures
    found += ask_all(tier, ["key 1000", "key 1001"])
    tier.close()
    return os.access(folder, os.W_OK), found, failures


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A copy that everybody may read and nobody write, below folders that everybody may enter."""
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        copy = shutil.copytree(folder, Path(root) / "tier")
        for path in copy.iterdir():
            path.chmod(0o444)
        copy.chmod(0o555)
        try:
            yield copy
        finally:
            copy.chmod(0o755)


def test_a_read_only_folder_is_read(images: list[Path]) -> None:
    with read_only(images[0]) as folder:
        writable, found, failures = apart(_ask_unprivileged, folder)
    assert not writable
    assert found >= len(KEYS)
    assert failures == 0, "until something new was to be kept"


def test_a_read_only_folder_as_a_crash_left_it(images: list[Path]) -> None:
    with read_only(images[1]) as folder:
        writable, found, _ = apart(_ask_unprivileged, folder)
    assert not writable
    assert found > 0


def test_an_empty_read_only_folder(tmp_path: Path) -> None:
    with read_only(tmp_path) as folder:
        writable, found, failures = apart(_ask_unprivileged, folder)
    assert not writable
    assert found == 0
    assert failures > 0


def _ask_with_short_files(folder: Path) -> tuple[str, int, int, bool]:
    """As on a disk that fills up: no file of this process grows beyond a mebibyte, and then it may again."""
    tier = open_tier(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    found = ask_all(tier)
    said, failures = tier.last_failure, tier.failures
    overwrite_all(tier, 2)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    back = comes_back(tier)
    known_then = overwrite_all(tier, 3)
    tier.close()
    return said, min(found, failures), known_then, back


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    said, found_and_failed, known_then, back = apart(_ask_with_short_files, tmp_path)
    assert "disk" in said
    assert found_and_failed > 0, "what was kept before is still found"
    assert back
    assert known_then == len(KEYS)


def test_a_full_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_of_tier, "_SETTINGS", (*file_of_tier._SETTINGS, "PRAGMA max_page_count = 200"))
    tier = open_tier(tmp_path)
    assert ask_all(tier) > 0
    assert "full" in tier.last_failure
    assert overwrite_all(tier, 2) < len(KEYS)
    monkeypatch.undo()
    tier.close()
    later = open_tier(tmp_path)
    assert overwrite_all(later, 3) == len(KEYS)
    later.close()


def _ask_without_descriptors(folder: Path) -> tuple[int, bool, str]:
    name = main_file(folder).name
    taken = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            break
    tier = open_tier(folder)
    found = ask_all(tier)
    for descriptor in taken:
        os.close(descriptor)
    return found, comes_back(tier) and main_file(folder).name == name, tier.last_failure


def test_too_many_open_files_cost_misses_and_no_values(tmp_path: Path) -> None:
    found, back, said = apart(_ask_without_descriptors, fill(tmp_path))
    assert found == 0
    assert back
    assert said
    later = open_tier(tmp_path)
    assert ask_all(later) > 0
    later.close()


def test_left_over_files_of_a_process_that_died_are_removed(tmp_path: Path) -> None:
    for name, age in (("new-00000000.sqlite", 3600), ("new-11111111.sqlite", 0), ("mine.txt", 3600)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (os.stat(tmp_path / name).st_mtime - age,) * 2)
    tier = open_tier(tmp_path)
    assert comes_back(tier)
    tier.close()
    assert sorted(path.name for path in tmp_path.iterdir() if path != main_file(tmp_path)) == [
        "mine.txt", "new-11111111.sqlite",
    ]  # fmt: skip
