"""In continuous integration what skips itself fails, and only there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


def _run(folder: Path, **variables: str) -> dict[str, int]:
    """Number of tests by outcome when pytest runs all these files, with tests/conftest.py as a plugin."""
    for index, source in enumerate([*SKIPPING.values(), *OTHERS.values()]):
        (folder / f"test_{index}.py").write_text(source)
    own = {"PATH": "", "RECONV_ASSETS": str(folder / "assets")}
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", os.devnull, "--rootdir", str(folder)]
    done = subprocess.run(
        [*command, "--continue-on-collection-errors", str(folder)],
        cwd=ROOT, env={**environment, **own, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {word: int(count) for count, word in re.findall(r"(\d+) (\w+)[, ]", done.stdout.splitlines()[-1])}


def test_a_skip_fails_in_continuous_integration(tmp_path: Path) -> None:
    assert _run(tmp_path) == {"skipped": 5, "passed": 1, "xfailed": 1}
    assert _run(tmp_path, CI="true") == {"failed": 2, "errors": 3, "passed": 1, "xfailed": 1}
