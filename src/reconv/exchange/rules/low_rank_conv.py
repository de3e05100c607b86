"""Two narrow convolutions for one whose matrix has a low rank: `merge_convolutions` the other way round.

    W = U V with R columns in U  ⇒  W x + b = U (V x) + b

for the matrix (Cout) x (Cin·k) of a dense convolution, which gives V as a kxk convolution to R channels and U as a 1x1
one; or for (Cout·k) x (Cin), which gives V as a 1x1 convolution to R channels and U as a kxk one. Of both the cheaper,
where it is cheaper than W. V has no bias, so that zeros of the padding stay zeros through a 1x1 one.

The rank is exact: what lies beyond it is no more than the rounding of W's entries to float32, in the Frobenius norm
2⁻²⁴ |W|, as it is in a product that was multiplied out and stored. This is no approximation of a full matrix.
"""

from __future__ import annotations

from math import prod

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Array, Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, is_op
from reconv.exchange.rules.kernels import COARSE, ROUNDING, surely_above
from reconv.exchange.rules.once import once_for_each
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Conv"):
        return None
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution) or min(conv.weight.shape[:2]) < 2:
        return None
    outs, ins = conv.weight.shape[:2]
    taps, pixels = prod(conv.kernel), prod(conv.strides)
    choices = [(ins * taps + outs, False)]
    if taps > 1:
        choices.append((ins * pixels + outs * taps, True))
    found = []
    for per_rank, narrow_first in choices:
        rank = _rank(conv.weight, narrow_first, (conv.weight.size - 1) // per_rank)  # up to here it is cheaper
        if rank is not None:
            found.append((rank * per_rank, rank, narrow_first))
    if not found:
        return None
    if conv.groups != 1:
        return Refusal("its matrix has a low rank, but it is grouped")
    _, rank, narrow_first = min(found)
    u, sigma, v = np.linalg.svd(_matrix(conv.weight, narrow_first), full_matrices=False)
    root = np.sqrt(sigma[:rank])
    left, right = u[:, :rank] * root, root[:, None] * v[:rank]
    draft, few = Draft(view), view.fresh(f"{conv.y}/few")
    one = {"pads": None, "strides": None, "dilations": None}
    if narrow_first:
        draft.convolution(conv.x, right.reshape(rank, ins, *(1,) * len(conv.kernel)), None, few, conv, **one)
        wide = np.moveaxis(left.reshape(outs, *conv.kernel, rank), -1, 1)
        draft.convolution(few, wide, conv.bias, conv.y, conv)
    else:
        draft.convolution(conv.x, right.reshape(rank, ins, *conv.kernel), None, few, conv)
        draft.convolution(few, left.reshape(outs, rank, *(1,) * len(conv.kernel)), conv.bias, conv.y, conv, **one)
    return draft.rewrite((node,))


def _matrix(weight: Array, narrow_first: bool) -> Array:
    """(Cout, Cin k), or (Cout k, Cin) where the narrow convolution comes first; float64."""
    outs, ins = weight.shape[:2]
    exact = weight.astype(np.float64)
    return np.moveaxis(exact, 1, -1).reshape(-1, ins) if narrow_first else exact.reshape(outs, -1)


@once_for_each
def _rank(weight: Array, narrow_first: bool, limit: int) -> int | None:
    """The rank of the matrix up to rounding, None when it is above ``limit``; 1 for zeros."""
    matrix = _matrix(weight, narrow_first)
    small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    if not 1 <= limit < small.shape[0] or not np.isfinite(small).all():
        return None
    if surely_above(small.T, limit):
        return None
    squares = np.linalg.eigvalsh(small @ small.T)  # ascending; an exact decomposition only where it may matter
    if squares[-limit - 1] > COARSE**2 * squares.sum():
        return None
    sigma = np.linalg.svd(small, compute_uv=False)
    beyond = np.sqrt(np.cumsum(sigma[::-1] ** 2))[::-1]  # norm of what is left out from each rank on
    over = int(np.count_nonzero(beyond > ROUNDING * beyond[0]))
    rank = max(over, 1)
    return rank if rank <= limit else None


def _of_rank(rank: int, shape: tuple[int, ...]) -> Array:
    random = np.random.default_rng(rank)
    left, right = random.standard_normal((shape[0], rank)), random.standard_normal((rank, int(np.prod(shape[1:]))))
    return (left @ right).reshape(shape).astype(np.float32)


_TEXT = "g (float[1, 12, 6, 6] x) => (float[n, c, h, w] y) {{ y = Conv {conv} (x, w, b) }}"

RULE = Rule(
    name="low-rank conv",
    family="layer",
    swap="conv of low rank ⇒ two narrow convs",
    match=match,
    example=Example(_TEXT.format(conv=""), {"w": _of_rank(3, (10, 12, 1, 1)), "b": (10,)}),
    refused={
        "grouped": Example(_TEXT.format(conv="<group = 2>"), {"w": _of_rank(1, (10, 6, 1, 1)), "b": (10,)}),
    },
)
