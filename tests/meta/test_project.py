"""Habits of the project that a machine can check: the public door, file lengths, the README's commands, words."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import reconv

ROOT = Path(__file__).parents[2]
DOOR = [
    "__version__",
    "load",
    "cached",
    "exchange",
    "Exchanged",
    "quantize",
    "prune",
    "distill",
    "drop_blocks",
    "sparsify",
    "share_weights",
    "factorize",
    "shrink_input",
    "earlier_stride",
    "prune_quantize",
    "distil_quantize",
    "prune_distil_quantize",
    "Compressed",
    "optimize",
    "Optimized",
    "Limits",
    "tune",
    "Tuned",
    "Cache",
    "CacheStats",
    "Cached",
    "Cut",
    "DiskTier",
    "Features",
    "RedisTier",
    "SharedPrefix",
    "StreamPool",
    "InferenceSession",
    "Model",
    "Stream",
    "Step",
    "Audit",
    "PixelArithmetic",
    "TensorInfo",
    "Placement",
    "Placed",
    "Profile",
    "MapProfile",
    "Recipe",
    "ReconvError",
    "CacheError",
    "ClosedError",
    "InputError",
    "MissingError",
    "ModelError",
    "ProfileError",
    "SourceError",
    "TailError",
]
MOST_LINES = 400
# reason by file: a longer file wants one
LONGER: dict[str, str] = {"scripts/assets.py": "half of it is the table of assets, which is data"}
# what a published project does not name: hosts apart from these, places on one machine, and what lies beside the clone
HOSTS = {"onnx.ai"} | {"rule.example", "com.example"}  # a field, and a domain of operators: no hosts at all
HOSTS |= {"reconv.compress.train.net", "self.net", "student.net"}  # a module, and what holds a network
HOST = re.compile(r"\b(?:[a-z0-9-]+\.)+(?:org|com|net|io|ai|dev|example)\b")
PLACE = re.compile(r"(?<![\w.\\])/(?:root|home|Users|tmp|opt|srv|mnt|media|var|work\w*)/(?!\.X11-unix)[\w.]+")
BESIDE = re.compile(r"(?<![\w./])(?:\.\./)+\w[\w.-]*")


def committed(*patterns: str) -> list[Path]:
    """The files of the clone that git knows or would add; without git, all that match where tools leave nothing."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    if shutil.which("git"):
        listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]
    files = (path for path in sorted(ROOT.rglob("*")) if path.is_file() and not _left_by_tools(path))
    return [path for path in files if any(path.match(pattern) for pattern in patterns)]


def _left_by_tools(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return parts[0] in {"build", "dist", "out"} or any(part[0] == "." and part != ".ci" for part in parts)


def make_targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def make_commands(text: str) -> set[str]:
    """The targets of lines `make TARGET` in the code blocks of a manual page."""
    blocks = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {name for block in blocks for name in re.findall(r"^\$? ?make ([a-z-]+)", block, re.MULTILINE)}


def forbidden(text: str, folder: Path = ROOT) -> list[str]:
    """The words of a text that it may not have; relative paths start at `folder`."""
    hosts = [host for host in HOST.findall(text) if host not in HOSTS]
    beside = [path for path in BESIDE.findall(text) if not (folder / path).resolve().is_relative_to(ROOT)]
    return hosts + PLACE.findall(text) + beside


def test_public_door_is_the_list() -> None:
    assert sorted(reconv.__all__) == sorted(DOOR)
    for name in DOOR:
        assert hasattr(reconv, name), name


def test_files_are_short_or_have_a_reason() -> None:
    sources = [path for path in committed("*.py", "*.pyi", "*.cpp", "*.hpp") if "tests" not in path.parts]
    assert sources
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert {name: count for name, count in lengths.items() if count > MOST_LINES and name not in LONGER} == {}
    assert {name for name in LONGER if lengths.get(name, 0) <= MOST_LINES} == set(), "reasons that are not needed"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_commands_of_the_manual_exist(page: str) -> None:
    commands = make_commands((ROOT / page).read_text(encoding="utf-8"))
    assert commands
    assert commands <= make_targets((ROOT / "Makefile").read_text(encoding="utf-8"))


def test_links_of_the_manual_lead_somewhere() -> None:
    pages = [path for path in committed("*.md") if path.name != "CHANGELOG.md"]
    missing = {
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    }
    assert missing == set()


def test_no_host_names_and_no_paths_of_one_machine() -> None:
    own = Path(__file__).resolve()
    texts = committed("*.py", "*.pyi", "*.cpp", "*.hpp", "*.md", "*.txt", "*.toml", "*.json", "Makefile", ".ci/run")
    found = {
        str(path.relative_to(ROOT)): words
        for path in texts
        if path.resolve() != own and (words := forbidden(path.read_text(encoding="utf-8"), path.parent))
    }
    assert found == {}


def test_the_checks_can_fail() -> None:
    assert make_commands("```sh\nmake demo\nmake nothing\n```") == {"demo", "nothing"}
    assert make_targets("demo: x ## y\n\techo\n.PHONY: a\n") == {"demo"}
    assert forbidden("see /root/x/y, 'packages.example.org' and ../beside/it") == [
        "packages.example.org", "/root/x", "../beside",
    ]  # fmt: skip
    assert forbidden('and/or a/root/b "../kernels.hpp" https://onnx.ai/x', ROOT / "native" / "ops") == []
