"""The fuzz test finds what it is for: crashes, hangs, foreign exceptions, wrong results, memory without bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reconv
from reconv.errors import InputError
from tests.fuzz import worker
from tests.fuzz.bases import BASES, base
from tests.fuzz.damage import broken, edited
from tests.fuzz.harness import survey

FAULTY = """
import ctypes, json, sys, time
for line in sys.stdin:
    index = int(line)
    if index == 2: ctypes.string_at(0)
    if index == 4: sys.exit(3)
    if index == 5: time.sleep(60)
    print(json.dumps({"verdict": "ran", "said": str(index)}), flush=True)
"""


def test_crashes_and_hangs_are_known_by_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.fuzz import harness

    monkeypatch.setattr(harness, "IMPORTS", 2.0)
    outcomes = survey(["-c", FAULTY], range(7), workers=2, seconds=1.0)
    assert [outcome.index for outcome in outcomes] == list(range(7))
    verdicts = {outcome.index: outcome.verdict for outcome in outcomes}
    assert verdicts == {0: "ran", 1: "ran", 2: "crash", 3: "ran", 4: "crash", 5: "hang", 6: "ran"}
    assert "SIGSEGV" in outcomes[2].said
    assert "exit code 3" in outcomes[4].said


@pytest.mark.parametrize("name", BASES)
def test_whole_models_run_and_equal(name: str) -> None:
    (verdict, said), found = worker.check(base(name))
    assert verdict == "ran", said
    assert found is not None
    coded = name.startswith("8 bits")
    assert worker.compare(base(name), *found, coded=coded) == ("equal", "")
    feeds, outputs = found
    first = next(iter(outputs))
    wrong = {**outputs, first: outputs[first] + 1e6 * (np.abs(outputs[first]).max() + 1)}
    assert worker.compare(base(name), feeds, wrong, coded=coded)[0] == "unequal"


def test_another_exception_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("w")

    monkeypatch.setattr(reconv, "load", fail)
    (verdict, said), _ = worker.check(base("cnn"))
    assert verdict == "foreign"
    assert said.startswith("KeyError: 'w'")


def test_a_message_of_many_lines_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise InputError("a\nb")

    monkeypatch.setattr(reconv, "load", fail)
    assert worker.check(base("cnn"))[0][0] == "foreign"


def test_a_stream_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    step = reconv.Stream.__call__

    def off(self: reconv.Stream, inputs: Any) -> Any:
        return {name: value + (self.last.seconds > 0) for name, value in step(self, inputs).items()}

    monkeypatch.setattr(reconv.Stream, "__call__", off)
    assert worker.check(base("cnn"))[0][0] == "unequal"


def test_differences_are_found() -> None:
    a = np.linspace(-1, 1, 20, dtype=np.float32)
    one_nan = a.copy()
    one_nan[3] = np.nan
    for got in (a + np.float32(0.01), a[:10], a.astype(np.float64), one_nan):
        assert worker.difference(got, a, a, 1e-4, False)
    assert not worker.difference(a, a, a, 1e-4, False)
    assert not worker.difference(one_nan, one_nan, one_nan, 1e-4, False)
    assert worker.difference(np.array([1, 2]), np.array([1, 3]), np.array([1, 3]), 1e-4, False)


def test_cases_are_those_of_their_numbers() -> None:
    for make in (broken, edited):
        files = [make(6, index) for index in range(60)]
        assert files == [make(6, index) for index in range(60)]
        assert len({data for _, data in files}) > 50
        assert all(
            data != base(list(BASES)[index % len(BASES)]) for index, (_, data) in enumerate(files) if make is broken
        )
