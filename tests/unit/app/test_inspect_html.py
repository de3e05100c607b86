"""`reconv inspect --html` and the bytes in its JSON: the numbers of a model that can be counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reconv.app import main
from reconv.graph import parse, save
from tests.unit.app.pages import breaches, read_page, rows

# x 2x4x4 -> a 4x4x4 -> b, then a is read again: while the sum runs a, b and y are alive
TEXT = """g (float[1, 2, 4, 4] x) => (float[1, 4, 4, 4] y) {
    a = Conv (x, w)
    b = Sigmoid (a)
    y = Add (a, b)
}"""
X, MAP = 4 * 2 * 4 * 4, 4 * 4 * 4 * 4


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    path = tmp_path / "counted.onnx"
    save(parse(TEXT, {"w": np.ones((4, 2, 1, 1), np.float32)}), path)
    return path


def test_bytes_and_liveness_are_in_the_json(counted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(counted), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [node["output_bytes"] for node in found["nodes"]] == [MAP] * 3
    assert [node["weight_bytes"] for node in found["nodes"]] == [32, 0, 0]
    assert [node["live_bytes"] for node in found["nodes"]] == [X + MAP, 2 * MAP, 3 * MAP]
    totals = found["totals"]
    assert totals["peak_live_bytes"] == 3 * MAP
    assert totals["peak_node"] == found["nodes"][2]["name"]
    assert totals["weight_bytes"] == 32


def test_the_page_draws_work_and_memory(counted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["inspect", str(counted), "--html", str(page)]) == 0
    assert "768B of maps alive at the most" in " ".join(capsys.readouterr().out.split())
    root = read_page(page.read_text(encoding="utf-8"))
    assert breaches(root) == []
    work, memory = root.iter("svg")
    assert [len(group.findall("rect")) for group in work] == [2, 1, 1]  # only the convolution multiplies
    heights = [[float(r.get("height", 0)) for r in group if r.get("class") == "bar"] for group in memory]
    assert heights == [[pytest.approx(100 * (X + MAP) / (3 * MAP), rel=1e-3)], [pytest.approx(66.67, rel=1e-3)], [100]]
    assert [group.get("class") for group in memory] == [None, None, "peak"]
    assert (
        work[0]
        .findtext("title", "")
        .endswith("(Conv) · 1x4x4x4 · 128 multiply-adds · 256B out · 32B of weights · 384B alive · sees 1x1/1")
    )
    head, *nodes = rows(root)
    assert [row[head.index("bytes alive")] for row in nodes] == ["384B", "512B", "768B"]
    assert [row[head.index("operator")] for row in nodes] == ["Conv", "Sigmoid", "Add"]
    assert "768B" in ["".join(tile.itertext()) for tile in root.iter("strong")]


def test_names_in_the_file_stay_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    path, page = tmp_path / "hostile.onnx", tmp_path / "page.html"
    save(parse(TEXT, {"w": np.ones((4, 2, 1, 1), np.float32)}), path)
    model = onnx.load(path)
    names = ["</script><script>alert(1)</script>", '"><img src="x">', "[bold red]b[/]"]
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    onnx.save(model, path)
    assert main(["inspect", str(path), "--html", str(page)]) == 0
    assert "at [bold red]b[/]" in capsys.readouterr().out
    root = read_page(page.read_text(encoding="utf-8"))
    assert breaches(root) == []
    assert [row[0] for row in rows(root)[1:]] == names


def test_a_page_of_free_sizes_takes_those_that_are_asked_for(map_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["inspect", str(map_model), "--size", "32x48", "--html", str(page)]) == 0
    assert "1x1x32x48" in {cell for row in rows(read_page(page.read_text(encoding="utf-8"))) for cell in row}


def test_mistakes(counted: Path, tmp_path: Path, mistake: Callable[..., str]) -> None:
    assert "would overwrite what is read" in mistake("inspect", counted, "--html", counted)
    assert "the folder" in mistake("inspect", counted, "--html", tmp_path / "none" / "page.html")
    assert "is a folder; name a file" in mistake("inspect", counted, "--html", tmp_path)
