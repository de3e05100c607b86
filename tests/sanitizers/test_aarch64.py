"""The native core for 64-bit ARM: built with a cross compiler, its driver (native/tests) run by an emulator.

Debian has both: g++-aarch64-linux-gnu and qemu-user. The kernels are the same source at 128 bits, "neon", and with the
products of 8-bit codes in one instruction, "i8mm"; the emulator's processor has both.
"""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from pathlib import Path

import pytest

from tests.sanitizers.test_native import ROOT, run

COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = "qemu-aarch64"


def test_the_driver_passes_on_arm(tmp_path: Path) -> None:
    for command, package in ((COMPILER, "g++-aarch64-linux-gnu"), (EMULATOR, "qemu-user")):
        if not shutil.which(command):
            pytest.skip(f"{command} is not here (Debian: apt-get install {package})")
    scripts = sysconfig.get_path("scripts")
    path = os.pathsep.join((scripts, os.environ.get("PATH", "")))
    cmake = shutil.which("cmake", path=path)
    assert cmake, "cmake is one of the tools that `make setup` installs"
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=path) else []
    cross = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={COMPILER}"]
    flags = [
        "-DRECONV_PYTHON=OFF",
        "-DRECONV_NATIVE_TESTS=ON",
        "-DRECONV_WERROR=ON",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
    ]
    run(cmake, *generator, "-S", ROOT, "-B", tmp_path, *cross, *flags, PATH=path)
    run(cmake, "--build", tmp_path, "--parallel", "2", PATH=path)
    isas = run(EMULATOR, "-cpu", "max", tmp_path / "native_tests", "isas")
    assert isas.split() == ["i8mm", "neon", "baseline"]
    printed = run(EMULATOR, "-cpu", "max", tmp_path / "native_tests", "1", "3")
    passed = re.fullmatch(r"(\d+) checks passed\n", printed)
    assert passed, printed
    assert int(passed[1]) > 1_000
    assert run(EMULATOR, "-cpu", "cortex-a53", tmp_path / "native_tests", "isas").split() == ["neon", "baseline"]
