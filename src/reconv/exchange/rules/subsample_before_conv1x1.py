"""One subsampling for several 1x1 convolutions that stride over the same map.

    (W x + b) at every s-th pixel = W (x at every s-th pixel) + b

since a 1x1 window reads one pixel. The subsampled map is a quarter, for stride 2, and the convolutions on it are plain
matrix products over packed pixels. Alone, a convolution gains nothing from a copy of what it reads, so that such a one
is refused; where several convolutions stride alike (the shortcut and the first convolution of a residual block) they
share one copy. The window of a 1x1 convolution ends in the map, so that ceil(n / s) pixels are left on both sides.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import SLICE_BY_INPUTS, Draft, geometry, is_op
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    conv = _strided(view, node)
    if not isinstance(conv, Convolution):
        return conv
    found = [_strided(view, reader) for reader in view.readers(conv.x)]
    alike = [c for c in found if isinstance(c, Convolution) and c.x == conv.x and c.strides == conv.strides]
    if alike[-1].node is not node:
        return None  # the last of them speaks for all
    if len(alike) == 1:
        return Refusal("nothing else strides over this map: the subsampling would only copy")
    if view.opset < SLICE_BY_INPUTS:
        return Refusal(f"Slice has no steps in opset {view.opset}")
    draft = Draft(view)
    space = len(conv.strides)
    bounds = {
        "starts": np.zeros(space, np.int64),
        "ends": np.full(space, np.iinfo(np.int64).max, np.int64),
        "axes": np.arange(2, 2 + space, dtype=np.int64),
        "steps": np.array(conv.strides, np.int64),
    }
    few = view.fresh(f"{conv.x}/subsampled")
    draft.node("Slice", (conv.x, *(draft.constant(f"{few}/{key}", array) for key, array in bounds.items())), few)
    for each in alike:
        attributes = {**geometry(each), "strides": None}
        draft.node("Conv", (few, *each.node.inputs[1:]), each.y, **attributes)
    return draft.rewrite([each.node for each in alike])


def _strided(view: View, node: Node) -> Convolution | Refusal | None:
    """The node as a 1x1 convolution that strides."""
    if not is_op(node, "Conv") or set(node.attributes.get("strides", (1,))) == {1}:
        return None
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if set(conv.kernel) != {1}:
        return None
    return Refusal("the 1x1 convolution pads") if conv.padded else conv


_TWO = """g (float[1, 6, 7, 8] x) => (float[1, 4, h, w] y, float[1, 5, h, w] z) {{
    y = Conv <strides = [2, 2]{more}> (x, v, b)
    z = Conv <strides = [2, 2]{more}> (x, w)
}}"""
_WEIGHTS = {"v": (4, 6, 1, 1), "b": (4,), "w": (5, 6, 1, 1)}

RULE = Rule(
    name="subsample before conv1x1",
    family="layer",
    swap="several conv1x1 with stride s ⇒ subsample → conv1x1 each",
    match=match,
    example=Example(_TWO.format(more=""), _WEIGHTS),
    refused={
        "only copy": Example(
            "g (float[1, 6, 7, 8] x) => (float[1, 4, h, w] y) { y = Conv <strides = [2, 2]> (x, v, b) }",
            {"v": (4, 6, 1, 1), "b": (4,)},
        ),
        "pads": Example(_TWO.format(more=", pads = [1, 1, 0, 0]"), _WEIGHTS),
    },
)
