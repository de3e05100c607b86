"""The README is kept true: its Python runs, its command lines name commands and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reconv.app import COMMANDS, main
from tests.contract.tiny_model import frame, save_tiny_model

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def command_lines() -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [words for words in lines if words and Path(words[0]).name == "reconv"]


def test_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "detector.onnx", input_name="images")
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {"x": frame(0), "frames": [frame(0), frame(1)]})
    first, second = (float(line.split()[0]) for line in capsys.readouterr().out.splitlines())
    assert first == 1
    assert 0 < second < 1


def test_command_lines_name_what_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert {words[1] for words in command_lines()} == COMMANDS.keys()
    for words in command_lines():
        assert main([words[1], "--help"]) == 0
        known = re.findall(r"--[a-z-]+", capsys.readouterr().out)
        assert [word for word in words if word.startswith("--") and word not in known] == []
