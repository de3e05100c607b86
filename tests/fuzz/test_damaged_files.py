"""Thousands of spoilt ONNX files, each loaded, run and streamed: an error of reconv's own tree or the right result.

Never a crash of the process, a hang, another exception, or memory without bound. What a case was is said by its number:
`tests.fuzz.damage.spoilt(kind, SEED, number)` gives the file again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.harness import Outcome, survey

SEED = 6
SECONDS = 60.0
GOOD = {
    "ours": {"refused", "ran", "unsteady"},
    "peer": {"equal", "alone", "crash"},
}  # what ONNX Runtime dies of is its own affair


def workers() -> int:
    return min(4, len(os.sched_getaffinity(0)))


def bad(outcomes: list[Outcome], mode: str) -> str:
    """The outcomes that may not be, a line each."""
    return "\n".join(str(outcome) for outcome in outcomes if outcome.verdict not in GOOD[mode])


@pytest.mark.parametrize(("kind", "count", "least"), [("broken", 2000, 0.1), ("edited", 1000, 0.15)])
def test_spoilt_files(kind: str, count: int, least: float, tmp_path: Path, asset: Callable[[str], Path]) -> None:
    """``least``: share of the files that still run, so that there is something to compare."""
    asset("swift_f0")
    command = ["-m", "tests.fuzz.worker"]
    rest = [kind, str(SEED), str(tmp_path)]
    outcomes = survey([*command, "ours", *rest], range(count), workers(), SECONDS)
    assert bad(outcomes, "ours") == ""
    assert sum(outcome.verdict == "unsteady" for outcome in outcomes) <= 0.005 * count
    ran = [outcome.index for outcome in outcomes if outcome.verdict == "ran"]
    assert least * count < len(ran) < 0.9 * count, Counter(outcome.verdict for outcome in outcomes)
    compared = survey([*command, "peer", *rest], ran, workers(), SECONDS)
    assert bad(compared, "peer") == ""
    assert sum(outcome.verdict == "equal" for outcome in compared) > 0.6 * len(ran), Counter(
        outcome.verdict for outcome in compared
    )
