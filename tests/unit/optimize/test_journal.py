"""The journal: what is written stays, what is torn does not count, and a full disk loses nothing."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from reconv.errors import InputError, SourceError
from reconv.optimize.journal import Journal


def test_results_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    first = Journal(path, "a search")
    assert first.add("x", {"loss": 0.1 + 0.2, "far": float("inf")}) == {"loss": 0.1 + 0.2, "far": float("inf")}
    first.add("y", [1, None, "ü"])
    again = Journal(path, "a search")
    assert dict(again) == dict(first)
    assert list(again) == ["x", "y"]


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    journal = Journal()
    journal.add("x", 1)
    assert (journal["x"], journal.path, list(tmp_path.iterdir())) == (1, None, [])


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_end_is_as_if_it_had_not_been_written(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "s")
    journal.add("x", 1)
    whole = path.read_bytes()
    journal.add("y", "a result that is torn")
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    again = Journal(path, "s")
    assert dict(again) == {"x": 1}
    again.add("z", 3)
    assert dict(Journal(path, "s")) == {"x": 1, "z": 3}


def test_a_damaged_line_does_not_count_and_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "s")
    for key in "xyz":
        journal.add(key, key * 10)
    path.write_bytes(path.read_bytes().replace(b"yyyyyyyyyy", b"yyyyyyyyyk"))
    assert list(Journal(path, "s")) == ["x", "z"]


def test_a_torn_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, "s")
    path.write_bytes(path.read_bytes()[:20])
    Journal(path, "s").add("x", 1)
    assert dict(Journal(path, "s")) == {"x": 1}


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, "one search").add("x", 1)
    with pytest.raises(InputError, match="the journal of another search"):
        Journal(path, "another")
    for content in (b"a picture, say", b"text\nof\nlines\n", b"\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not the journal of a search"):
            Journal(path, "s")
        assert path.read_bytes() == content
    with pytest.raises(InputError, match="is a folder"):
        Journal(tmp_path, "s")
    with pytest.raises(InputError, match="does not exist"):
        Journal(tmp_path / "no" / "j", "s")


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "s")
    journal.add("x", 1)
    before = path.read_bytes()
    real = os.write

    def half(file: int, data: Any) -> int:
        return real(file, data[: len(data) // 2])

    def none(_: int, __: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for full in (half, none):
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(SourceError, match="No space left on device; what it holds is kept"):
            journal.add("y", "long" * 50)
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert "y" not in journal
    journal.add("y", 2)
    assert dict(Journal(path, "s")) == {"x": 1, "y": 2}


def test_a_disk_that_really_takes_no_more(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "s")
    journal.add("x", 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 30, limits[1]))
    try:
        with pytest.raises(SourceError, match="cannot be written"):
            journal.add("y", "long" * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert dict(Journal(path, "s")) == {"x": 1}
