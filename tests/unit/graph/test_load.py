"""reconv.graph.load: what is accepted, how it is evened out, and what a bad file is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from reconv.errors import ModelError, ReconvError
from reconv.graph import load, with_shapes
from tests.unit.small import cnn, text


def test_path_bytes_and_proto_give_the_same_graph(tmp_path: Path) -> None:
    proto = cnn()
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    graphs = [load(path), load(str(path)), load(path.read_bytes()), load(proto)]
    for graph in graphs:
        assert [node.op_type for node in graph.nodes] == ["Conv", "Relu", "Conv", "Add", "Relu"]
        assert [str(info) for info in graph.inputs] == ["x: float32 (n, 3, h, w)"]
        assert graph.opset == 17
        assert set(graph.constants) == {"w1", "b1", "w2", "b2"}
    assert graphs[0].nodes[0].attributes["strides"] == (2, 2)


def test_weights_listed_as_inputs_are_constants() -> None:
    proto = cnn()
    proto.graph.input.append(helper.make_tensor_value_info("w1", onnx.TensorProto.FLOAT, [8, 3, 3, 3]))
    graph = load(proto)
    assert [info.name for info in graph.inputs] == ["x"]
    assert "w1" in graph.constants


def test_constant_nodes_become_constants() -> None:
    graph = load(
        text("""g (float[2] x) => (float[2] y) {
            a = Constant <value = float[2] {1, 2}> ()
            b = Constant <value_float = 3.0> ()
            c = Constant <value_ints = [4, 5]> ()
            z = Add(x, a)
            y = Mul(z, b)
        }""")
    )
    assert [node.op_type for node in graph.nodes] == ["Add", "Mul"]
    np.testing.assert_array_equal(graph.constants["a"], np.array([1, 2], np.float32))
    assert graph.constants["b"].shape == ()
    assert graph.constants["c"].dtype == np.int64


def test_order_is_made_topological_and_names_unique() -> None:
    nodes = [
        helper.make_node("Relu", ["b"], ["y"], name="same"),
        helper.make_node("Relu", ["x"], ["a"], name="same"),
        helper.make_node("Relu", ["a"], ["b"]),
    ]
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = load(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])))
    assert [node.outputs for node in graph.nodes] == [("a",), ("b",), ("y",)]
    assert len({node.name for node in graph.nodes}) == 3


def test_captures_of_subgraphs_count_as_inputs() -> None:
    graph = load(
        text("""g (bool c, float[2] x) => (float[2] y) {
            outer = Relu(x)
            y = If (c) <
                then_branch = t () => (float[2] p) { own = Neg(outer) p = Add(own, x) },
                else_branch = e () => (float[2] q) { q = Identity(outer) }
            >
        }""")
    )
    assert set(graph.nodes[-1].captures) == {"outer", "x"}
    assert set(graph.nodes[-1].reads) == {"c", "outer", "x"}


def test_free_sizes_written_as_minus_one() -> None:
    proto = cnn()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert load(proto).inputs[0].shape == (None, 3, "h", "w")
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 0  # so in other files
    assert load(proto).inputs[0].shape == (None, 3, None, "w")


def test_an_input_without_a_shape_is_no_scalar() -> None:
    proto = text("g (float[2] x, float k) => (float[2] y) { y = Add(x, k) }")
    assert all(info.has_rank for info in load(proto).inputs)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    graph = load(proto)
    assert [(info.shape, info.has_rank) for info in graph.inputs] == [((), False), ((), True)]
    assert str(graph.inputs[0]) == "x: float32 of any shape"
    given = with_shapes(graph, {"x": (2,)})
    assert (given.inputs[0].shape, given.inputs[0].has_rank) == ((2,), True)


@pytest.mark.parametrize("inside", [False, True])
def test_sparse_initializers_are_refused_by_name(inside: bool) -> None:
    proto = text("""g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <
            then_branch = t () => (float[2] p) { p = Add(x, w) },
            else_branch = e () => (float[2] q) { q = Neg(x) }
        >
    }""")
    graph = proto.graph.node[0].attribute[0].g if inside else proto.graph
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    places = numpy_helper.from_array(np.array([1]), "places")
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2]))
    with pytest.raises(ModelError, match="keeps 'w' as a sparse initializer, which is not supported"):
        load(proto.SerializeToString())


def test_external_data_is_read_and_missing_data_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(cnn(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    whole = load(path)
    assert whole.constants["w1"].shape == (8, 3, 3, 3)
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ModelError, match="external data that cannot be read"):
        load(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match="external data that cannot be read") as error:
        load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 1 / 4000, 0.01, 0.1, 0.5, 0.999])
def test_truncated_files(tmp_path: Path, keep: float) -> None:
    data = cnn().SerializeToString()
    size = int(keep * len(data))
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[:size])
    with pytest.raises(ModelError, match=r"cut\.onnx .*(ONNX model|truncated)") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_not_a_model(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_text("this is no protobuf, and not ONNX either")
    with pytest.raises(ModelError, match="ONNX model"):
        load(path)
    with pytest.raises(ModelError, match="does not exist"):
        load(tmp_path / "nowhere.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ModelError, match="cannot load a int"):
        load(3)  # type: ignore[arg-type]


def test_old_opset_cycle_and_dangling_names() -> None:
    with pytest.raises(ModelError, match="opset 6, expected 7 or newer"):
        load(text("g (float[1] x) => (float[1] y) { y = Relu(x) }", opset=6))
    with pytest.raises(ModelError, match="cycle"):
        load(text("g (float[1] x) => (float[1] y) { y = Add(x, z) z = Relu(y) }"))
    with pytest.raises(ModelError, match="reads 'z', which nothing produces"):
        load(text("g (float[1] x) => (float[1] y) { y = Add(x, z) }"))
    with pytest.raises(ModelError, match="nothing produces the output 'y'"):
        load(text("g (float[1] x) => (float[1] y) { z = Relu(x) }"))


def test_errors_are_caught_by_the_root_and_by_valueerror() -> None:
    for kind in (ReconvError, ValueError):
        with pytest.raises(kind, match="ONNX model"):
            load(b"\x00\x01")


def test_other_sizes() -> None:
    graph = with_shapes(load(cnn(24, 32, 1)), {"x": (1, 3, 48, 64)})
    assert graph.inputs[0].shape == (1, 3, 48, 64)
    assert graph.outputs[0].shape == (None, None, None, None)
    with pytest.raises(ModelError, match="no input 'z'"):
        with_shapes(graph, {"z": (1,)})
    with pytest.raises(ModelError, match="4 axes"):
        with_shapes(graph, {"x": (1, 3)})
    with pytest.raises(ModelError, match="sizes begin at 1"):
        with_shapes(graph, {"x": (1, 3, -4, 64)})
