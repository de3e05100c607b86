"""Every benchmark still runs (in its tiny mode), and the pages are made of what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import SUITES
from benchmarks.__main__ import main, merged
from benchmarks.options import Options
from benchmarks.report import BEGIN, END, SECTIONS, page, write_pages
from reconv.measure import environment


@pytest.mark.parametrize("name", SUITES)
def test_suite_runs_and_is_reported(name: str, asset: Callable[[str], Path], tmp_path: Path) -> None:
    said: list[str] = []
    measured = SUITES[name](Options(True, asset, said.append))
    assert said
    result = json.loads(json.dumps({"suite": name, "date": "2000-01-01", "environment": environment(), **measured}))
    (tmp_path / f"{name}.json").write_text(json.dumps(result))
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_pages(tmp_path, tmp_path / "page.md", readme)
    text = (tmp_path / "page.md").read_text()
    assert text.count("2000-01-01") == 1
    assert text.count("Not measured yet.") == len(SUITES) - 1
    summary = readme.read_text()
    assert summary.startswith(f"before\n{BEGIN}\n")
    assert summary.endswith(f"{END}\nafter\n")
    assert "old" not in summary
    assert ("YOLOX-Nano on" in summary) == (name in ("busy", "quiet"))


def test_every_suite_has_a_section() -> None:
    assert SECTIONS.keys() == SUITES.keys()
    assert page({}).count("Not measured yet.") == len(SUITES)


def test_tiny_figures_stay_out_of_the_manual(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--tiny"])
    assert "name another folder with --results" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fast"])
    assert "no suite is called fast" in capsys.readouterr().err


def test_one_model_measured_again_leaves_the_others_as_they_were() -> None:
    other = {"model": "b", "target": "t", "threads": 1}
    row = {"model": "a", "target": "t", "threads": 1}
    found = merged({"asked": 1, "rows": [row | {"ms": 1}, other]}, {"asked": 2, "rows": [row | {"ms": 2}]})
    assert found == {"asked": 2, "rows": [other, row | {"ms": 2}]}
    with pytest.raises(SystemExit):
        main(["dense", "--model", "a"])


def test_the_page_is_what_the_results_give(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    write_pages(root / "benchmarks" / "results", tmp_path / "page.md", None)
    assert (tmp_path / "page.md").read_text() == (root / "docs" / "benchmarks.md").read_text()
