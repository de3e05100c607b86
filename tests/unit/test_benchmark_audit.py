"""The agreement of a stream that audits itself, with the frames it audited and without them."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.audit import ASKED, JOINS, Run, stretch
from benchmarks.report_audit import audit


class Equal:
    """Agreement is the share of equal results."""

    def agreement(self, results: list[int], dense_results: list[int]) -> dict[str, float]:
        assert len(results) == len(dense_results) > 0
        return {"equal": float(np.mean([a == b for a, b in zip(results, dense_results, strict=True)]))}


def ran(audited: list[int]) -> Run:
    run: Any = Run(stream=None)  # type: ignore[arg-type]
    run.results, run.audited = [0, 1, 2, 9, 9, 9], audited
    run.shares, run.tolerances = [1.0, 0.5, 0.1, 0.1, 0.1, 0.1], [0.1] * 6
    found: Run = run
    return found


def test_frames_that_were_audited_can_be_left_out() -> None:
    recipe: Any = Equal()
    dense = [0, 1, 2, 3, 4, 9]
    found = stretch("all", range(1, 6), ran([1, 5]), dense, recipe)
    assert found["agreement"] == {"equal": 0.6}
    assert found["unaudited"] == {"equal": 0.33333}
    assert found["frames"] == [1, 5]
    assert stretch("part", range(2, 4), ran([0, 5]), dense, recipe)["unaudited"] == {"equal": 0.5}
    assert stretch("audited alone", range(5, 6), ran([5]), dense, recipe)["unaudited"] is None


def test_one_join_was_used_to_develop_and_the_others_share_no_clip_with_it() -> None:
    used, *fresh = (set(join.clips) for join in sorted(JOINS, key=lambda join: not join.developed))
    assert [join.developed for join in JOINS].count(True) == 1
    assert fresh
    assert not any(used & clips for clips in fresh)


def test_the_page_tells_the_joins_apart_and_takes_the_lowest() -> None:
    def row(start: float, audited: bool, values: list[float | None]) -> dict[str, Any]:
        stretches = [
            {
                "stretch": words,
                "tolerance": start,
                "share": 0.2,
                "agreement": {"f1@0.75": 0.999},
                "unaudited": None if value is None else {"f1@0.75": value},
            }
            for words, value in zip(("all", "busy, first half", "busy, second half"), values, strict=True)
        ]
        return {"start": start, "audited": audited, "audits": 3, "extra_work": 0.03 * start, "stretches": stretches}

    rows = [row(0.1, True, [0.97, 0.951, None]), row(0.3, True, [0.96, 0.98, 0.99]), row(0.3, False, [0.5, 0.5, 0.5])]
    joins = [
        {"clips": ["a", "b"], "developed": True, "frames": 5, "rows": rows},
        {"clips": ["c", "d"], "developed": False, "frames": 7, "rows": rows},
    ]
    text = "\n".join(audit({"asked": ASKED, "every": 10, "joins": joins}))
    assert "### a and then b, 5 frames: the audit's constants were chosen on it" in text
    assert "### c and then d, 7 frames: had no part in choosing constants but one, the highest tolerance" in text
    assert "whole clip is 0.960, over any stretch 0.951 (asked for: 0.96); the most extra work is 0.9%." in text
    assert "| 0.1, audited | 3, 0.3% | busy, second half | 0.100 | 0.200 | 0.999 | - |" in text
