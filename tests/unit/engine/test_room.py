"""Memory that is not there is an InputError that says how much is, before it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reconv.engine import item, load
from reconv.engine.room import check_room, memory_bytes, room
from reconv.errors import InputError
from tests.unit.small import cnn, frame


def test_what_the_machine_has(tmp_path: Path) -> None:
    whole = memory_bytes((tmp_path / "none",))
    assert whole > 1 << 28
    limit, unlimited = tmp_path / "limit", tmp_path / "max"
    limit.write_text("12345678\n", encoding="utf-8")
    unlimited.write_text("max\n", encoding="utf-8")
    assert memory_bytes((unlimited, limit)) == 12345678
    assert memory_bytes((unlimited,)) == whole


def test_more_than_there_is() -> None:
    check_room(5, "a run", there_bytes=5)
    check_room(5, "a run", there_bytes=0)  # unknown
    with pytest.raises(InputError, match=r"a run needs 6\.0 GB of memory, and there are 5\.0 GB"):
        check_room(6 * 10**9, "a run", there_bytes=5 * 10**9)


def test_memory_that_runs_out() -> None:
    with pytest.raises(InputError, match="not enough memory for a step"), room("a step"):
        np.empty(1 << 60, np.uint8)


def test_a_model_larger_than_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(needed_bytes: int, what: str) -> None:
        check_room(needed_bytes, what, there_bytes=1000)

    model = load(cnn(), threads=1)
    monkeypatch.setattr(item, "check_room", small)
    with pytest.raises(InputError, match="a dense run needs"):
        model.run(frame())
    with pytest.raises(InputError, match="a stream needs"):
        model.stream()(frame())
    monkeypatch.undo()
    model.run(frame())
