"""reconv.InferenceSession: scripts written for ONNX Runtime run with another import, and get ONNX Runtime's results."""

from __future__ import annotations

import ctypes
import re
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import reconv
from reconv.session.options import Providers
from tests.tolerances import EXACT, FLOAT32_REORDERED
from tests.unit.halves import halved
from tests.unit.small import cnn, frame, text

Array = np.ndarray[Any, Any]

# as people write them for onnxruntime; each leaves arrays in `results` and plain values in `facts`
SCRIPTS = {
    "quickstart": """
import onnxruntime as ort
session = ort.InferenceSession(path)
results = session.run(None, {session.get_inputs()[0].name: x})
facts = [output.name for output in session.get_outputs()]
""",
    "what the model is": """
import onnxruntime
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
facts = [(each.name, each.type, each.shape) for each in session.get_inputs() + session.get_outputs()]
meta = session.get_modelmeta()
facts += [meta.producer_name, meta.graph_name, meta.domain, meta.description, meta.graph_description, meta.version]
facts += [sorted(meta.custom_metadata_map.items()), len(session.get_overridable_initializers())]
results = session.run([], {"x": x})
""",
    "options": """
import onnxruntime as rt
options = rt.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_ENABLE_ALL
options.execution_mode = rt.ExecutionMode.ORT_SEQUENTIAL
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
options.log_severity_level = 3
rt.set_default_logger_severity(3)
session = rt.InferenceSession(path, options, providers=rt.get_available_providers())
run_options = rt.RunOptions()
run_options.log_severity_level = 3
results = session.run(["top", "y"], {"x": x}, run_options)
facts = [rt.get_device(), session.get_session_options().intra_op_num_threads]
facts += ["CPUExecutionProvider" in session.get_providers(), session.get_provider_options()["CPUExecutionProvider"]]
session.disable_fallback()
session.set_providers(["CPUExecutionProvider"])
results += session.run(["y"], {"x": x})
""",
    "the bytes of a file, sess_options by name": """
from onnxruntime import InferenceSession, SessionOptions
sess_opt = SessionOptions()
sess_opt.intra_op_num_threads = 2
with open(path, "rb") as file:
    session = InferenceSession(file.read(), sess_options=sess_opt, providers=[("CPUExecutionProvider", {})])
results = session.run(output_names=["y"], input_feed={"x": x})
facts = []
""",
    "a list in an array's place": """
import onnxruntime
session = onnxruntime.InferenceSession(path)
results = session.run(["y"], {"x": x.tolist()})
facts = []
""",
    "ort values": """
import onnxruntime
session = onnxruntime.InferenceSession(path)
value = onnxruntime.OrtValue.ortvalue_from_numpy(x)
made = session.run_with_ort_values(["y", "top"], {"x": value})
results = [each.numpy() for each in made]
facts = [(each.is_tensor(), each.data_type(), each.shape(), each.device_name()) for each in made]
""",
    "binding": """
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(path)
binding = session.io_binding()
binding.bind_cpu_input("x", x)
binding.bind_output("top")
binding.bind_output("y", "cpu")
binding.synchronize_inputs()
session.run_with_iobinding(binding)
binding.synchronize_outputs()
results = binding.copy_outputs_to_cpu() + [each.numpy() for each in binding.get_outputs()]
into = np.zeros(results[1].shape, np.float32)
value = onnxruntime.OrtValue.ortvalue_from_numpy(x)
held = onnxruntime.OrtValue.ortvalue_from_shape_and_type(results[0].shape, np.float32, "cpu", 0)
binding.clear_binding_inputs()
binding.clear_binding_outputs()
binding.bind_ortvalue_input("x", value)
binding.bind_output("y", "cpu", 0, np.float32, into.shape, into.ctypes.data)
binding.bind_ortvalue_output("top", held)
session.run_with_iobinding(binding)
results += [into, held.numpy()]
binding = session.io_binding()
binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
binding.bind_output("y", element_type=1, shape=into.shape, buffer_ptr=into.ctypes.data)
session.run_with_iobinding(binding)
results += [into]
facts = []
""",
    "in the background": """
import threading
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(path, options)
done, got = threading.Event(), []
def callback(results, user_data, err):
    got.append((results, user_data, err))
    done.set()
session.run_async(["y"], {"x": x}, callback, "mine")
assert done.wait(60)
results, user_data, err = got[0]
facts = [user_data, err]
""",
}


def _played(script: str, module: str, path: Path, x: Array) -> tuple[list[Array], list[Any]]:
    space: dict[str, Any] = {"path": str(path), "x": x}
    exec(script.replace("onnxruntime", module), space)
    return space["results"], space["facts"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """With a tail, metadata and words for what it is."""
    proto = cnn(tail=True)
    proto.producer_name, proto.domain, proto.doc_string, proto.model_version = "tests", "of.ours", "small", 3
    proto.graph.doc_string = "a graph"
    helper.set_model_props(proto, {"names": "{0: 'cat'}", "stride": "2"})
    onnx.save(proto, tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_change_one_line(name: str, model: Path) -> None:
    x = frame()
    got, told = _played(SCRIPTS[name], "reconv", model, x)
    expected, facts = _played(SCRIPTS[name], "onnxruntime", model, x)
    assert told == facts
    assert len(got) == len(expected) > 0
    for place, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        assert ours.dtype == theirs.dtype
        FLOAT32_REORDERED.check(ours, theirs, f"{name}, result {place}", scale=10 * float(np.abs(theirs).max()))


@pytest.mark.parametrize(
    "name",
    [
        *("yolox_nano", "yolov8n_nudenet", "ppocr_det", "open_nsfw", "centerface", "mobilenet_v2", "waifu2x"),
        *("swift_f0", "silero_vad", "basic_pitch", "crepe_tiny"),
    ],
)
def test_real_models_are_described_as_onnx_runtime_does(asset: Callable[[str], Path], name: str) -> None:
    theirs, ours = onnxruntime.InferenceSession(asset(name)), reconv.InferenceSession(asset(name))
    for of in ("get_inputs", "get_outputs", "get_overridable_initializers"):
        described = [
            [(each.name, each.type, each.shape) for each in getattr(of_whom, of)()] for of_whom in (ours, theirs)
        ]
        assert described[0] == described[1], of
    meta = ours.get_modelmeta()
    for key in ("producer_name", "graph_name", "domain", "description", "graph_description", "version"):
        assert getattr(meta, key) == getattr(theirs.get_modelmeta(), key), key
    assert meta.custom_metadata_map == theirs.get_modelmeta().custom_metadata_map


def test_types_in_onnx_runtimes_words() -> None:
    proto = text("""g (float16[2] a, double[N] b, int64 c, uint8[1, 2] d, bool[2] e, float[2] f, string[2] g)
        => (seq(float[2]) s, float16[2] ao, float[M] y) {
        s = SequenceConstruct(f, f) ao = Relu(a) y = Cast<to = 1>(b)
    }""")
    theirs = onnxruntime.InferenceSession(proto.SerializeToString())
    ours = reconv.InferenceSession(proto.SerializeToString())
    assert [str(each) for each in ours.get_inputs()] == [str(each) for each in theirs.get_inputs()]
    assert [(o.name, o.type) for o in ours.get_outputs()] == [(o.name, o.type) for o in theirs.get_outputs()]


def test_sizes_that_the_file_leaves_out_are_inferred() -> None:
    proto = cnn(24, 32, 1)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert reconv.InferenceSession(proto.SerializeToString()).get_outputs()[0].shape == [1, 8, 12, 16]


@pytest.mark.parametrize(
    "made",
    [
        "y = Relu(x)",
        "y = Flatten(x)",
        "y = MaxPool <kernel_shape = [2, 2]> (x)",
        "y = Transpose <perm = [0, 2, 3, 1]> (x)",
        "y = Concat <axis = 1> (x, x)",
        "y = Concat <axis = 0> (x, x)",
    ],
)
def test_names_of_sizes_are_inferred_as_onnx_runtime_does(made: str) -> None:
    proto = text(f"g (float[n, 3, h, w] x) => (float[1] y) {{ {made} }}")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    data = proto.SerializeToString()
    theirs, ours = onnxruntime.InferenceSession(data), reconv.InferenceSession(data)
    assert ours.get_outputs()[0].shape == theirs.get_outputs()[0].shape


def test_a_float16_model() -> None:
    data = halved(cnn()).SerializeToString()
    session = reconv.InferenceSession(data)
    assert [each.type for each in session.get_inputs() + session.get_outputs()] == ["tensor(float16)"] * 2
    assert session.run(None, {"x": frame().astype(np.float16)})[0].dtype == np.float16


def test_runs_are_dense_and_exact_unless_asked_otherwise(model: Path) -> None:
    session, whole = reconv.InferenceSession(str(model)), reconv.load(model)
    x = frame()
    for seed in range(2):
        x = x + np.float32(1e-3 * seed)
        EXACT.check(session.run(["y"], {"x": x})[0], whole.run(x)["y"], f"run {seed}")
    assert session.get_providers() == ["ReconvExecutionProvider", "CPUExecutionProvider"]


def test_a_stream_through_the_providers_options(model: Path) -> None:
    options = {"tolerance": "0.1", "stream": "1"}
    session = reconv.InferenceSession(model, providers=[("ReconvExecutionProvider", options), "CPUExecutionProvider"])
    x, near = frame(), frame() + np.float32(1e-3)
    first = session.run(["y"], {"x": x})[0]
    EXACT.check(session.run(["y"], {"x": near})[0], first, "a frame within the tolerance")
    assert session.get_provider_options()["ReconvExecutionProvider"] == options
    session.set_providers(["ReconvExecutionProvider"], [{"stream": 1}])
    EXACT.check(session.run(["y"], {"x": x})[0], first, "anew, exact")
    moved = session.run(["y"], {"x": near})[0]
    EXACT.check(moved, reconv.load(model).run(near)["y"], "an exact stream")
    session.set_providers()
    EXACT.check(session.run(["y"], {"x": near})[0], moved, "dense again")


@pytest.mark.parametrize(
    ("providers", "options", "said"),
    [
        ([("ReconvExecutionProvider", {"tolerence": "1"})], None, "no option 'tolerence'; there are stream, tolerance"),
        ([("ReconvExecutionProvider", {"audit_every": "x"})], None, "audit_every is 'x', expected a number"),
        ([("ReconvExecutionProvider", {"stream": "maybe"})], None, "stream is 'maybe', expected 1 or 0"),
        ([("ReconvExecutionProvider", {"tolerance": "much"})], None, "tolerance is 'much', expected a number"),
        (["ReconvExecutionProvider"], [{}, {}], "2 provider_options for 1 providers"),
        ([("CPUExecutionProvider", {"a": 1})], [{}], "use one of the two"),
        ([7], None, "a provider is a name"),
    ],
)
def test_options_that_are_not_known(providers: Any, options: Any, said: str, model: Path) -> None:
    with pytest.raises(reconv.InputError, match=said):
        reconv.InferenceSession(model, providers=providers, provider_options=options)
    with pytest.raises(reconv.ProfileError, match="tolerance"):
        reconv.InferenceSession(model, providers=[("ReconvExecutionProvider", {"stream": 1, "tolerance": -1})])
    with pytest.raises(reconv.ProfileError, match="dense is 'x', expected one of reconv, measured"):
        reconv.InferenceSession(model, providers=[("ReconvExecutionProvider", {"dense": "x"})])


@pytest.mark.parametrize("options", [{"refresh_every": "2"}, {"audit_every": 2, "target": 0.5, "dense": "measured"}])
def test_a_stream_that_looks_after_itself(options: dict[str, Any], model: Path) -> None:
    given = {"stream": 1, "tolerance": 0.1, **options}
    session = reconv.InferenceSession(model, providers=[("ReconvExecutionProvider", given)])
    whole, dense = reconv.load(model), 0
    for step in range(100):
        x = frame() + np.float32(1e-3 * step)  # within the tolerance, but for what moves
        x[:, :, :8] = frame(seed=step)[:, :, :8]
        dense += np.array_equal(session.run(["y"], {"x": x})[0], whole.run(x)["y"])
    assert dense == 50 if "refresh_every" in options else 2 <= dense < 20


def test_what_is_not_done_is_said(model: Path) -> None:
    with pytest.warns(UserWarning, match="CUDAExecutionProvider: not used, reconv runs on the CPU"):
        reconv.InferenceSession(model, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    with pytest.warns(UserWarning, match="writes no profile"):
        session = reconv.InferenceSession(model, options)
    assert session.end_profiling() == ""
    assert session.get_profiling_start_time_ns() <= time.monotonic_ns()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reconv.InferenceSession(model, providers=onnxruntime.get_available_providers())


def test_threads_come_from_the_options(model: Path) -> None:
    options = onnxruntime.SessionOptions()
    for asked, expected in ((1, 1), (2, 2), (1000, 64), (0, reconv.load(model).threads)):
        options.intra_op_num_threads = asked
        assert reconv.InferenceSession(model, options)._model.threads == expected


def test_mistakes_are_our_errors(model: Path, tmp_path: Path) -> None:
    session, x = reconv.InferenceSession(model), frame()
    for names, feed, said in (
        (None, {}, r"required inputs \['x'\] are missing from the input feed \[\]"),
        (None, {"x": x, "z": x}, "the model has no input 'z'; its inputs are 'x'"),
        (["z"], {"x": x}, "the model has no output 'z'; its outputs are y, top"),
        (None, {"x": x.astype(np.float64)}, "'x' has type float64, expected float32"),
        (None, {"x": x[:, :2]}, r"'x' has shape \(1, 2, 24, 32\), expected"),
    ):
        with pytest.raises(reconv.InputError, match=said):
            session.run(names, feed)
    with pytest.raises(reconv.ModelError, match="does not exist"):
        reconv.InferenceSession(tmp_path / "nowhere.onnx")
    with pytest.raises(reconv.ModelError, match="not a readable ONNX model"):
        reconv.InferenceSession(b"no model at all")
    with pytest.raises(reconv.InputError, match="cannot load a int"):
        reconv.InferenceSession(3)  # type: ignore[arg-type]
    assert len(session.run(None, {"x": x})) == 2


def test_a_failed_run_in_the_background_tells_the_callback(model: Path) -> None:
    done, got = threading.Event(), []

    def callback(results: list[Any], user_data: Any, err: str) -> None:
        got.append((results, user_data, err))
        done.set()

    reconv.InferenceSession(model).run_async(None, {"x": frame()[:, :1]}, callback, 5)
    assert done.wait(60)
    assert got[0][:2] == ([], 5)
    assert "'x' has shape (1, 1, 24, 32)" in got[0][2]


def test_bindings_that_do_not_fit(model: Path) -> None:
    session, x = reconv.InferenceSession(model), frame()
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    with pytest.raises(reconv.InputError, match="no output is bound"):
        session.run_with_iobinding(binding)
    with pytest.raises(reconv.InputError, match="no output 'z'"):
        binding.bind_output("z")
    with pytest.raises(reconv.InputError, match="device cuda:0 is not there; reconv runs on cpu:0"):
        binding.bind_output("y", "cuda", 0)
    small = (ctypes.c_float * 4)()
    with pytest.raises(reconv.InputError, match="element_type and shape have to be given too"):
        binding.bind_output("y", buffer_ptr=ctypes.addressof(small))
    binding.bind_output("y", "cpu", 0, np.float32, (2, 2), ctypes.addressof(small))
    with pytest.raises(
        reconv.InputError, match=r"'y' is float32 \(1, 8, 12, 16\), bound to memory for float32 \(2, 2\)"
    ):
        session.run_with_iobinding(binding)
    assert list(small) == [0, 0, 0, 0]


def _with_weights_as_inputs() -> onnx.ModelProto:
    proto = text("g (float[2] x, float[2] w) => (float[2] y) { y = Mul(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.float32), "w"))
    return proto


def test_weights_that_a_run_may_be_given() -> None:
    data = _with_weights_as_inputs().SerializeToString()
    theirs, ours = onnxruntime.InferenceSession(data), reconv.InferenceSession(data)
    assert [each.name for each in ours.get_inputs()] == ["x"]
    assert [str(each) for each in ours.get_overridable_initializers()] == [
        str(each) for each in theirs.get_overridable_initializers()
    ]
    x = np.array([1, 10], np.float32)
    for w in (None, [5, 7], [5, 7], [1, 0]):
        feed = {"x": x} if w is None else {"x": x, "w": np.array(w, np.float32)}
        EXACT.check(ours.run(None, feed)[0], theirs.run(None, feed)[0], f"w = {w}")
    with pytest.raises(reconv.InputError, match=r"initializer 'w' is float32 \(1,\), expected float32 \(2,\)"):
        ours.run(None, {"x": x, "w": np.ones(1, np.float32)})


def test_the_door_has_the_names_that_scripts_use() -> None:
    door: Any = reconv
    assert door.SessionOptions is onnxruntime.SessionOptions
    assert door.OrtValue is onnxruntime.OrtValue
    assert door.get_available_providers() == ["ReconvExecutionProvider", "CPUExecutionProvider"]
    with pytest.raises(AttributeError, match="module 'reconv' has no attribute 'SesionOptions'"):
        _ = door.SesionOptions


def test_two_inputs_and_a_scalar() -> None:
    proto = text(
        "g (float[N, 2] a, float[N, 2] b, float k) => (float[N, 2] y, float[N, 2] z) { y = Add(a, b) z = Mul(y, k) }"
    )
    data = proto.SerializeToString()
    a, b = np.random.default_rng(0).random((2, 3, 2), np.float32)
    feed = {"k": np.array(2, np.float32), "b": b, "a": a}
    for ours, theirs in zip(
        reconv.InferenceSession(data).run(None, feed), onnxruntime.InferenceSession(data).run(None, feed), strict=True
    ):
        EXACT.check(ours, theirs, "sum and product")


def test_the_manual_is_kept_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "onnxruntime.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    proto = text("g (float[1, 3, 8, 8] images) => (float[1, 3, 8, 8] y) { y = Relu(images) }")
    onnx.save(proto, tmp_path / "detector.onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnxruntime, "InferenceSession", onnxruntime.InferenceSession)  # which a block replaces
    assert len(blocks) == 4
    for block in blocks:
        names: dict[str, Any] = {"x": frame(8, 8), "frames": [frame(8, 8)] * 2}
        exec(compile(block, "onnxruntime.md", "exec"), names)
        if "outputs" in names:
            EXACT.check(names["outputs"][0], np.maximum(frame(8, 8), 0), "y")
    assert onnxruntime.InferenceSession is reconv.InferenceSession
    options = re.search(r"\| option of (?:.*\n)+", page)
    assert options is not None
    listed = set(re.findall(r"^\| `(\w+)` \|", options.group(), re.MULTILINE))
    assert listed == set(Providers.__dataclass_fields__) - {"given"}
