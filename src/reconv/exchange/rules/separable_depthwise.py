"""A depthwise kernel of rank 1 in every channel as a column and then a row, or the other way round.

    w[y, x] = u[y] v[x]   ⇒   conv with w = conv with u along one axis, then with v along the other

which takes ky + kx products for a pixel instead of ky kx. Blurs, edge filters and poolings written as convolutions
are of this kind, trained kernels hardly ever. u and v come from the singular value decomposition of each
kernel, with the root of the singular value in both; what it leaves has to be rounding. Strides, padding and dilations
are split by axis, and the bias goes to the last. With strides the order matters: what runs first works on an axis that
has not been thinned out yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft
from reconv.exchange.rules.kernels import ROUNDING, write_along
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if len(conv.kernel) != 2 or min(conv.kernel) < 2 or conv.groups == 1 or conv.weight.shape[1] != 1:
        return None
    kernels = conv.weight[:, 0].astype(np.float64)
    left, values, right = np.linalg.svd(kernels, full_matrices=False)
    if (values[:, 1] > ROUNDING * np.linalg.norm(kernels, axis=(1, 2))).any():
        return Refusal("a kernel of rank 2 or more: its second singular value is above rounding")
    orders = {axis: conv.strides[1 - axis] * conv.kernel[axis] + conv.kernel[1 - axis] for axis in (0, 1)}
    first = min(orders, key=orders.__getitem__)
    if orders[first] >= conv.kernel[0] * conv.kernel[1]:
        return Refusal("a column and a row are as many multiply-adds as the kernel")
    root = np.sqrt(values[:, :1])
    parts = ((left[:, :, 0] * root)[:, None, :], (right[:, 0] * root)[:, None, :])
    draft = Draft(view)
    between = view.fresh(f"{conv.y}/{'rows' if first else 'columns'}")
    write_along(draft, conv, first, parts[first], x=conv.x, y=between, bias=None, groups=conv.groups)
    outs = conv.weight.shape[0]
    write_along(draft, conv, 1 - first, parts[1 - first], x=between, y=conv.y, bias=conv.bias, groups=outs)
    return draft.rewrite([node])


_TEXT = """g (float[1, 3, 9, 8] x) => (float[1, 6, h, w] y) {{
    y = Conv <group = 3, {0}> (x, w, b)
}}"""
_COLUMNS, _ROWS = (np.random.default_rng(i).standard_normal((6, 1, 5)).astype(np.float32) for i in (1, 2))
_WEIGHTS: dict[str, Any] = {"w": _COLUMNS[..., None] * _ROWS[:, :, None, :3], "b": (6,)}

RULE = Rule(
    name="separable depthwise conv",
    family="kernel",
    swap="depthwise kxk of rank 1 ⇒ kx1 → 1xk",
    match=match,
    example=Example(_TEXT.format("strides = [1, 2], pads = [2, 0, 1, 1]"), _WEIGHTS),
    refused={
        "rank 2": Example(_TEXT.format("pads = [1, 1, 1, 1]"), {"w": (6, 1, 3, 3), "b": (6,)}),
        "as many multiply-adds": Example(
            _TEXT.format("strides = [2, 2]"), {"w": _COLUMNS[:, :, :3, None] * _ROWS[:, :, None, :3], "b": (6,)}
        ),
    },
)
