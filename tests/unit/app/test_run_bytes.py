"""`reconv run` and `bench` on networks of bytes, as TensorFlow's detectors are, and on those of one channel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from reconv.app import main
from reconv.engine.model import load
from tests.unit.small import network


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), np.uint8)
    frames[1:] = frames[0]
    for k in range(5):
        frames[k, 8 + k : 24 + k, 40:56] = 255
    np.save(tmp_path / "pictures.npy", frames)
    return tmp_path / "pictures.npy"


def _of_bytes(source: Path, target: Path) -> Path:
    """The model with an input uint8 (1, h, w, 3) that a Cast and a Transpose make the one it had."""
    model = onnx.load(source)
    graph, (info,) = model.graph, model.graph.input
    name = info.name
    graph.node.insert(0, helper.make_node("Transpose", ["floats"], [name], perm=[0, 3, 1, 2]))
    graph.node.insert(0, helper.make_node("Cast", ["bytes"], ["floats"], to=TensorProto.FLOAT))
    info.CopyFrom(helper.make_tensor_value_info("bytes", TensorProto.UINT8, [1, "h", "w", 3]))
    onnx.save(model, target)
    return target


def _run(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[dict[str, Any], NDArray[Any]]:
    target = folder / "out.npz"
    assert main(["run", *(str(each) for each in arguments), "--compare", "1", "--output", str(target), "--json"]) == 0
    return json.loads(capsys.readouterr().out), np.load(target)["y"]


@pytest.mark.parametrize("recipe", ["raw", "yolox"])
def test_pictures_go_into_a_network_of_bytes_as_they_are(
    tmp_path: Path, yolox_model: Path, pictures: Path, capsys: pytest.CaptureFixture[str], recipe: str
) -> None:
    model = _of_bytes(yolox_model, tmp_path / "bytes.onnx")
    plain = _run(tmp_path, capsys, yolox_model, pictures, "--recipe", "yolox")[1]
    said, found = _run(tmp_path, capsys, model, pictures, "--recipe", recipe)
    assert said["bit_identical_frames"] == said["compared_frames"] > 0
    assert said["recomputed"] < 0.6
    if recipe == "yolox":  # scale 1 and no mean: the network that it was made of
        np.testing.assert_array_equal(found, plain)
    frames = np.load(pictures)
    order = frames if recipe == "yolox" else frames[..., ::-1]
    alone = [load(model).run(np.ascontiguousarray(frame)[None])["y"] for frame in order]
    np.testing.assert_array_equal(found.reshape(len(alone), -1), np.stack(alone).reshape(len(alone), -1))


def test_one_picture_in_a_file_of_an_array_goes_in_with_its_batch(
    tmp_path: Path, yolox_model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _of_bytes(yolox_model, tmp_path / "bytes.onnx")
    batches = np.load(pictures)[:, None]
    np.save(tmp_path / "batches.npy", batches)  # (N, 1, H, W, 3): arrays, not pictures
    found = _run(tmp_path, capsys, model, tmp_path / "batches.npy")[1]
    expected = np.stack([load(model).run(batch)["y"] for batch in batches])
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_bench_feeds_bytes(
    tmp_path: Path,
    yolox_model: Path,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reconv.app.bench.ENTRANTS", ("reconv", "reconv-stream", "onnxruntime"))
    model = _of_bytes(yolox_model, tmp_path / "bytes.onnx")
    call = ["bench", str(model), str(pictures), "--recipe", "yolox", "--threads", "1", "--json"]
    assert main(call) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["runs"][0]["rows"]}
    assert rows["reconv-stream"]["share"] < 0.6
    assert rows["reconv-stream"]["agreement"]["f1@0.75"] == 1


@pytest.mark.parametrize("last", [False, True])
def test_a_network_of_one_channel_takes_pictures_and_grey_arrays(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str], *, last: bool
) -> None:
    cv2 = pytest.importorskip("cv2")
    weight = np.random.default_rng(1).normal(0, 1, (2, 1, 3, 3)).astype(np.float32)
    turn = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if last else []
    conv = helper.make_node("Conv", ["t" if last else "x", "w"], ["y"], pads=[1, 1, 1, 1])
    shape = [1, "h", "w", 1] if last else [1, 1, "h", "w"]
    model = tmp_path / "grey.onnx"
    onnx.save(network([*turn, conv], {"w": weight}, shape, ["y"]), model)
    said, found = _run(tmp_path, capsys, model, pictures)
    assert said["bit_identical_frames"] == said["compared_frames"] > 0
    assert said["recomputed"] < 0.3
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in np.load(pictures)])
    np.save(tmp_path / "grey.npy", grey[..., None])
    floats = _run(tmp_path, capsys, model, tmp_path / "grey.npy")[1]  # arrays go as they are: 0..255
    np.testing.assert_allclose(found.reshape(-1) * 255, floats.reshape(-1), rtol=1e-4, atol=1e-2)
