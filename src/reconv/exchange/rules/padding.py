"""How rules read a Pad: its amounts, as an attribute before opset 11 and as a constant input since then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reconv.exchange.rule import Refusal
from reconv.exchange.rules.draft import attribute, is_op
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["Padding", "read_pad"]


@dataclass(frozen=True)
class Padding:
    """A Pad in constant mode. ``pads`` by axis as (begin, end), axes counted from 0; the rest is not padded."""

    node: Node
    pads: dict[int, tuple[int, int]]
    value: float

    @property
    def x(self) -> str:
        return self.node.inputs[0]

    def spatial(self, space: int) -> tuple[int, ...] | Refusal:
        """Pads of the last ``space`` axes of a map (batch, channels, space...), all begins before all ends."""
        if any(amounts != (0, 0) for axis, amounts in self.pads.items() if axis < 2):
            return Refusal("it pads the batch or the channels")
        found = [self.pads.get(axis, (0, 0)) for axis in range(2, 2 + space)]
        if any(amount < 0 for pair in found for amount in pair):
            return Refusal("negative pads cut the map")
        return (*(begin for begin, _ in found), *(end for _, end in found))


def read_pad(view: View, node: Node | None) -> Padding | Refusal | None:
    """What a node is as a Pad; None when it is none, a refusal when it cannot be read as one in constant mode."""
    if node is None or not is_op(node, "Pad"):
        return None
    if (mode := attribute(node, "mode", "constant")) != "constant":
        return Refusal(f"it pads in mode {mode}")
    if not view.is_float(node.inputs[0]):
        return Refusal("what it pads is not known to be float32, which rules are proved for")
    if view.opset < 11:
        amounts = np.asarray(node.attributes.get("pads", ()), np.int64)
        value, axes = float(node.attributes.get("value", 0.0)), None
    else:
        names = (*node.inputs, "", "", "")[:4]
        given = [view.constant(name) for name in names[1:]]
        if any(name and array is None for name, array in zip(names[1:], given, strict=True)) or given[0] is None:
            return Refusal("its pads are computed while the model runs")
        amounts = given[0].reshape(-1)
        value = 0.0 if given[1] is None else float(given[1].reshape(-1)[0])
        axes = given[2]
    count = len(amounts) // 2
    shape = view.shape(node.inputs[0])
    if axes is not None and shape is None:
        return Refusal("the rank of what it pads is unknown")
    places = range(count) if axes is None else [int(axis) % len(shape or ()) for axis in axes.reshape(-1)]
    pads = {axis: (int(amounts[i]), int(amounts[count + i])) for i, axis in enumerate(places)}
    return Padding(node, pads, value)
