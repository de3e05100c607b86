"""Small models and clips for the command line, and running it as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from reconv.app import main

HEIGHT, WIDTH, FRAMES = 64, 96, 24


def save(path: Path, nodes: list[onnx.NodeProto], output: list[int | str], **constants: NDArray[np.generic]) -> Path:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def yolox_model(tmp_path: Path) -> Path:
    """The output format of YOLOX with two classes: bright blocks are objects."""
    constants: dict[str, NDArray[Any]] = {"shape": np.array([1, 7, -1], np.int64)}
    nodes, parts = [], []
    for stride in (8, 16, 32):
        weight = np.zeros((7, 3, stride, stride), np.float32)
        weight[4:6] = 1 / (255 * 3 * stride**2)
        constants |= {f"w{stride}": weight, f"b{stride}": np.array([0.5, 0.5, 0, 0, 0, 0, 0.1], np.float32)}
        window: dict[str, Any] = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        nodes.append(helper.make_node("Conv", ["images", f"w{stride}", f"b{stride}"], [f"c{stride}"], **window))
        nodes.append(helper.make_node("Reshape", [f"c{stride}", "shape"], [f"r{stride}"]))
        parts.append(f"r{stride}")
    nodes.append(helper.make_node("Concat", parts, ["rows"], axis=2))
    nodes.append(helper.make_node("Transpose", ["rows"], ["y"], perm=[0, 2, 1]))
    return save(tmp_path / "yolox.onnx", nodes, [1, "anchors", 7], **constants)


@pytest.fixture
def map_model(tmp_path: Path) -> Path:
    """One 3x3 convolution and a sigmoid: a probability map as large as the input."""
    weight = np.full((1, 3, 3, 3), 0.2, np.float32)
    conv = helper.make_node("Conv", ["images", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return save(tmp_path / "map.onnx", [conv, helper.make_node("Sigmoid", ["c"], ["y"])], [1, 1, "h", "w"], w=weight)


@pytest.fixture
def pictures() -> NDArray[np.uint8]:
    """A bright square that walks over a grey ground: uint8 (N, H, W, 3)."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 40, np.uint8)
    for k, frame in enumerate(frames):
        frame[8:40, 2 * k : 2 * k + 32] = 250
    return frames


@pytest.fixture
def clip(tmp_path: Path, pictures: NDArray[np.uint8]) -> Path:
    path = tmp_path / "clip.npy"
    np.save(path, pictures)
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """More frames than anyone waits for, in a file of holes."""
    path = tmp_path / "endless.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (60_000, HEIGHT, WIDTH, 3)).flush()
    return path


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line that must end with 2 and one line on stderr; gives that line."""

    def made(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return made


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """`reconv ARGUMENTS` as a process whose stdout is a pipe, and stderr too unless it is given."""
    started = []

    def run(*arguments: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        code = "import sys\nif __name__ == '__main__':\n    from reconv.app import main\n    sys.exit(main())"
        source = Path(__file__).resolve().parents[3] / "src"
        paths = os.pathsep.join([str(source), *(path for path in sys.path if path)])
        command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
        environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": paths}
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()
