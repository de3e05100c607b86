"""Multiply-adds, receptive fields, digests and evaluation of single nodes, against numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from reconv.errors import ModelError
from reconv.graph import Node, digest, evaluate, extract, load
from reconv.graph.cost import multiply_adds
from reconv.graph.digest import digest_array
from reconv.graph.reach import reaches
from reconv.graph.shapes import infer
from tests.unit.small import cnn, text


def _node(op: str, inputs: str, outputs: str = "y", **attributes: object) -> Node:
    return Node("n", op, "", tuple(inputs.split()), tuple(outputs.split()), attributes)


@pytest.mark.parametrize(
    ("node", "shapes", "expected"),
    [
        (_node("Conv", "x w"), {"x": (1, 6, 8, 8), "w": (4, 3, 3, 3), "y": (1, 4, 8, 8)}, 4 * 64 * 27),
        (_node("ConvTranspose", "x w"), {"x": (1, 6, 8, 8), "w": (6, 4, 2, 2), "y": (1, 4, 16, 16)}, 6 * 64 * 16),
        (_node("MatMul", "x w"), {"x": (2, 5, 7), "w": (7, 3), "y": (2, 5, 3)}, 2 * 5 * 7 * 3),
        (_node("Gemm", "x w"), {"x": (5, 7), "w": (7, 3), "y": (5, 3)}, 5 * 7 * 3),
        (_node("Gemm", "x w", transA=1), {"x": (7, 5), "w": (7, 3), "y": (5, 3)}, 5 * 7 * 3),
        (_node("Einsum", "x w", equation="bij,jk->bik"), {"x": (2, 3, 4), "w": (4, 5), "y": (2, 3, 5)}, 120),
        (_node("LSTM", "x w r"), {"x": (10, 1, 4), "w": (1, 12, 4), "r": (1, 12, 3)}, 10 * (48 + 36)),
        (_node("Relu", "x"), {"x": (5,), "y": (5,)}, 0),
        (_node("Conv", "x w"), {"x": (1, 6, None, 8), "w": (4, 3, 3, 3), "y": (1, 4, None, 8)}, None),
    ],
)
def test_multiply_adds(node: Node, shapes: dict[str, tuple[int | None, ...]], expected: int | None) -> None:
    assert multiply_adds(node, shapes) == expected


def test_reach_of_a_chain() -> None:
    graph = load(cnn())
    reach = reaches(graph, infer(extract(graph, ["x"], ["y"], {"x": (1, 3, 24, 32)})))
    assert str(reach["r1"]) == "3x3/2"
    assert str(reach["y"]) == "7x7/2"  # the second 3x3 window sees 3 + 2 * 2


def test_reach_through_pooling_upsampling_and_global_pooling() -> None:
    graph = load(
        text("""g (float[1,4,16,16] x) => (float[1,4,16,16] y, float[1,4,1,1] p) <float[4] s = {1, 1, 2, 2}> {
            a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
            b = Resize <mode = "nearest"> (a, , s)
            y = Add(b, x)
            p = GlobalAveragePool(y)
        }""")
    )
    reach = reaches(graph, infer(extract(graph, ["x"], ["y", "p"], {"x": (1, 4, 16, 16)})))
    assert str(reach["a"]) == "2x2/2"
    assert str(reach["b"]) == "2x2/1"
    assert reach["y"].height == 2
    assert reach["y"].stride == (Fraction(1), Fraction(1))
    assert reach["p"].whole


@pytest.mark.parametrize(
    "made",
    [
        "DepthToSpace <blocksize = 0> (x)",
        "SpaceToDepth <blocksize = -2> (x)",
        'DepthToSpace <blocksize = "two"> (x)',
        "MaxPool <kernel_shape = [2, 2], strides = [0, 1]> (x)",
        "ConvTranspose <strides = [0, 0]> (x, w)",
    ],
)
def test_reach_of_what_is_no_window(made: str) -> None:
    """A line that names the node, and no division by nothing."""
    weights = f"<float[4,4,1,1] w = {{{', '.join('1' * 16)}}}>"
    graph = load(text(f"g (float[1,4,8,8] x) => (float y) {weights} {{ y = {made} }}"))
    op = made.partition(" ")[0]
    with pytest.raises(ModelError, match=rf"\({op}\) has attributes that make no sense") as caught:
        reaches(graph, {})
    assert "\n" not in str(caught.value)


def test_digest_sees_weights_and_wiring_but_not_declared_sizes() -> None:
    base = digest(load(cnn()))
    assert len(base) == 32
    assert digest(load(cnn(24, 32, 1))) == base
    other = cnn()
    changed = np.frombuffer(other.graph.initializer[1].raw_data, np.float32).copy()
    changed[0] += 1
    other.graph.initializer[1].raw_data = changed.tobytes()
    assert digest(load(other)) != base
    other = cnn()
    other.graph.node[0].attribute[0].ints[0] = 0
    assert digest(load(other)) != base
    assert digest(load(cnn(tail=True))) != base


def test_digest_of_arrays() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest_array(a) == digest_array(np.asfortranarray(a))
    assert digest_array(a) != digest_array(a.reshape(3, 2))
    assert digest_array(a) != digest_array(a.astype(np.float64))
    assert digest_array(np.array(["ab", "c"], object)) != digest_array(np.array(["a", "bc"], object))


def test_evaluate_one_node() -> None:
    value = np.arange(6).reshape(2, 3)
    (shape,) = evaluate(_node("Shape", "x"), [value], 17)
    assert shape.tolist() == [2, 3]
    parts = evaluate(_node("Split", "x s", "a b", axis=1), [value, np.array([1, 2])], 17)
    assert [part.shape for part in parts] == [(2, 1), (2, 2)]
    (clipped,) = evaluate(_node("Clip", "x  hi"), [value, None, np.array(2)], 17)
    assert clipped.max() == 2


def test_evaluate_says_what_it_cannot() -> None:
    with pytest.raises(ModelError, match="Nonsense"):
        evaluate(_node("Nonsense", "x"), [np.zeros(1)], 17)
    with pytest.raises(ModelError, match="cannot be computed ahead"):
        evaluate(Node("n", "Relu", "com.microsoft", ("x",), ("y",)), [np.zeros(1)], 17)
    with pytest.raises(ModelError, match="MatMul"):
        evaluate(_node("MatMul", "x w"), [np.zeros((2, 3)), np.zeros((2, 3))], 17)
