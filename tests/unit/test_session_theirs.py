"""What scripts take from ONNX Runtime besides runs: its errors, its own kinds of values, its words for the machine."""

from __future__ import annotations

import pickle
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as theirs

import reconv
from reconv.session import errors
from reconv.session.options import OF_A_STREAM, OPTIONS
from tests.tolerances import EXACT, FLOAT32_REORDERED
from tests.unit.small import cnn, frame, text

Array = np.ndarray[Any, Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(cnn(tail=True), tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


def _kind(run: Any) -> type[BaseException]:
    with pytest.raises(Exception) as error:
        run()
    return error.type


def _relu(of: str) -> bytes:
    return bytes(text(f"g (float[1] x) => (float[1] y) {{ {of} }}").SerializeToString())


def test_errors_are_caught_by_onnx_runtimes_names(model: Path, tmp_path: Path) -> None:
    x, data = frame(), model.read_bytes()
    pairs = {
        "missing": lambda make: make(data).run(None, {}),
        "unknown input": lambda make: make(data).run(None, {"x": x, "z": x}),
        "unknown output": lambda make: make(data).run(["z"], {"x": x}),
        "type": lambda make: make(data).run(None, {"x": x.astype(np.float64)}),
        "size": lambda make: make(data).run(None, {"x": x[:, :2]}),
        "axes": lambda make: make(data).run(None, {"x": x[0]}),
        "no file": lambda make: make(str(tmp_path / "nowhere.onnx")),
        "a folder": lambda make: make(tmp_path),
        "bytes": lambda make: make(b"no model at all"),
        "cut": lambda make: make(data[: len(data) // 2]),
        "a number": lambda make: make(3),
        "a cycle": lambda make: make(_relu("y = Add(x, z) z = Relu(y)")),
        "opset": lambda make: make(text("g (float[1] x) => (float[1] y) { y = Relu(x) }", 999).SerializeToString()),
        "operator": lambda make: make(_relu("y = Foo(x)")).run(None, {"x": np.ones(1, np.float32)}),
        "no output bound": lambda make: (s := make(data)).run_with_iobinding(s.io_binding()),
    }
    for name, do in pairs.items():
        expected = _kind(lambda do=do: do(onnxruntime.InferenceSession))
        found = _kind(lambda do=do: do(reconv.InferenceSession))
        assert issubclass(found, expected), (name, found, expected)
        assert issubclass(found, reconv.ReconvError), name


def test_a_script_catches_them_through_our_module(model: Path) -> None:
    door: Any = reconv
    assert door.SparseTensor is onnxruntime.SparseTensor
    session = door.InferenceSession(model)
    with pytest.raises(door.capi.onnxruntime_pybind11_state.InvalidArgument, match="no input 'z'"):
        session.run(None, {"x": frame(), "z": frame()})
    with pytest.raises(door.capi.onnxruntime_pybind11_state.NoSuchFile, match="does not exist"):
        door.InferenceSession("nowhere.onnx")
    with pytest.raises(theirs.InvalidArgument, match="no option 'tolerence'") as error:
        session.set_providers([("ReconvExecutionProvider", {"tolerence": "1"})])
    assert isinstance(error.value, reconv.InputError)
    assert isinstance(error.value.__cause__, reconv.InputError)
    with pytest.raises(theirs.InvalidArgument) as other:
        session.set_providers([("ReconvExecutionProvider", {"stream": 1, "tolerance": -1})])
    assert isinstance(other.value, reconv.ProfileError)


def test_what_onnx_runtime_says_of_the_tail_keeps_its_kind() -> None:
    data = text("g (float[2] x, int64[1] i) => (float[1] y) { y = Gather(x, i) }").SerializeToString()
    feed = {"x": np.ones(2, np.float32), "i": np.array([7])}
    expected = _kind(lambda: onnxruntime.InferenceSession(data).run(None, feed))
    with pytest.raises(expected, match="out of data bounds") as error:
        reconv.InferenceSession(data).run(None, feed)
    assert isinstance(error.value, reconv.TailError)


def test_errors_go_from_one_process_to_another() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    assert len(kinds) > 10
    for kind in kinds:
        copy = pickle.loads(pickle.dumps(kind("said")))
        assert (type(copy), str(copy)) == (kind, "said")


@pytest.mark.parametrize(
    "options",
    [
        *({"tolerance": "0.1"}, {"profile": "p"}, {"refresh_every": 2}, {"audit_every": 2}, {"target": 0.9}),
        {"dense": "measured"},
    ],
)
def test_options_of_a_stream_need_a_stream(options: dict[str, Any], model: Path) -> None:
    (name,) = options
    said = f'{name} is an option of a stream, and every run would be dense; add "stream": "1", or "0" for dense'
    for make in (
        lambda: reconv.InferenceSession(model, providers=[("ReconvExecutionProvider", options)]),
        lambda: reconv.InferenceSession(model).set_providers(["ReconvExecutionProvider"], [options]),
    ):
        with pytest.raises(reconv.InputError, match=re.escape(said)):
            make()
    dense = reconv.InferenceSession(model, providers=[("ReconvExecutionProvider", {**options, "stream": "0"})])
    EXACT.check(dense.run(["y"], {"x": frame()})[0], reconv.load(model).run(frame())["y"], "asked for")


def test_every_option_is_of_a_stream_or_not() -> None:
    assert set(OPTIONS) == {*OF_A_STREAM, "stream", "kernels", "memory_limit_bytes"}


def test_terminate(model: Path) -> None:
    session, x = reconv.InferenceSession(model), frame()
    options = onnxruntime.RunOptions()
    options.terminate = True
    with pytest.raises(theirs.Fail, match="terminate is set in the run options") as error:
        session.run(None, {"x": x}, options)
    assert isinstance(error.value, reconv.ReconvError)
    done, got = threading.Event(), []

    def callback(results: list[Any], user_data: Any, err: str) -> None:
        got.append((results, user_data, err))
        done.set()

    session.run_async(None, {"x": x}, callback, None, options)
    assert done.wait(60)
    assert "terminate is set" in got[0][2]
    options.terminate = False
    assert len(session.run(None, {"x": x}, options)) == 2


def test_terminate_set_while_a_run_is_going(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, options = reconv.InferenceSession(model), onnxruntime.RunOptions()
    run = session._model.run

    def slow(*given: Any) -> Any:
        options.terminate = True  # as another thread would
        return run(*given)

    monkeypatch.setattr(session._model, "run", slow)
    with pytest.raises(theirs.Fail, match="terminate"):
        session.run(None, {"x": frame()}, options)


def _vector(*arrays: Array) -> Any:
    vector = theirs.OrtValueVector()
    for array in arrays:
        vector.push_back(onnxruntime.OrtValue.ortvalue_from_numpy(array)._ortvalue)
    return vector


def test_vectors_of_values(model: Path) -> None:
    x, cpu = frame(), onnxruntime.OrtDevice.make("cpu", 0)._get_c_device()
    found: dict[str, list[Array]] = {}
    run_options = onnxruntime.RunOptions()
    for name, session in (("ours", reconv.InferenceSession(model)), ("theirs", onnxruntime.InferenceSession(model))):
        fetches = theirs.OrtValueVector()
        session.run_with_ortvaluevector(run_options, ["x"], _vector(x), ["top", "y"], fetches, [cpu, cpu])
        found[name] = [np.array(each.numpy()) for each in fetches]
        into = np.zeros_like(found[name][1])
        session.run_with_ortvaluevector(run_options, ["x"], _vector(x), ["y"], _vector(into), [cpu])
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_output("y")
        session.run_with_iobinding(binding)
        found[name] += [into, *(np.array(each.numpy()) for each in binding.get_outputs_as_ortvaluevector())]
    assert [len(each) for each in found.values()] == [4, 4]
    for ours, their in zip(found["ours"], found["theirs"], strict=True):
        FLOAT32_REORDERED.check(ours, their, "a value", scale=10 * float(np.abs(their).max()))


def test_vectors_that_do_not_fit(model: Path) -> None:
    session, x = reconv.InferenceSession(model), frame()
    cpu, cuda = (onnxruntime.OrtDevice.make(kind, 0)._get_c_device() for kind in ("cpu", "cuda"))
    none = theirs.OrtValueVector()
    for names, fetches, device, said in (
        (["x", "x"], none, cpu, "1 feeds for 2, 0 fetches for 1 names"),
        (["x"], _vector(x, x), cpu, "1 feeds for 1, 2 fetches for 1 names"),
        (["x"], none, cuda, "is not there; reconv runs on cpu:0"),
        (["x"], _vector(x), cpu, "'y' is float32"),
    ):
        with pytest.raises(reconv.InputError, match=said):
            session.run_with_ortvaluevector(None, names, _vector(x), ["y"], fetches, [device])


def test_the_machine_in_onnx_runtimes_words(model: Path) -> None:
    told: list[list[Any]] = []
    for session in (reconv.InferenceSession(model), onnxruntime.InferenceSession(model)):
        infos = [session.get_input_memory_infos(), session.get_output_memory_infos()]
        told.append([[(i.name, i.device_id, i.mem_type, i.allocator_type) for i in each] for each in infos])
        told[-1].append([device.ep_name for device in session.get_input_epdevices()])
        value = session.create_ortvalue_from_shape_and_type((2, 3), np.float32, "cpu")
        told[-1] += [(value.shape(), value.data_type(), value.device_name()), session.get_tuning_results()]
        told[-1] += [session.set_tuning_results([]), session.release_captured_graph()]
        told[-1] += [session.set_ep_dynamic_options({"ep.dynamic.workload_type": "Efficient"})]
    assert told[0] == told[1]
    ours = reconv.InferenceSession(model)
    with pytest.raises(reconv.InputError, match="reconv runs on cpu:0"):
        ours.create_ortvalue_from_shape_and_type((2, 3), np.float32, "cuda")
    with pytest.raises(reconv.InputError, match="tolerance cannot change in a session"):
        ours.set_ep_dynamic_options({"tolerance": "0.1"})
    with pytest.raises(reconv.InputError, match="belong to other providers"):
        ours.set_tuning_results([{"ep": "ROCm"}], error_on_invalid=True)


def test_the_manual_names_every_method_that_is_not_there() -> None:
    page = (Path(__file__).parents[2] / "docs" / "onnxruntime.md").read_text(encoding="utf-8")
    missing = set()
    for our, their in (
        (reconv.InferenceSession, onnxruntime.InferenceSession),
        (type(reconv.InferenceSession(cnn().SerializeToString()).io_binding()), onnxruntime.IOBinding),
    ):
        missing |= {name for name in dir(their) if not name.startswith("_") and not hasattr(our, name)}
    assert [name for name in sorted(missing) if f"`{name}`" not in page] == []
