"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reconv import __version__
from reconv.app import COMMANDS, main

SOURCES = Path(__file__).resolve().parents[3] / "src" / "reconv"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"reconv {__version__}\n"


def test_the_package_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "reconv", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"reconv {__version__}\n"


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in overview
        for words in [[name, part] for part in command] if isinstance(command, dict) else [[name]]:
            assert main([*words, "--help"]) == 0
            assert "--json" in capsys.readouterr().out


def test_nothing_asked_is_the_help_and_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage" in capsys.readouterr().out


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly"]) == 2
    assert capsys.readouterr().err.startswith("error: No such command 'fly'")


def test_a_reader_that_leaves_is_no_traceback(map_model: Path) -> None:
    code = "import sys\nfrom reconv.app import main\nsys.exit(main())"
    command = [sys.executable, "-c", code, "inspect", str(map_model), "--size", "32x32"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(SOURCES.parent)}
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()
