"""Digests of what values are computed by: what counts and what does not, one thing at a time."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from reconv.errors import ModelError
from reconv.graph import Graph, digest, load, structure, structure_digest
from reconv.graph.digest import digest_array
from tests.unit.graph.functions import overloaded
from tests.unit.small import cnn, text


def of(body: str, opset: int = 17) -> str:
    return structure_digest(load(text(body, opset)))


CHAIN = """g (float[1,3,8,8] x) => (float[1,3,8,8] y) <float[3,3,1,1] w = {1,2,3,4,5,6,7,8,9}> {
    a = Conv(x, w)
    b = Relu(a)
    c = Sigmoid(a)
    y = Sub(b, c)
}"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a = Conv(x, w)", "a = Conv <group = 1> (x, w)"),  # a default in the schema, written down
        ("g (float[1,3,8,8] x)", "h (float[n,3,h,w] x)"),  # declared sizes and the graph's name
        ("w = {1,2,3,4,5,6,7,8,9}>", "w = {1,2,3,4,5,6,7,8,9}, float unused = {1}>"),
        ("b = Relu(a)\n    c = Sigmoid(a)", "c = Sigmoid(a)\n    b = Relu(a)"),  # the order of nodes
        ("b = Relu(a)", "nobody = Tanh(a)\n    b = Relu(a)"),  # a node that no output needs
        ("b = Relu(a)", "b = ai.onnx.Relu(a)"),
    ],
)
def test_what_does_not_count(old: str, new: str) -> None:
    assert old in CHAIN
    assert of(CHAIN.replace(old, new)) == of(CHAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{1,2,3,4,5,6,7,8,9}", "{1,2,3,4,5,6,7,8,9.0000001}"),
        ("float[3,3,1,1] w", "double[3,3,1,1] w"),
        ("a = Conv(x, w)", "a = Conv <pads = [0, 0, 0, 0]> (x, w)"),  # its default is in words only
        ("a = Conv(x, w)", "a = Conv <strides = [1, 2]> (x, w)"),
        ("Relu(a)", "Elu(a)"),
        ("Sub(b, c)", "Sub(c, b)"),
        ("Sub(b, c)", "Sub(b, b)"),
        ("a = Conv(x, w)", "a = com.other.Conv(x, w)"),
        ("float[1,3,8,8] x", "double[1,3,8,8] x"),
    ],
)
def test_what_counts(old: str, new: str) -> None:
    assert old in CHAIN
    if "9.0000001" in new:  # too close for float32: the next float up
        base, other = text(CHAIN), text(CHAIN)
        weight = numpy_helper.to_array(other.graph.initializer[0]).copy()
        weight.flat[8] = np.nextafter(weight.flat[8], np.float32(10))
        other.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
        assert structure_digest(load(other)) != structure_digest(load(base))
        return
    assert of(CHAIN.replace(old, new)) != of(CHAIN)


def test_zeros_of_either_sign_and_nans_are_bits() -> None:
    def with_weight(bits: int) -> str:
        model = text(CHAIN)
        weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
        weight.view(np.uint32).flat[0] = bits
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
        return structure_digest(load(model))

    assert len({with_weight(bits) for bits in (0, 1 << 31, 0x7FC00000, 0x7FC00001)}) == 4


def test_names_count_for_the_model_but_not_for_the_structure() -> None:
    renamed = CHAIN.replace("x)", "image)").replace("(x,", "(image,").replace("y)", "out)").replace("y =", "out =")
    assert of(renamed) == of(CHAIN)
    assert digest(load(text(renamed))) != digest(load(text(CHAIN)))


def test_equal_computations_in_one_graph_have_one_digest() -> None:
    graph = load(text("g (float[4] x) => (float[4] y) { a = Relu(x) b = Relu(x) y = Add(a, b) }"))
    values = structure(graph).values
    assert values["a"] == values["b"] != values["y"]
    assert set(values) == {"x", "a", "b", "y"}
    assert all(len(value) == 16 for value in values.values())


def test_outputs_of_a_node_are_told_apart_and_their_number_counts() -> None:
    two = load(text("g (float[1,4] x) => (float[1,2] a, float[1,2] b) { a, b = Split <axis = 1> (x) }"))
    values = structure(two).values
    assert values["a"] != values["b"]
    one = load(text("g (float[1,4] x) => (float[1,4] a) { a = Split <axis = 1> (x) }"))
    assert structure(one).values["a"] != values["a"]


def test_optional_inputs_left_out_at_the_end_do_not_count_but_in_the_middle_they_do() -> None:
    low = "g (float[4] x) => (float[4] y) <float l = {1}> { y = Clip(x, l%s) }"
    assert of(low % "") == of(low % ", ")
    high = "g (float[4] x) => (float[4] y) <float l = {1}> { y = Clip(x, , l) }"
    assert of(low % "") != of(high)


def test_the_version_counts_where_the_meaning_changed() -> None:
    relu = "g (float[4] x) => (float[4] y) { y = Relu(x) }"
    assert of(relu, 14) == of(relu, 18)
    assert of(relu, 13) != of(relu, 14)  # Relu-14 takes more types
    softmax = "g (float[1,2,3] x) => (float[1,2,3] y) { y = Softmax(x) }"
    assert of(softmax, 11) != of(softmax, 13)  # from "all axes behind" to "this axis"


def test_operators_of_other_domains_count_with_their_opset() -> None:
    def with_opset(version: int) -> str:
        header = f'<ir_version: 8, opset_import: ["": 17, "com.other": {version}]>'
        return structure_digest(
            load(parser.parse_model(header + "g (float[4] x) => (float[4] y) { y = com.other.F(x) }"))
        )

    assert with_opset(1) == with_opset(1) != with_opset(2)


def test_constant_nodes_and_initializers_are_one() -> None:
    node = "g (float[2] x) => (float[2] y) { c = Constant <value = float[2] {1, 2}> () y = Add(x, c) }"
    listed = "g (float[2] x) => (float[2] y) <float[2] k = {1, 2}> { y = Add(x, k) }"
    assert of(node) == of(listed)


def test_inputs_count_by_place_and_type() -> None:
    body = "g (float[2] %s, float[2] %s) => (float[2] y) { y = Sub(a, b) }"
    first, second = load(text(body % ("a", "b"))), load(text(body % ("b", "a")))
    assert structure(first).values["y"] != structure(second).values["y"]
    assert structure(first).values["y"] == structure(second, inputs=["a", "b"]).values["y"]
    alone = load(text("g (float[2] b) => (float[2] y) { y = Relu(b) }"))
    both = load(text("g (float[2] a, float[2] b) => (float[2] y) { y = Relu(b) }"))
    assert structure(alone).values["y"] != structure(both).values["y"]
    assert structure(alone, inputs=["", "b"]).values["y"] == structure(both).values["y"]


def test_the_order_of_outputs_counts_for_the_model() -> None:
    body = "g (float[2] x) => (float[2] %s, float[2] %s) { a = Relu(x) b = Tanh(x) }"
    assert of(body % ("a", "b")) != of(body % ("b", "a"))
    assert of(body % ("a", "b")) != of("g (float[2] x) => (float[2] a) { a = Relu(x) }")


def test_an_output_that_is_an_input_or_a_constant() -> None:
    passed = "g (float[2] x) => (float[2] x, float[2] k) <float[2] k = {1, %s}> { a = Relu(x) }"
    assert of(passed % 2) == of(passed % 2) != of(passed % 3)


def branching(captured: str = "r", then: str = "Relu", inner: str = "t", weight: float = 1.0) -> Graph:
    """If(flag, then: op(captured) + weight, else: captured), between ops of the model itself."""
    branch = helper.make_graph(
        [helper.make_node(then, [captured], [inner]), helper.make_node("Add", [inner, "k"], ["out_t"])],
        "then", [], [helper.make_tensor_value_info("out_t", 1, None)],
        [numpy_helper.from_array(np.asarray([weight], np.float32), "k")],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Identity", [captured], ["out_e"])],
        "else",
        [],
        [helper.make_tensor_value_info("out_e", 1, None)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Sigmoid", ["x"], ["r"]),
            helper.make_node("Tanh", ["x"], ["s"]),
            helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=other),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, [4]), helper.make_tensor_value_info("flag", 9, [])],
        [helper.make_tensor_value_info("y", 1, [4])],
    )
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_bodies_count_with_what_they_capture() -> None:
    base = structure_digest(branching())
    assert structure_digest(branching(inner="renamed")) == base
    assert structure_digest(branching(captured="s")) != base
    assert structure_digest(branching(then="Elu")) != base
    assert structure_digest(branching(weight=2.0)) != base


def looping(step: str = "v", carried: tuple[str, str] = ("a", "b")) -> Graph:
    """Two values carried through a loop: v' = v * step, w' = w + v, under any names."""
    v, w = carried
    body = helper.make_graph(
        [
            helper.make_node("Mul", [v, v if step == "v" else w], ["v_out"]),
            helper.make_node("Add", [w, v], ["w_out"]),
            helper.make_node("Identity", ["go"], ["go_out"]),
        ],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, []),
         helper.make_tensor_value_info(v, 1, [2]), helper.make_tensor_value_info(w, 1, [2])],
        [helper.make_tensor_value_info("go_out", 9, []), helper.make_tensor_value_info("v_out", 1, [2]),
         helper.make_tensor_value_info("w_out", 1, [2])],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "x", "x"], ["y", "z"], body=body)],
        "g",
        [helper.make_tensor_value_info("x", 1, [2])],
        [helper.make_tensor_value_info("y", 1, [2]), helper.make_tensor_value_info("z", 1, [2])],
        [numpy_helper.from_array(np.asarray(3), "n")],
    )
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_values_carried_through_a_loop_count_by_place() -> None:
    base = structure_digest(looping())
    assert structure_digest(looping(carried=("p", "q"))) == base
    assert structure_digest(looping(carried=("b", "a"))) == base
    assert structure_digest(looping(step="w")) != base


FUNCTION = """<ir_version: 10, opset_import: ["": 17, "own": 1]>
g (float[4] x) => (float[4] y) { y = own.twice <alpha = 0.5> (x) }
<domain: "own", opset_import: ["": 17]> twice <alpha> (v) => (w) { t = Elu <alpha: float = @alpha> (v) w = %s(t, t) }"""


def test_functions_count_with_their_bodies() -> None:
    def of_function(old: str, new: str, op: str = "Add") -> str:
        return structure_digest(load(parser.parse_model((FUNCTION % op).replace(old, new))))

    base = of_function("", "")
    assert of_function("", "", op="Mul") != base
    assert of_function("0.5", "0.25") != base
    assert of_function("alpha: float = @alpha", "alpha = 0.5") != base
    renamed = parser.parse_model(FUNCTION % "Add")
    first, second = renamed.functions[0].node
    first.output[0] = second.input[0] = second.input[1] = "inner"
    assert structure_digest(load(renamed)) == base


def test_functions_of_one_name_are_told_apart() -> None:
    values = structure(load(overloaded("one", "two"))).values
    assert values["p"] != values["q"]
    same = structure(load(overloaded("one", "one"))).values
    assert same["p"] == same["q"] == values["p"]
    assert digest(load(overloaded("one", "two"))) != digest(load(overloaded("two", "one")))


def test_functions_of_one_name_are_told_apart_in_bodies() -> None:
    def inside(overload: str) -> str:
        model = overloaded("one", "one")
        model.functions[0].node[0].CopyFrom(helper.make_node("f", ["a"], ["b"], domain="own", overload=overload))
        model.functions[0].opset_import.append(helper.make_opsetid("own", 1))
        return structure_digest(load(model))

    assert inside("two") != inside("three")


def test_a_body_that_reads_what_nothing_produces_is_an_error() -> None:
    broken = parser.parse_model(FUNCTION % "Add")
    broken.functions[0].node[1].input[0] = "missing"
    with pytest.raises(ModelError, match=r"reads 'missing', which nothing before it produces"):
        structure_digest(load(broken))


def test_weights_in_files_of_other_layouts_are_the_same_weights() -> None:
    """raw_data and float_data hold the same numbers."""
    raw, listed = cnn(), cnn()
    for tensor in listed.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, onnx.TensorProto.FLOAT, array.shape, array.ravel().tolist()))
    assert not listed.graph.initializer[0].raw_data
    assert structure_digest(load(raw)) == structure_digest(load(listed))


def test_a_weight_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("reconv.graph.structure")  # the package has the function under this name
    hashed: list[tuple[int, ...]] = []

    def counting(array: np.ndarray[Any, Any]) -> str:
        hashed.append(array.shape)
        return digest_array(array)

    monkeypatch.setattr(module, "digest_array", counting)
    nodes = "".join(f"a{i + 1} = Add(a{i}, w) " for i in range(50))
    structure(load(text("g (float[7] a0) => (float[7] a50) <float[7] w = {1,2,3,4,5,6,7}> {" + nodes + "}")))
    assert hashed == [(7,)]
