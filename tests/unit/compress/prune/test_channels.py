"""What operators do to channels, one at a time: which go together, which stay and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from reconv.compress.prune import groups
from reconv.compress.prune.channels import Atoms
from reconv.compress.prune.table import OPERATORS, trace
from reconv.graph import Graph, parse

Array = np.ndarray[Any, Any]
SHAPES = {"w": (8, 3, 1, 1), "v": (2, 8, 1, 1)}


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def between(body: str, *, opset: int = 17, channels: int = 8, **more: Any) -> Graph:
    """A convolution to 8 channels, ``body`` from c to d, and a convolution from so many channels to two."""
    constants = weights({**SHAPES, "v": (2, channels, 1, 1)}) | more
    text = f"g (float[1, 3, 4, 4] x) => (float[1, 2, h, k] y) {{ c = Conv (x, w) {body} y = Conv (d, v) }}"
    return parse(text, constants, opset)


def floats(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def units(graph: Graph) -> list[int]:
    return [group.units for group in groups(graph)]


def reasons(graph: Graph) -> set[str]:
    """Why channels of the first convolution stay."""
    walk = trace(graph)
    found = {walk.atoms.reason(int(root)) for root in walk.atoms.roots(walk.layers[0].outs)}
    return {reason for reason in found if reason is not None}


@pytest.mark.parametrize(
    ("body", "more", "opset"),
    [
        ("d = Relu (c)", {}, 17),
        ("d = Clip <min = 0.0, max = 6.0> (c)", {}, 9),
        ("d = Add (c, k)", {"k": np.ones((8, 1, 1), np.float32)}, 17),
        ("d = Add (c, k)", {"k": np.ones((1, 8, 1, 1), np.float32)}, 17),
        ("d = Mul (k, c)", {"k": np.ones((), np.float32)}, 17),
        ("d = Upsample <mode = \"nearest\"> (c, k)", {"k": floats(1, 1, 2, 2)}, 9),
        ("d = Resize (c, k)", {"k": floats(1, 1, 2, 2)}, 10),
        ("d = Resize (c, r, r, k)", {"k": ints(1, 8, 8, 8), "r": np.zeros(0, np.float32)}, 11),
        ("d = Resize <axes = [2, 3]> (c, , k)", {"k": floats(2, 2)}, 18),
        ("d = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1]> (c)", {}, 10),
        ("d = Pad (c, k)", {"k": ints(0, 0, 1, 1, 0, 0, 1, 1)}, 13),
        ("d = Pad (c, k, , a)", {"k": ints(1, 1), "a": ints(2)}, 18),
        ("d = LpPool <kernel_shape = [2, 2]> (c)", {}, 17),
        ("d = Softmax <axis = 2> (c)", {}, 17),
        ("d = ReduceMean <axes = [2, 3]> (c)", {}, 17),
        ("d = ReduceMean (c, a)", {"a": ints(-1)}, 18),
        ("s = Shape (c) i = Gather (s, k) j = Cast <to = 7> (i) d = Relu (c)", {"k": ints(2)}, 17),
        ("s = Squeeze <axes = [0]> (c) d = Unsqueeze <axes = [0]> (s)", {}, 11),
        ("s = Squeeze (c, k) d = Unsqueeze (s, k)", {"k": ints(0)}, 13),
        ("s = Transpose <perm = [0, 2, 3, 1]> (c) d = Transpose <perm = [0, 3, 1, 2]> (s)", {}, 17),
        ("s = Reshape (c, k) d = Reshape (s, l)", {"k": ints(1, 8, 16), "l": ints(0, -1, 4, 4)}, 17),
        ("s = Slice <axes = [2], starts = [0], ends = [2]> (c) d = Relu (s)", {}, 9),
    ],
)  # fmt: skip
def test_channels_pass(body: str, more: dict[str, Any], opset: int) -> None:
    assert units(between(body, opset=opset, **more)) == [8]


@pytest.mark.parametrize(
    ("body", "more", "why"),
    [
        ("d = Softmax <axis = 1> (c)", {}, "across channels"),
        ("d = LRN <size = 3> (c)", {}, "not known"),
        ("d = CumSum (c, k)", {"k": np.array(1, np.int64)}, "not known"),
        ("s = ReduceMax <axes = [1]> (c) d = Add (c, s)", {}, "reduces channels"),
        ("s = ReduceMax (c) d = Add (c, s)", {}, "reduces channels"),
        ("s = Shape (c) t = Cast <to = 1> (s) m = ReduceMax (t) d = Mul (c, m)", {}, "computed with"),
        ("d = Slice (c, a, b, k, s)", {"a": ints(0), "b": ints(8), "k": ints(1), "s": ints(2)}, "so-many-th"),
        ("s = Squeeze (c) d = Unsqueeze (s, k)", {"k": ints(0)}, "does not say"),
        ("s = Transpose <perm = [0, 1, 3, 2]> (c) t = Transpose <perm = [0, 2, 1, 3]> (c) d = Add (s, t)", {}, ""),
        ("d = Pad (c, k)", {"k": ints(0, 1, 0, 0, 0, 1, 0, 0)}, "adds channels"),
    ],
)
def test_channels_stay(body: str, more: dict[str, Any], why: str) -> None:
    channels = {"Slice": 4, "Pad": 10}.get(body.split("= ")[1].split(" ", maxsplit=1)[0], 8)
    graph = between(body, channels=channels, **more)
    assert units(graph) == []
    assert reasons(graph)
    assert all(why in reason for reason in reasons(graph))


def test_what_is_added_goes_together_and_what_lies_side_by_side_does_not() -> None:
    added = between("e = Conv (x, u) d = Add (c, e)", u=np.ones((8, 3, 1, 1), np.float32))
    beside = between("e = Conv (x, u) d = Concat <axis = 1> (c, e)", channels=16, u=np.ones((8, 3, 1, 1), np.float32))
    assert units(added) == [8]
    assert units(beside) == [8, 8]
    assert len(groups(added)[0].layers) == 2


def test_halves_of_a_split_are_two_groups_and_gates_are_one() -> None:
    assert units(between("a, b = Split <axis = 1> (c) d = Concat <axis = 1> (b, a)")) == [4, 4]
    assert units(between("a, b = Split <axis = 1> (c) d = Mul (b, a)", channels=4)) == [4]
    assert units(between("a, b = Split <axis = 1> (c) d = Mul (b, a)", channels=4, opset=11)) == [4]


def test_a_part_that_is_pinned_leaves_the_others_free() -> None:
    graph = between("a, b = Split <axis = 1> (c) s = Softmax <axis = 1> (a) d = Concat <axis = 1> (s, b)")
    assert units(graph) == [4]


def test_blocks_of_pixels_go_together() -> None:
    (group,) = groups(between("d = DepthToSpace <blocksize = 2> (c)", channels=2))
    assert (group.units, group.width) == (2, 1)
    (group,) = groups(between("d = SpaceToDepth <blocksize = 2> (c)", channels=32))
    assert (group.units, group.channels) == (8, 8)


@pytest.mark.parametrize(("group", "count"), [(8, 8), (4, 4), (2, 4)])
def test_grouped_convolutions_lose_whole_groups_or_the_same_places_of_each(group: int, count: int) -> None:
    graph = between(f"d = Conv <group = {group}> (c, u)", u=np.ones((8, 8 // group, 1, 1), np.float32))
    assert units(graph)[0] == count


def test_layers_that_share_weights_stay_shared() -> None:
    graph = between("e = Conv (c, u) d = Conv (e, u)", u=np.ones((8, 8, 1, 1), np.float32))
    assert units(graph) == [8]


def test_channels_of_a_free_size_are_followed_through_a_reshape() -> None:
    constants = weights(SHAPES) | {"k": ints(0, 8, -1), "l": ints(2)}
    head = "g (float[n, 3, h, k2] x) => (float[n, 8, 2] y) { c = Conv (x, w) "
    fixed = parse(head + "s = Reshape (c, k) y = MatMul (s, m) }", {**constants, "m": np.ones((9, 2), np.float32)})
    assert "output" in reasons(fixed).pop()


def test_every_operator_of_the_table_is_one_of_onnx() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain in ("", "ai.onnx")}
    assert set(OPERATORS) - known <= {"Swish"}  # newer than the oldest onnx that is supported


def test_the_oldest_atom_stands_for_its_set_and_pins_are_kept() -> None:
    atoms = Atoms()
    a, b = atoms.fresh(3), atoms.fresh(3)
    atoms.pin(b[:1], "here")
    atoms.join(b, a)
    assert atoms.roots(b).tolist() == a.tolist()
    assert [atoms.reason(int(root)) for root in a] == ["here", None, None]
