"""reconv.graph.extract: a part computes what the whole computes, and carries what it needs and no more."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from reconv.engine import Model
from reconv.errors import ModelError
from reconv.graph import extract, infer, load, reads, stretch, write
from tests.unit.graph.functions import overloaded
from tests.unit.small import Array, cnn, frame, text


def _run(model: bytes, outputs: list[str], feeds: dict[str, Array]) -> list[Array]:
    return list(onnxruntime.InferenceSession(model).run(outputs, feeds))


def test_two_parts_make_the_whole() -> None:
    proto = cnn(tail=True)
    graph, x = load(proto), frame()
    (whole,) = _run(proto.SerializeToString(), ["top"], {"x": x})
    (middle,) = _run(extract(graph, ["x"], ["r1"], {"x": x.shape}), ["r1"], {"x": x})
    rest = extract(graph, ["r1"], ["top"], {"r1": middle.shape})
    np.testing.assert_allclose(_run(rest, ["top"], {"r1": middle})[0], whole, rtol=1e-5, atol=1e-6)
    part = onnx.ModelProto.FromString(rest)
    assert {t.name for t in part.graph.initializer} == {"w2", "b2", "k"}
    assert [n.op_type for n in part.graph.node] == ["Conv", "Add", "Relu", "TopK"]


def test_a_stretch_is_the_same_part_without_being_written() -> None:
    graph = load(cnn(tail=True))
    (x,) = _run(extract(graph, ["x"], ["r1"], {}), ["r1"], {"x": frame()})
    feeds = {"r1": x}
    made = stretch(graph, ["r1"], ["top"], {"r1": x.shape}, {})
    assert [str(info) for info in made.inputs] == [f"r1: float32 {tuple(x.shape)}"]
    assert set(made.constants) == {"w2", "b2", "k"}
    wanted = _run(extract(graph, ["r1"], ["top"], {"r1": x.shape}), ["top"], feeds)[0]
    np.testing.assert_allclose(Model(made, threads=1).run(feeds)["top"], wanted, rtol=1e-5, atol=1e-6)
    given = stretch(graph, ["x"], ["r1"], {}, {"r1": np.dtype(np.float32)})
    assert given.inputs == graph.inputs
    with pytest.raises(ModelError, match="also depend on 'x'"):
        stretch(graph, ["c2"], ["top"], {}, {})


def test_reads_tells_which_cuts_are_needed() -> None:
    nodes, used = reads(load(cnn()), ["x", "r1", "c1"], ["y"])
    assert used == ("r1",)
    assert [node.name for node in nodes] == ["conv2", "add", "relu2"]


def test_values_become_initializers() -> None:
    graph = load(text("g (float[n] x, float[1] s) => (float[m] y) { t = Neg(s) y = Mul(x, t) }"))
    part = extract(graph, ["x"], ["y"], {"x": (2,)}, {"t": np.array([3], np.float32)})
    assert _run(part, ["y"], {"x": np.array([1, 2], np.float32)})[0].tolist() == [3, 6]


def test_subgraphs_keep_what_they_capture() -> None:
    graph = load(
        text("""g (bool c, float[2] x) => (float[2] y) <float[2] big = {10, 20}> {
            outer = Relu(x)
            y = If (c) <
                then_branch = t () => (float[2] p) { p = Add(outer, big) },
                else_branch = e () => (float[2] q) { q = Identity(outer) }
            >
        }""")
    )
    part = extract(graph, ["c", "outer"], ["y"], {"c": (), "outer": (2,)})
    feeds = {"c": np.array(True), "outer": np.array([1, 2], np.float32)}
    assert _run(part, ["y"], feeds)[0].tolist() == [11, 22]


def test_functions_come_along() -> None:
    twice = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Twice", ["r"], ["y"], domain="own")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:]),
        functions=[twice],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        ir_version=8,
    )
    part = extract(load(model), ["r"], ["y"], {"r": (2,)})
    assert _run(part, ["y"], {"r": np.array([1, 2], np.float32)})[0].tolist() == [2, 4]


def test_the_right_one_of_two_functions_of_a_name_is_called() -> None:
    model = overloaded("one", "two")
    part = extract(load(model), ["x"], ["q"], {"x": (3,)})
    assert _run(part, ["q"], {"x": np.array([-2, 0, 5], np.float32)})[0].tolist() == [2, 0, 5]


def test_an_input_without_a_shape_gets_none() -> None:
    proto = text("g (float[3] x) => (float[n] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    part = extract(load(proto), ["x"], ["y"], {})
    assert infer(part) == {}
    assert infer(extract(load(proto), ["x"], ["y"], {"x": (1, 3)}))["y"] == (1, 3)


def test_sizes_that_the_file_does_not_know_are_free() -> None:
    proto = text("g (float[3, 4] x) => (float[n, 4] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0
    assert infer(extract(load(proto), ["x"], ["y"], {}))["y"] == (None, 4)


def test_a_part_with_more_weights_than_one_message_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load(cnn())
    monkeypatch.setattr(write, "LARGEST", 8 * 3 * 9 * 4 + 8 * 4)  # the first convolution's
    extract(graph, ["x"], ["r1"], {})
    with pytest.raises(ModelError, match=r"holds .* GB of weights, more than one protobuf message takes \(2 GB\)"):
        extract(graph, ["x"], ["y"], {})


def test_cuts_that_cannot_be_made() -> None:
    graph = load(cnn())
    with pytest.raises(ModelError, match="also depend on 'x'"):
        extract(graph, ["c2"], ["y"], {})
    with pytest.raises(ModelError, match="no node produces it"):
        extract(graph, ["x"], ["w1"], {})
    with pytest.raises(ModelError, match="it is an input of the part"):
        extract(graph, ["y"], ["y"], {})
