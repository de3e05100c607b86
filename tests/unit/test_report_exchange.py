"""What the page says about reordering, for figures that keep what was asked and for figures that do not."""

from __future__ import annotations

from typing import Any

from benchmarks.exchange import ASKED
from benchmarks.report_exchange import exchange


def row(asset: str, target: str, median: float, **others: Any) -> dict[str, Any]:
    ratio = {"median": median, "low": median - 0.01, "high": median + 0.01}
    about = {"model": asset.upper(), "asset": asset, "target": target, "threads": 1, "precision": "float32"}
    return {**about, "ratio": ratio, "rules": {}, "failed_proofs": 0, **others}


def page(rows: list[dict[str, Any]], searches: list[dict[str, Any]] | None = None) -> str:
    return "\n".join(exchange({"asked": ASKED, "rows": rows, "searches": searches or []}))


def test_a_table_per_number_of_threads() -> None:
    rows = [
        row("a", "reconv", 1.0),
        row("a", "onnxruntime", 0.5, rules={"swap": 2, "fold": 1}),
        row("b", "reconv", 2.0),
    ]
    text = page([*rows, row("b", "onnxruntime", 3.0), row("a", "reconv", 0.75, threads=2)])
    assert "| A | 1.000 (0.990-1.010); nothing to gain | 0.500 (0.490-0.510); swap x 2, fold x 1 |" in text
    assert "| B | 2.000 (1.990-2.010); nothing to gain | 3.000 (2.990-3.010); nothing to gain |" in text
    assert text.index("### 1 thread(s)") < text.index("| B |") < text.index("### 2 thread(s)") < text.index("0.750")
    assert "Largest upper end of an interval, of models that were reordered: 0.510 (asked for: at most 1.02)." in text
    assert "of models that were left untouched, which shows the noise: 3.010." in text


def test_what_was_asked_stands_beside_what_was_measured() -> None:
    names = ("onnxruntime", "openvino")
    rows = [row("densenet121", "reconv", 0.5), *(row("densenet121", name, 0.93) for name in names)]
    rows += [row("fpn_segmentation", name, ratio) for name, ratio in zip(names, (0.8, 0.95), strict=True)]
    rows += [row("unet_upsampling", name, 0.89, failed_proofs=1) for name in names]
    text = page(rows)
    assert "DenseNet-121 on the rivals: 0.930, 0.930 (asked for: at most 0.94)" in text
    assert "The best network that samples up: 0.890, 0.890 (asked for: at most 0.9)" in text, "by its worst rival"
    assert "Swaps that failed their proof and were not done: 2." in text


def test_searches() -> None:
    search = {"model": "A", "target": "reconv", "threads": 2, "seconds": 63.25, "again_seconds": 1.5}
    text = page([row("a", "reconv", 1.0)], [search])
    assert "| A | reconv | 2 | 63.2 s | 1.5 s |" in text
    assert "Asked for: at most 120 s and 10 s." in text
