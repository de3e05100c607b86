"""The sources keep to the import rules, and the checker sees each kind of breach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.meta.layers import check_file, check_tree

ROOT = Path(__file__).parents[2] / "src" / "reconv"


def test_sources_keep_to_the_layers() -> None:
    assert any(ROOT.rglob("*.py")), f"no sources below {ROOT}"
    assert [str(breach) for breach in check_tree(ROOT)] == []


@pytest.mark.parametrize(
    ("file", "source", "message"),
    [
        ("graph/load.py", "from reconv.engine import Model", "graph may not import engine"),
        ("graph/load.py", "from reconv import engine", "graph may not import engine"),
        ("graph/load.py", "from ..engine import model", "graph may not import engine"),
        ("graph/load.py", "from .. import engine", "graph may not import engine"),
        ("engine/lower/conv.py", "from ...measure import protocol", "engine may not import measure"),
        ("graph/load.py", "def late():\n    import reconv.app.bench", "graph may not import app"),
        ("engine/model.py", "import reconv.compress", "engine may not import compress"),
        ("cache/store.py", "from reconv.graph import load", "cache may not import graph"),
        ("engine/model.py", "from reconv import load", "public door"),
        ("recipes/yolox.py", "from reconv import _core", "recipes may not import _core"),
        ("engine/model.py", "import onnx", "imports onnx; only graph/ may"),
        ("engine/model.py", "from onnx_ir import Model", "imports onnx_ir; only graph/ may"),
        ("measure/protocol.py", "import openvino", "only measure/peers/openvino.py may"),
        ("recipes/yolox.py", "import torch", "only compress/train/ may"),
        ("recipes/yolox.py", "import cachetools", "nothing below src/reconv may"),
        ("measure/protocol.py", "print('1 ms')", "prints; only app/ may"),
        ("helpers/things.py", "", "has no line in ALLOWED"),
    ],
)
def test_checker_sees_the_breach(file: str, source: str, message: str) -> None:
    breaches = check_file(file, source)
    assert len(breaches) == 1
    assert message in str(breaches[0])


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("engine/model.py", "from reconv.graph import load\nfrom reconv import _core\nfrom . import stream"),
        (
            "engine/lower/conv.py",
            "from .table import T\nfrom ..tail import Tail\nfrom ...errors import ModelError",
        ),
        ("measure/peers/openvino.py", "def open():\n    import openvino"),
        ("app/bench.py", "import rich\nprint('done')"),
        ("graph/load.py", "import onnx\nfrom reconv.errors import ModelError"),
        ("engine/model.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import onnx"),
        ("__init__.py", "from reconv.engine import Model\nfrom ._version import __version__"),
    ],
)
def test_checker_lets_the_rest_pass(file: str, source: str) -> None:
    assert check_file(file, source) == []
