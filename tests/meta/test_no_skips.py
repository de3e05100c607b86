"""In continuous integration what skips itself fails, and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPING = {
    "call": 'import pytest\ndef test_one(): pytest.skip("no clip")',
    "mark": 'import pytest\n@pytest.mark.skip(reason="no clip")\ndef test_one(): pass',
    "fixture": 'import pytest\n@pytest.fixture\ndef x(): pytest.skip("no clip")\ndef test_one(x): pass',
    "import": 'import pytest\npytest.importorskip("no_such_clip", reason="no clip")\ndef test_one(): pass',
    "asset": 'def test_one(asset): asset("cap12")',  # its client is not on the PATH that _run sets
}
OTHERS = {
    "passes": "def test_one(): pass",
    "fails as expected": 'import pytest\n@pytest.mark.xfail(reason="known")\ndef test_one(): assert False',
}


def _run(folder: Path, source: str, **variables: str) -> str:
    """The last line of pytest's output on a file of this source, with tests/conftest.py as a plugin."""
    (folder / "test_it.py").write_text(source)
    own = {"PATH": "", "RECONV_ASSETS": str(folder / "assets")}
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", os.devnull, "--rootdir", str(folder)]
    done = subprocess.run(
        [*command, str(folder)],
        cwd=ROOT, env={**environment, **own, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("kind", SKIPPING)
def test_a_skip_fails(kind: str, tmp_path: Path) -> None:
    assert " 1 skipped in " in _run(tmp_path, SKIPPING[kind])
    last = _run(tmp_path, SKIPPING[kind], CI="true")
    assert " 1 error in " in last or " 1 failed in " in last
    assert "skipped" not in last


@pytest.mark.parametrize("kind", OTHERS)
def test_the_rest_is_left_alone(kind: str, tmp_path: Path) -> None:
    assert "error" not in (last := _run(tmp_path, OTHERS[kind], CI="true"))
    assert "failed" not in last.replace("xfailed", "")
