"""The recipe for wheels: its parts, and one wheel for the Python that runs this, built, repaired and installed."""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
from pathlib import Path

import pytest

from scripts import wheels

HERE = f"cp{sys.version_info[0]}{sys.version_info[1]}"


def test_a_wheel_for_this_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A minute or two of compiling."""
    assert wheels.main(["--out", str(tmp_path), "--no-check"]) == 0, capsys.readouterr().err
    (wheel,) = tmp_path.glob("*.whl")
    assert capsys.readouterr().out.strip() == str(wheel)
    tags = re.fullmatch(r"reconv-[\d.]+-(cp\d+)-(\w+)-(.+)\.whl", wheel.name)
    assert tags
    abi = "abi3" if sys.version_info >= (3, 12) else HERE
    assert (tags[1], tags[2]) == ("cp312" if abi == "abi3" else HERE, abi)
    oldest = min(tuple(map(int, pair)) for pair in re.findall(r"manylinux_(\d+)_(\d+)", tags[3]))
    assert oldest <= (2, 28)
    said = wheels.check(Path(sys.executable), wheel, [Path(sysconfig.get_path("purelib"))])
    assert re.fullmatch(r"reconv [\d.]+ runs, with .*baseline", said)


def test_targets() -> None:
    assert wheels.zig_target("aarch64", "2.28") == "aarch64-linux-gnu.2.28"
    with pytest.raises(wheels.WheelError, match=r"--glibc is '2', expected a version such as 2\.28"):
        wheels.zig_target("x86_64", "2")


def test_zig_is_told_the_names_of_processors_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "zig"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setattr(wheels, "run", lambda *_: str(tmp_path))
    compiler = wheels.zig(Path(sys.executable), "2.28", tmp_path / "programs")
    monkeypatch.undo()
    said = wheels.run(compiler.environment["CXX"], "-march=x86-64-v4", "-O3", "a b.cpp", "-mavx512vnni")
    target = f"{platform.machine()}-linux-gnu.2.28"
    assert said.splitlines() == ["c++", "-target", target, "-march=x86_64_v4", "-O3", "a b.cpp", "-mavx512vnni"]


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert wheels.main(["--python", "no_such_python"]) == 1
    assert capsys.readouterr().err == "error: no Python is called 'no_such_python' here\n"


def test_a_command_that_fails_says_how() -> None:
    with pytest.raises(wheels.WheelError, match=r"ended with exit code 3:\nmany words"):
        wheels.run(sys.executable, "-c", "print('many words'); raise SystemExit(3)")
