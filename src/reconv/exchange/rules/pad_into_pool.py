"""Padding done by the pooling that reads it.

    averagepool(pad(x, q), p) = averagepool(x, p + q, count_include_pad)      padded with 0
    maxpool(pad(x, q), p) = maxpool(x, p + q)                                 padded with −∞, or with 0 where x ≥ 0

An average pooling counts a Pad's zeros like any pixel; its own padding counts only with ``count_include_pad``, so that
two paddings of both kinds cannot be one. A max pooling never takes its own padding: it is −∞. Zeros are as good as
that where x is not negative, for what follows a Relu, if every window holds a pixel of x. Pooling with ceil_mode is
left alone: its last window may lie in the padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules.draft import attribute, is_op, needed_beside
from reconv.exchange.rules.padding import read_pad
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite

__all__ = ["RULE"]


def match(view: View, node: Node) -> Answer:
    if not is_op(node, "AveragePool", "MaxPool"):
        return None
    padding = read_pad(view, view.producer(node.inputs[0]))
    if padding is None or isinstance(padding, Refusal):
        return padding
    get = node.attributes.get
    kernel = tuple(get("kernel_shape", ()))
    auto = attribute(node, "auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID"):
        return Refusal("auto_pad of the pooling depends on the padded size")
    if get("ceil_mode", 0):
        return Refusal("ceil_mode: the last window may lie in the padding")
    if len([name for name in node.outputs if name]) > 1:
        return Refusal("the pooling also tells where its values were, counted with the padding")
    own = (0,) * 2 * len(kernel) if auto == "VALID" else tuple(get("pads", (0,) * 2 * len(kernel)))
    pads = padding.spatial(len(kernel))
    if isinstance(pads, Refusal):
        return pads
    total = tuple(a + b for a, b in zip(pads, own, strict=True))
    if any(amount >= size for amount, size in zip(total, (*kernel, *kernel), strict=True)):
        return Refusal("pads as wide as the window, which no pooling takes")
    attributes = {k: v for k, v in node.attributes.items() if k != "auto_pad"} | {"pads": total}
    if node.op_type == "AveragePool":
        if padding.value != 0:
            return Refusal(f"it pads with {padding.value:g}; an average pooling pads with zeros")
        if any(own) and not get("count_include_pad", 0):
            return Refusal("the pooling does not count its own padding, and would have to count this one")
        attributes["count_include_pad"] = 1
    elif padding.value == 0 and any(step != 1 for step in get("dilations", ())):
        return Refusal("a dilated window may hold nothing but padding")
    elif not (padding.value == -np.inf or (padding.value == 0 and _not_negative(view, padding.x))):
        return Refusal(f"it pads with {padding.value:g}; a max pooling pads with −∞")
    pool = view.node(node.op_type, (padding.x,), node.outputs[0], **attributes)
    kept = (padding.node,) if needed_beside(view, padding.node.outputs[0], node) else ()
    above = view.producer(padding.x) if node.op_type == "MaxPool" and padding.value == 0 else None
    proof = () if above is None else (above,)  # what makes x not negative has to be seen by the proof
    return Rewrite((*proof, padding.node, node), (*proof, *kept, pool))


def _not_negative(view: View, name: str) -> bool:
    return is_op(view.producer(name), "Relu", "Sigmoid", "HardSigmoid")


def _example(pads: list[int], pool: str, value: float, before: str = "Identity") -> Example:
    weights: dict[str, Any] = {"pads": np.array(pads, np.int64), "value": np.array(value, np.float32)}
    text = f"""g (float[1, 3, 8, 7] x) => (float[1, 3, h, w] y) {{
        r = {before} (x)
        p = Pad (r, pads, value)
        y = {pool} (p)
    }}"""
    return Example(text, weights)


_ALL = [0, 0, 1, 1, 0, 0, 1, 1]

RULE = Rule(
    name="pad into pool",
    family="layer",
    swap="pad → pool ⇒ pool with pads",
    match=match,
    example=_example(_ALL, "MaxPool <kernel_shape = [3, 3], strides = [2, 2]>", 0.0, "Relu"),
    refused={
        "pads with 0; a max pooling": _example(_ALL, "MaxPool <kernel_shape = [3, 3]>", 0.0),
        "does not count its own": _example(_ALL, "AveragePool <kernel_shape = [3, 3], pads = [0, 1, 0, 1]>", 0.0),
        "as wide as the window": _example([0, 0, 2, 0, 0, 0, 0, 0], "AveragePool <kernel_shape = [2, 2]>", 0.0),
        "ceil_mode": _example(_ALL, "AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>", 0.0),
    },
    simplifies=True,
)
