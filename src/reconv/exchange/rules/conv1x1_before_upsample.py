"""A 1x1 convolution before an upsampling instead of after it.

    W up(x) + b = up(W x + b)

since the convolution acts on channels alone, and each pixel of up(x) is a sum of pixels of x with weights that sum to
1, so that the bias passes unchanged. That holds for nearest, linear and cubic interpolation (`resizing`). The
convolution then runs on as many pixels as there were before: a quarter, when both sides double.

Sizes that are computed while the model runs are kept but for the entry of the channels. An upsampling that others read
too stays for them.
"""

from __future__ import annotations

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import Draft, Weights, is_op, needed_beside
from reconv.exchange.rules.resizing import Resizing, read_resizing
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Conv") or not is_op(view.producer(node.inputs[0]), "Resize", "Upsample"):
        return None
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if set(conv.kernel) != {1}:
        return None
    resizing = read_resizing(view, view.producer(conv.x), int(conv.weight.shape[1]) * conv.groups)
    if not isinstance(resizing, Resizing):
        return resizing
    if conv.padded or set(conv.strides) != {1}:
        return Refusal("the 1x1 convolution strides or pads")
    if resizing.growth is not None and resizing.growth <= 1:
        return Refusal("the resizing does not enlarge the map: the convolution would see more pixels")
    draft = Draft(view)
    small = draft.copy(conv.node, (resizing.x, *conv.node.inputs[1:]), view.fresh(f"{conv.y}/small"))
    resizing.write(draft, small, conv.y, int(conv.weight.shape[0]))
    sizes = resizing.sized_by(view)
    kept = (resizing.node,) if needed_beside(view, conv.x, node) else ()
    return draft.rewrite((*sizes, resizing.node, node), (*sizes, *kept))


_TEXT = """g (float[1, 6, 5, 7] x) => (float[n, c, h, w] y) {{
    u = Resize <mode = "{mode}"{more}> (x, , scales)
    y = Conv {conv} (u, w, b)
}}"""
_DOUBLE = np.array([1, 1, 2, 2], np.float32)
_WEIGHTS: Weights = {"w": (4, 6, 1, 1), "b": (4,), "scales": _DOUBLE}

RULE = Rule(
    name="conv1x1 before upsample",
    family="layer",
    swap="upsample → conv1x1 ⇒ conv1x1 → upsample",
    match=match,
    example=Example(_TEXT.format(mode="linear", more="", conv=""), _WEIGHTS),
    refused={
        "a fixed value outside": Example(
            """g (float[1, 6, 5, 7] x) => (float[n, c, h, w] y) {
                u = Resize <mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"> (x, roi, scales)
                y = Conv (u, w, b)
            }""",
            {**_WEIGHTS, "roi": np.array([0, 0, 0, 0, 1, 1, 2, 2], np.float32)},
        ),
        "channels too": Example(
            _TEXT.format(mode="nearest", more="", conv=""),
            {**_WEIGHTS, "w": (4, 12, 1, 1), "scales": np.array([1, 2, 2, 2], np.float32)},
        ),
        "strides or pads": Example(_TEXT.format(mode="nearest", more="", conv="<strides = [2, 2]>"), _WEIGHTS),
        "more pixels": Example(
            _TEXT.format(mode="nearest", more="", conv=""), {**_WEIGHTS, "scales": np.array([1, 1, 0.5, 1], np.float32)}
        ),
    },
)
