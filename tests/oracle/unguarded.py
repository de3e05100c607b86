"""Wrong rewrites by hand: what a rule would do whose guard is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from reconv.exchange.view import look
from reconv.graph import Rewrite, parse
from tests.oracle.rewrites import Firing

_HAND: tuple[tuple[str, str, str], ...] = (
    # (what is forgotten, before, after); both read x and, where they like, the weights below
    (
        "a shift of a padded convolution",
        "n = Add (x, t) y = Conv <pads = [1, 1, 1, 1]> (n, w, b)",
        "y = Conv <pads = [1, 1, 1, 1]> (x, w, b_shifted)",
    ),
    (
        "a negative scale through a max pool",
        "n = Mul (x, signs) y = MaxPool <kernel_shape = [2, 2]> (n)",
        "n = MaxPool <kernel_shape = [2, 2]> (x) y = Mul (n, signs)",
    ),
    ("a negative scale through relu", "n = Mul (x, signs) y = Relu (n)", "n = Relu (x) y = Mul (n, signs)"),
    ("a shift through relu", "n = Add (x, t) y = Relu (n)", "n = Relu (x) y = Add (n, t)"),
    (
        "HardSwish is not monotone",
        "n = HardSwish (x) y = MaxPool <kernel_shape = [3, 3]> (n)",
        "n = MaxPool <kernel_shape = [3, 3]> (x) y = HardSwish (n)",
    ),
    (
        "SiLU is not monotone",
        "s = Sigmoid (x) n = Mul (x, s) y = MaxPool <kernel_shape = [3, 3]> (n)",
        "m = MaxPool <kernel_shape = [3, 3]> (x) s = Sigmoid (m) y = Mul (m, s)",
    ),
    (
        "a negative slope",
        "n = LeakyRelu <alpha = -0.1> (x) y = MaxPool <kernel_shape = [3, 3]> (n)",
        "n = MaxPool <kernel_shape = [3, 3]> (x) y = LeakyRelu <alpha = -0.1> (n)",
    ),
    (
        "relu through an average pool",
        "n = Relu (x) y = AveragePool <kernel_shape = [2, 2]> (n)",
        "n = AveragePool <kernel_shape = [2, 2]> (x) y = Relu (n)",
    ),
    (
        "a bias and counted padding",
        "c = Conv (x, p, b) y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (c)",
        "c = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x) y = Conv (c, p, b)",
    ),
    (
        "a convolution through a max pool",
        "c = Conv (x, p, b) y = MaxPool <kernel_shape = [2, 2]> (c)",
        "c = MaxPool <kernel_shape = [2, 2]> (x) y = Conv (c, p, b)",
    ),
    (
        "a strided 1x1 before the pool",
        "c = Conv <strides = [2, 2]> (x, p, b) y = MaxPool <kernel_shape = [2, 2]> (c)",
        "c = MaxPool <kernel_shape = [2, 2]> (x) y = Conv <strides = [2, 2]> (c, p, b)",
    ),
    (
        "the order of a concat",
        "j = Concat <axis = 1> (x, x2) y = Conv (j, pp, b)",
        "j = Concat <axis = 1> (x2, x) y = Conv (j, pp, b)",
    ),
    (
        "a kernel that is not turned around",
        "y = ConvTranspose <pads = [1, 1, 1, 1]> (x, q, b)",
        "y = Conv <pads = [1, 1, 1, 1]> (x, q_swapped, b)",
    ),
    (
        "padding with zeros in a max pool",
        "n = Pad (x, around) y = MaxPool <kernel_shape = [2, 2]> (n)",
        "y = MaxPool <kernel_shape = [2, 2], pads = [1, 1, 1, 1]> (x)",
    ),
    (
        "reflected padding",
        'n = Pad <mode = "reflect"> (x, around) y = Conv (n, w, b)',
        "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)",
    ),
    (
        "padding on the other side",
        "y = Conv <pads = [0, 0, 1, 1]> (x, w, b)",
        "y = Conv <pads = [1, 1, 0, 0]> (x, w, b)",
    ),
    (
        "the other SAME",
        'y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w, b)',
        'y = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w, b)',
    ),
    (
        "a window less",
        "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)",
        "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 1, 1], count_include_pad = 1> (x)",
    ),
    (
        "relu through a linear upsampling",
        'r = Resize <mode = "linear"> (x, , up) y = Relu (r)',
        'r = Relu (x) y = Resize <mode = "linear"> (r, , up)',
    ),
    (
        "a convolution with a window through an upsampling",
        'r = Resize <mode = "nearest"> (x, , up) y = Conv <pads = [1, 1, 1, 1]> (r, w, b)',
        'r = Conv <pads = [1, 1, 1, 1]> (x, w, b) y = Resize <mode = "nearest"> (r, , up)',
    ),
    (
        "which pixel a subsampling keeps",
        "y = Conv <strides = [2, 2]> (x, p, b)",
        "n = Slice (x, ones, ends, axes, steps) y = Conv (n, p, b)",
    ),
    (
        "a bias through a padded second convolution",
        "c = Conv (x, p, b) y = Conv <pads = [1, 1, 1, 1]> (c, w6, b6)",
        "y = Conv <pads = [1, 1, 1, 1]> (x, w6_of_p, b6_of_b)",
    ),
    (
        "an activation in between",
        "c = Conv (x, p, b) a = Relu (c) y = Conv (a, p6, b6)",
        "y = Conv (x, p6_of_p, b6_of_b1)",
    ),
)


def by_hand(random: np.random.Generator) -> Iterator[Firing]:
    """Each of `_HAND` once, with other weights every time."""
    normal = random.standard_normal
    w, p, q = normal((6, 4, 3, 3)), normal((6, 4, 1, 1)), normal((4, 6, 3, 3))
    b, t, w6, p6, b6 = normal(6), normal(4), normal((5, 6, 3, 3)), normal((5, 6, 1, 1)), normal(5)
    arrays = {
        "w": w,
        "p": p,
        "q": q,
        "b": b,
        "t": t.reshape(4, 1, 1),
        "w6": w6,
        "p6": p6,
        "b6": b6,
        "pp": normal((6, 8, 1, 1)),
        "signs": np.array([1.5, -0.5, 2.0, -1.0]).reshape(4, 1, 1),
        "b_shifted": b + np.einsum("oiab,i->o", w, t),
        "q_swapped": q.swapaxes(0, 1),
        "w6_of_p": np.einsum("omab,mi->oiab", w6, p[:, :, 0, 0]),
        "b6_of_b": b6 + np.einsum("omab,m->o", w6, b),
        "p6_of_p": np.einsum("omab,mi->oiab", p6, p[:, :, 0, 0]),
        "b6_of_b1": b6 + p6[:, :, 0, 0] @ b,
        "up": np.array([1, 1, 2, 2.0]),
        "around": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "ones": np.array([1, 1]),
        "ends": np.array([2**62, 2**62]),
        "axes": np.array([2, 3]),
        "steps": np.array([2, 2]),
    }
    typed = {name: a if a.dtype == np.int64 else a.astype(np.float32) for name, a in arrays.items()}
    head = "g (float[1, 4, 8, 9] x, float[1, 4, 8, 9] x2) => (float[n, c, h, v] y)"
    for forgotten, before, after in _HAND:
        view = look(parse(f"{head} {{ {before} }}", typed, 17))
        other = parse(f"{head} {{ {after} }}", typed, 17)
        new = {f"{name}/new": array for name, array in other.constants.items()}
        nodes = tuple(
            replace(
                node,
                name=f"{node.name}/new",
                inputs=tuple(f"{i}/new" if i and i not in ("x", "x2") else i for i in node.inputs),
                outputs=tuple(name if name == "y" else f"{name}/new" for name in node.outputs),
            )
            for node in other.nodes
        )
        yield Firing(forgotten, view, Rewrite(view.graph.nodes, nodes, new))
