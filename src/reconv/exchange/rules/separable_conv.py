"""A dense kernel of low rank as two convolutions along one axis each, with few channels between.

Read the kernel (Cout, Cin, ky, kx) as a matrix with rows (Cin, ky) and columns (Cout, kx). Where that has rank R,

    w[o, i, y, x] = sum over r of  a[r, i, y] b[o, r, x]

so a convolution with a along y to R channels, and one with b along x from them, give the same: R (ky Cin + kx Cout)
products for a pixel instead of ky kx Cin Cout. The matrix with rows (Cin, kx) and columns (Cout, ky), whose convolution
runs along x first, can have another rank; the cheaper of both is taken. Jaderberg et al., Speeding up Convolutional
Neural Networks with Low Rank Expansions (2014), arXiv 1405.3866, do so with a loss; here the singular
values left out have to be rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft
from reconv.exchange.rules.kernels import ROUNDING, surely_above, write_along
from reconv.exchange.rules.once import once_for_each
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]

Array = np.ndarray[Any, Any]


def match(view: View, node: Node) -> Answer:
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if len(conv.kernel) != 2 or min(conv.kernel) < 2 or conv.groups != 1:
        return None
    outs, ins = conv.weight.shape[:2]
    limits, parts = [], {}
    for first in (0, 1):
        second = 1 - first
        step = ins * conv.kernel[first] * conv.strides[second] + outs * conv.kernel[second]
        limit = (conv.weight[0].size * outs - 1) // step  # the largest rank that has fewer multiply-adds
        limits.append(limit)
        factors = _factors(conv.weight, first) if limit and not _surely_above(conv.weight, first, limit) else None
        if factors is not None and factors[0].shape[0] <= limit:
            parts[first] = (factors[0].shape[0] * step, factors)
    if not max(limits):
        return Refusal("too few channels for two convolutions to be fewer multiply-adds")
    if not parts:
        return Refusal("its rank is too high: the next singular value is above rounding")
    first = min(parts, key=lambda axis: parts[axis][0])
    along, across = parts[first][1]
    draft = Draft(view)
    between = view.fresh(f"{conv.y}/between")
    write_along(draft, conv, first, along, x=conv.x, y=between, bias=None, groups=1)
    write_along(draft, conv, 1 - first, across, x=between, y=conv.y, bias=conv.bias, groups=1)
    return draft.rewrite([node])


def _matrix(weight: Array, first: int) -> Array:
    """(Cin * k of the first axis, Cout * k of the other), float64."""
    outs, ins, *kernel = weight.shape
    order = (1, 2 + first, 0, 3 - first)
    return weight.transpose(order).reshape(ins * kernel[first], outs * kernel[1 - first]).astype(np.float64)


@once_for_each
def _factors(weight: Array, first: int) -> tuple[Array, Array]:
    """The kernels (R, Cin, k) of the first convolution and (Cout, R, k) of the second, R being the numerical rank."""
    outs, ins, *kernel = weight.shape
    matrix = _matrix(weight, first)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    left_out = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]  # the norm of what is lost without this one and the rest
    rank = max(int(np.sum(left_out > ROUNDING * np.linalg.norm(matrix))), 1)
    root = np.sqrt(values[:rank])
    along = (left[:, :rank] * root).T.reshape(rank, ins, kernel[first])
    across = (right[:rank] * root[:, None]).reshape(rank, outs, kernel[1 - first]).transpose(1, 0, 2)
    return along, across


@once_for_each
def _surely_above(weight: Array, first: int, limit: int) -> bool:
    return surely_above(_matrix(weight, first), limit)


_TEXT = """g (float[1, 6, 9, 8] x) => (float[1, 5, h, w] y) {{
    y = Conv <{0}> (x, w, b)
}}"""


def _low_rank(rank: int) -> Array:
    random = np.random.default_rng(rank)
    along, across = random.standard_normal((rank, 6, 3)), random.standard_normal((5, rank, 3))
    return np.asarray(np.einsum("riy,orx->oiyx", along, across), np.float32)


RULE = Rule(
    name="separable conv",
    family="kernel",
    swap="conv kxk of low rank ⇒ kx1 to few channels → 1xk",
    match=match,
    example=Example(_TEXT.format("pads = [1, 0, 2, 1]"), {"w": _low_rank(3), "b": (5,)}),
    refused={
        "rank is too high": Example(_TEXT.format("pads = [1, 0, 2, 1]"), {"w": _low_rank(9), "b": (5,)}),
        "too few channels": Example(
            "g (float[1, 1, 9, 8] x) => (float[1, 1, h, w] y) { y = Conv <strides = [2, 2]> (x, w) }",
            {"w": np.ones((1, 1, 2, 2), np.float32)},
        ),
    },
)
