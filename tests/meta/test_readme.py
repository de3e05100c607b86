"""The README is kept true: its Python runs, its command lines name commands and options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconv.app import COMMANDS, main
from tests.contract.tiny_model import frame, save_tiny_model

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def command_lines() -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [words for words in lines if words and Path(words[0]).name == "reconv"]


def test_python_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("detector", "boxes", "labels", "backbone"):
        save_tiny_model(tmp_path / f"{name}.onnx", input_name="images")
    monkeypatch.chdir(tmp_path)
    stream, caches = blocks("python")
    names: dict[str, Any] = {
        "x": frame(0),
        "frames": [frame(0), frame(1)],
        "samples": [(frame(i), i) for i in range(3)],
    }
    exec(compile(stream, "README.md", "exec"), names)
    first, second = (float(line.split()[0]) for line in capsys.readouterr().out.splitlines())
    assert first == 1
    assert 0 < second < 1
    exec(compile(caches.replace('"pooled"', '"r"'), "README.md", "exec"), names)  # a name in the small model
    dense = names["model"].run(frame(0))["y"]
    answers = [
        *(names["classify"].run(frame(0)) for _ in range(2)),
        *names["heads"]({"images": frame(0)}),
        names["cameras"]("door", frame(0)),
    ]
    assert all(np.array_equal(answer["y"], dense) for answer in answers)
    assert names["cache"].stats.hits == 1
    assert [label for _, label in names["epochs"]] == [0, 1, 2]


def test_command_lines_name_what_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert {words[1] for words in command_lines()} == COMMANDS.keys()
    for words in command_lines():
        in_a_group = isinstance(COMMANDS[words[1]], dict)
        assert main([*words[1 : 2 + in_a_group], "--help"]) == 0
        known = re.findall(r"--[a-z-]+", capsys.readouterr().out)
        assert [word for word in words if word.startswith("--") and word not in known] == []
