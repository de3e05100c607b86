"""docs/exchange.md is kept true: its Python runs, its commands and options exist, its table is that of the rules."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from reconv.app import COMMANDS, main
from reconv.exchange.rules import RULES
from scripts.write_rules import BEGIN, END, PAGE, written
from tests.contract.tiny_model import save_tiny_model

TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_python_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "segmenter.onnx", input_name="images")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "docs/exchange.md", "exec"), names)
    assert capsys.readouterr().out.startswith(names["found"].report.reason)
    assert (tmp_path / "segmenter_fast.onnx").is_file()
    names["memo"].close()


def test_commands_and_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    assert {words[1] for words in lines} == {"exchange", "inspect"} <= COMMANDS.keys()
    for words in lines:
        assert main([words[1], "--help"]) == 0
        known = re.findall(r"--?[a-z][a-z-]*", capsys.readouterr().out)
        assert [word for word in words if word.startswith("-") and word not in known] == []
    assert main(["exchange", "--help"]) == 0
    known = re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)
    assert [option for option in re.findall(r"`(--[a-z-]+)", TEXT) if option not in known] == []


def test_the_table_is_that_of_the_rules() -> None:
    assert written(TEXT) == TEXT, "run: python scripts/write_rules.py"
    rows = [line for line in TEXT.partition(BEGIN)[2].partition(END)[0].splitlines() if line.startswith("| ")]
    assert len(rows) == len(RULES) + 2


def test_a_table_that_is_not_of_today_is_seen() -> None:
    old = TEXT.replace(f"| {RULES[0].name} |", "| an old name |")
    assert old != TEXT
    assert written(old) == TEXT
