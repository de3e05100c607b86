"""Padding with zeros done by the convolution that reads it.

    conv(pad(x, q), p) = conv(x, p + q)

since a convolution pads with zeros as well. Exporters of frameworks whose convolutions pad alike on all sides write the
rest as a Pad of its own, which copies the whole map. Only constant zeros around the spatial axes can move; a negative
pad cuts, which a convolution cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.convolution import Convolution, read_convolution
from reconv.exchange.rules.draft import is_op, needed_beside
from reconv.exchange.rules.padding import read_pad
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "Conv"):
        return None
    padding = read_pad(view, view.producer(node.inputs[0]))
    if padding is None or isinstance(padding, Refusal):
        return padding
    conv = read_convolution(view, node)
    if not isinstance(conv, Convolution):
        return conv
    if padding.value != 0:
        return Refusal(f"it pads with {padding.value:g}; a convolution pads with zeros")
    pads = padding.spatial(len(conv.kernel))
    if isinstance(pads, Refusal):
        return pads
    attributes = {k: v for k, v in node.attributes.items() if k != "auto_pad"}
    attributes["pads"] = tuple(a + b for a, b in zip(pads, conv.pads, strict=True))
    padded = view.node("Conv", (padding.x, *node.inputs[1:]), node.outputs[0], **attributes)
    kept = (padding.node,) if needed_beside(view, padding.node.outputs[0], node) else ()
    return Rewrite((padding.node, node), (*kept, padded))


_TEXT = """g (float[1, 3, 8, 7] x) => (float[1, 4, h, w] y) {{
    p = Pad {mode} (x, pads{value})
    y = Conv <strides = [2, 2]> (p, w, b)
}}"""
_WEIGHTS: dict[str, Any] = {"w": (4, 3, 3, 3), "b": (4,)}


def _example(pads: list[int], mode: str = "", value: float | None = None) -> Example:
    weights: dict[str, Any] = {**_WEIGHTS, "pads": np.array(pads, np.int64)}
    if value is not None:
        weights["value"] = np.array(value, np.float32)
    return Example(_TEXT.format(mode=mode, value="" if value is None else ", value"), weights)


RULE = Rule(
    name="pad into conv",
    family="layer",
    swap="pad → conv ⇒ conv with pads",
    match=match,
    example=_example([0, 0, 0, 1, 0, 0, 1, 2]),
    refused={
        "it pads with 1": _example([0, 0, 1, 1, 0, 0, 1, 1], value=1.0),
        "reflect": _example([0, 0, 1, 1, 0, 0, 1, 1], mode='<mode = "reflect">'),
        "negative": _example([0, 0, -1, 1, 0, 0, 1, 1]),
    },
    simplifies=True,
)
