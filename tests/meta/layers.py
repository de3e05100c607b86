"""Who may import whom: the rules of docs/architecture.md as data, and a checker that reads the sources with `ast`.

Imports go one way: app -> optimize -> (measure, recipes, reuse) -> (engine, compress, exchange) -> graph -> errors;
cache -> errors, and reuse, optimize and app may import cache; session -> engine, for the public door alone. Folders
on one step do not import one another.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# folder -> folders (or top-level modules) of reconv that it may import, itself apart
_BELOW_ENGINE = {"errors", "graph"}
_BELOW_MEASURE = _BELOW_ENGINE | {"engine", "compress", "exchange"}
_BELOW_OPTIMIZE = _BELOW_MEASURE | {"measure", "recipes", "reuse", "cache"}
ALLOWED: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "cache": {"errors"},
    "graph": {"errors"},
    "engine": _BELOW_ENGINE | {"_core"},
    "compress": _BELOW_ENGINE,
    "exchange": _BELOW_ENGINE,
    "session": _BELOW_ENGINE | {"engine"},
    "reuse": _BELOW_MEASURE | {"cache", "_version", "_core"},  # keys name the version and the instruction set
    "recipes": _BELOW_MEASURE,
    "measure": _BELOW_MEASURE | {"_version", "_core"},  # the environment names the instruction set
    "optimize": _BELOW_OPTIMIZE,
    "app": _BELOW_OPTIMIZE | {"optimize", "_version"},
    "__init__": _BELOW_OPTIMIZE | {"optimize", "session", "_version"},
    "__main__": {"app"},
}

# foreign library -> the only places (folders or files below src/reconv) that may import it
ONLY_IN: dict[str, tuple[str, ...]] = {
    "onnx": ("graph/",),
    "onnx_ir": ("graph/",),
    "onnxruntime": ("engine/tail.py", "measure/peers/onnxruntime.py", "session/"),
    "openvino": ("measure/peers/openvino.py",),
    "typer": ("app/",),
    "rich": ("app/",),
    "av": ("app/", "recipes/sources/network.py"),
    "cachetools": (),  # in tests only
    "libcachesim": (),  # in tests only: it is GPL
    "torch": ("compress/train/",),
    "matplotlib": ("cache/curves.py",),
    "zstandard": ("cache/zstd.py",),
    "blake3": ("reuse/keys.py",),
    "xxhash": ("reuse/local.py",),
    "ml_dtypes": ("cache/packing.py",),
    "redis": ("cache/tiers/redis.py",),
}
PRINTS = "app/"


@dataclass(frozen=True)
class Breach:
    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"src/reconv/{self.file}:{self.line}: {self.what}"


def _imports(nodes: Iterable[ast.AST], package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Every imported module as an absolute dotted name; `package` is where relative imports start."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            if module == "reconv" or not node.module:  # `from reconv import graph`, `from . import graph`
                for alias in node.names:
                    yield node.lineno, f"{module}.{alias.name}"
            else:
                yield node.lineno, module


def _for_annotations_only(tree: ast.AST) -> set[ast.AST]:
    """The nodes below `if TYPE_CHECKING:`, which load nothing."""
    blocks = (node.body for node in ast.walk(tree) if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING")
    return {below for block in blocks for statement in block for below in ast.walk(statement)}


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def check_file(file: str, source: str) -> list[Breach]:
    """The breaches of one file; `file` is its path below src/reconv, with forward slashes."""
    tree = ast.parse(source)
    parts = tuple(file.removesuffix(".py").removesuffix(".pyi").split("/"))
    folder, breaches = parts[0], []
    if folder not in ALLOWED:
        return [Breach(file, 1, f"{folder} has no line in ALLOWED of tests/meta/layers.py")]
    unloaded = _for_annotations_only(tree)
    package = ("reconv", *parts[:-1])
    for line, module in _imports((node for node in ast.walk(tree) if node not in unloaded), package):
        top, _, rest = module.partition(".")
        if top == "reconv":
            target = rest.partition(".")[0]
            names_the_door = target not in ALLOWED and target != "_core"
            if folder != "__init__" and names_the_door:
                breaches.append(Breach(file, line, f"imports {module} through the public door: import its own module"))
            elif not names_the_door and target not in (ALLOWED[folder] | {folder}):
                breaches.append(Breach(file, line, f"{folder} may not import {target}"))
        elif top in ONLY_IN and not file.startswith(ONLY_IN[top]):
            places = " or ".join(ONLY_IN[top]) or "nothing below src/reconv"
            breaches.append(Breach(file, line, f"imports {top}; only {places} may"))
    if not file.startswith(PRINTS):
        breaches += [
            Breach(file, node.lineno, "prints; only app/ may")
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and _name(node.func) == "print"
        ]
    return breaches


def check_tree(root: Path) -> list[Breach]:
    """The breaches of all Python files below `root` (src/reconv)."""
    files = sorted(root.rglob("*.py"))
    return [
        breach
        for path in files
        for breach in check_file(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    ]
