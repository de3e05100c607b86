"""The native core under sanitizers: builds its driver (native/tests) with each, without Python, and runs it.

The slowest tests of the suite: a minute or two of compiling each.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = {
    # Frames that the sanitizer moves to the heap to see uses after a return are aligned to 32 bytes, vectors need 64.
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=1500
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


@pytest.mark.parametrize(("sanitizers", "plans"), [("address,undefined", 40), ("thread", 15)])
def test_the_driver_passes_under(sanitizers: str, plans: int, tmp_path: Path) -> None:
    scripts = sysconfig.get_path("scripts")
    path = os.pathsep.join((scripts, os.environ.get("PATH", "")))
    cmake = shutil.which("cmake", path=path)
    assert cmake, "cmake is one of the tools that `make setup` installs"
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=path) else []
    flags = ["-DRECONV_PYTHON=OFF", "-DRECONV_NATIVE_TESTS=ON", f"-DRECONV_SANITIZE={sanitizers}"]
    run(cmake, *generator, "-S", ROOT, "-B", tmp_path, *flags, PATH=path)
    run(cmake, "--build", tmp_path, "--parallel", "2", PATH=path)
    printed = run(tmp_path / "native_tests", "1", str(plans), **OPTIONS)
    passed = re.fullmatch(r"(\d+) checks passed\n", printed)
    assert passed, printed
    assert int(passed[1]) > 10_000
