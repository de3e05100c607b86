"""Every line of PEERS: gives ONNX Runtime's plain answer, says what it is, and says why when it cannot be opened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from reconv.measure import PEERS, Job, Peer
from tests.contract.tiny_model import frame, save_tiny_model

# float32 reordered; a peer that computes in 16 bits has its own line
TOLERANCE: Mapping[str, float] = {"float32": 1e-5, "bfloat16": 2e-2, "f32": 1e-5, "bf16": 2e-2, "f16": 5e-3}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    path = save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    return Job(str(path), {"x": (1, 3, 12, 16)}, threads=1)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_the_plain_answer(name: str, job: Job) -> None:
    peer = PEERS[name]
    if reason := peer.missing():
        pytest.skip(reason)
    plain, runner = PEERS["onnxruntime-plain"].open(job), peer.open(job)
    for index in range(3):
        inputs = {"x": frame(index)}
        outputs, right = runner(inputs), plain(inputs)
        precision = str(runner.facts()["precision"])
        assert outputs.keys() == right.keys()
        for output in right:
            assert outputs[output].dtype == right[output].dtype
            np.testing.assert_allclose(outputs[output], right[output], rtol=0, atol=TOLERANCE[precision])
        assert 0 <= runner.recomputed <= 1
        assert runner.recomputed == 1 or not peer.dense
    runner.close()
    plain.close()


@pytest.mark.parametrize("name", PEERS)
def test_answers_outlive_the_next_frame(name: str, job: Job) -> None:
    peer = PEERS[name]
    if reason := peer.missing():
        pytest.skip(reason)
    runner = peer.open(job)
    first = runner({"x": frame(0)})
    copies = {output: array.copy() for output, array in first.items()}
    runner({"x": frame(1)})
    for output, array in first.items():
        np.testing.assert_array_equal(array, copies[output])
    runner.close()


def test_a_stream_recomputes_less(job: Job) -> None:
    runner = PEERS["reconv-stream"].open(job)
    runner({"x": frame(0)})
    runner({"x": frame(0)})
    assert runner.recomputed == 0
    assert int(runner.facts()["state_bytes"]) > 0
    runner.close()


def test_onnx_runtime_gets_constants_and_fixed_sizes(job: Job, tmp_path: Path) -> None:
    """Weights that the file lists as inputs make it twice as slow on some models; that would be a weak rival."""
    model = onnx.load(job.model)
    for weight in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    model.graph.input[0].type.tensor_type.shape.dim[2].Clear()  # a size without a name
    onnx.save(model, tmp_path / "listed.onnx")
    seen: Any = PEERS["onnxruntime"].open(replace(job, model=str(tmp_path / "listed.onnx")))
    session = seen._session
    assert session.get_overridable_initializers() == []
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("x", [1, 3, 12, 16])]
    plain = PEERS["onnxruntime-plain"].open(job)
    np.testing.assert_allclose(seen({"x": frame(0)})["y"], plain({"x": frame(0)})["y"], rtol=0, atol=1e-5)


def test_a_missing_library_is_a_reason() -> None:
    peer = Peer("Nothing", PEERS["openvino"].open, "no_such_library", dense=True, rival=True, extra="bench")
    assert peer.missing() == "Nothing is not installed (pip install 'reconv[bench]')"
    assert PEERS["onnxruntime"].missing() == ""


def test_the_table_names_a_rival_and_both_of_ours() -> None:
    assert {"reconv", "reconv-stream", "onnxruntime"} <= PEERS.keys()
    assert all(peer.dense for peer in PEERS.values() if peer.rival)
    assert len({peer.title for peer in PEERS.values()}) == len(PEERS)


def test_a_library_is_imported_when_its_peer_is_opened() -> None:
    program = "import sys, reconv.measure; sys.exit('openvino' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
