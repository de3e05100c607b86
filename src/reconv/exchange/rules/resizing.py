"""How rules read and write Resize and Upsample: resizings of space that treat all channels alike.

Every interpolation of ONNX's operator page (nearest, linear, cubic, with and without antialias or exclude_outside)
takes each output pixel as a sum of input pixels with weights that sum to 1, borders included, since what lies outside
is clamped or its weight is shared out. The one exception, ``tf_crop_and_resize``, puts a fixed value outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from reconv.exchange.rule import Refusal
from reconv.exchange.rules.draft import Draft, attribute, is_op
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["Resizing", "read_resizing", "whole_factors"]

Array = np.ndarray[Any, Any]
RESIZE_SAYS_HOW = 11  # opset from which Resize names its coordinates and rounding; before, floor(u / s)
ROI_AS_INPUT = 11  # opset from which Resize reads (x, roi, scales, sizes); before, (x, scales)


@dataclass(frozen=True, eq=False)
class Resizing:
    """A Resize or Upsample that leaves channels alone.

    scales: of the spatial axes, where they are known; at: the position of the channels' entry in its sizes, None where
    its sizes do not speak of channels; sizes: the name of the input with the sizes, ``""`` when it works by scales;
    keeps_batch: whether it surely leaves axis 0 as it is.
    """

    node: Node
    mode: str
    channels: int
    scales: tuple[float, ...] | None
    sizes: str
    at: int | None
    keeps_batch: bool = True

    @property
    def x(self) -> str:
        return self.node.inputs[0]

    @property
    def y(self) -> str:
        return self.node.outputs[0]

    @property
    def nearest(self) -> bool:
        return self.mode == "nearest"

    @property
    def growth(self) -> float | None:
        """Pixels that come out for each that goes in, as far as that is known."""
        return None if self.scales is None else prod(self.scales)

    def sized_by(self, view: View) -> tuple[Node, ...]:
        """The nodes that compute its sizes, back to Shape: a rewrite names them, so that its proof has real sizes."""
        found: set[str] = set()
        pending = [self.sizes] if self.sizes else []
        while pending:
            node = view.producer(pending.pop())
            if node is None or node.name in found:
                continue
            found.add(node.name)
            if not is_op(node, "Shape", "Size"):
                pending.extend(node.reads)
        return tuple(node for node in view.graph.nodes if node.name in found)

    def write(self, draft: Draft, x: str, y: str, channels: int) -> str:
        """The same resizing of another map, with that many channels."""
        inputs = [x, *self.node.inputs[1:]]
        if self.sizes and self.at is not None and channels != self.channels:
            inputs[-1] = self._sizes(draft, y, channels)
        return draft.copy(self.node, inputs, y)

    def _sizes(self, draft: Draft, y: str, channels: int) -> str:
        entry = np.array([channels], np.int64)
        known = draft.view.constant(self.sizes)
        at = self.at or 0
        if known is not None:
            return draft.constant(f"{y}/sizes", np.concatenate([known[:at], entry, known[at + 1 :]]).astype(np.int64))
        parts = [draft.constant(f"{y}/channels", entry)]
        ends = draft.constant(f"{y}/ends", np.array([np.iinfo(np.int64).max], np.int64))
        bounds = [draft.constant(f"{y}/bound", np.array([n], np.int64)) for n in (0, at, at + 1)]
        if at:
            name = draft.view.fresh(f"{y}/sizes_before")
            parts.insert(0, draft.node("Slice", (self.sizes, bounds[0], bounds[1]), name))
        parts.append(draft.node("Slice", (self.sizes, bounds[2], ends), draft.view.fresh(f"{y}/sizes_after")))
        return draft.node("Concat", parts, draft.view.fresh(f"{y}/sizes"), axis=0)


def read_resizing(view: View, node: Node | None, channels: int | None = None) -> Resizing | Refusal | None:
    """What a node is as a resizing; None when it is none, a refusal when it is not one that leaves channels alone.

    Args:
        channels: of its result, where the reader of it tells.
    """
    if node is None or not is_op(node, "Resize", "Upsample"):
        return None
    mode = attribute(node, "mode", "nearest")
    if attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return Refusal("tf_crop_and_resize puts a fixed value outside of the map: its weights do not sum to 1")
    if attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return Refusal("the resizing keeps an aspect ratio, which depends on the sizes")
    if not view.is_float(node.inputs[0]):
        return Refusal("it resizes another type than float32; rules are proved for float32")
    before = view.shape(node.inputs[0])
    if before is None or len(before) < 3 or before[1] is None:
        return Refusal("the number of channels that it resizes is not known")
    after = view.shape(node.outputs[0])
    made = channels if channels is not None else (after[1] if after is not None else None)
    axes = [axis % len(before) for axis in attribute(node, "axes", range(len(before)))]
    at = axes.index(1) if 1 in axes else None
    by_input = node.op_type == "Resize" and view.opset >= ROI_AS_INPUT
    inputs = (*node.inputs, "", "", "")
    scales_name, sizes_name = (inputs[2], inputs[3]) if by_input else (inputs[1], "")
    values = view.constant(scales_name)
    if scales_name and values is None:
        return Refusal("its scales are computed while the model runs")
    space = range(2, len(before))
    if values is not None and values.size:
        if at is not None and float(values[at]) != 1.0:
            return Refusal("it resizes channels too")
        each = {axis: float(scale) for axis, scale in zip(axes, values, strict=True)}
        scales = tuple(each.get(axis, 1.0) for axis in space)
        return Resizing(node, mode, before[1], scales, "", at, each.get(0, 1.0) == 1.0)
    known = view.constant(sizes_name)
    made = int(known[at]) if known is not None and at is not None else made if at is not None else before[1]
    if made != before[1]:
        return Refusal("it resizes channels too, or may")
    if known is None:
        return Resizing(node, mode, before[1], None, sizes_name, at, 0 not in axes)
    goal = {axis: int(size) for axis, size in zip(axes, known, strict=True)}
    pairs = [(before[axis], goal.get(axis, before[axis])) for axis in space]
    ratios = [new / old if old and new is not None else 1.0 if new is old else None for old, new in pairs]
    whole = None if None in ratios else tuple(float(r) for r in ratios if r is not None)
    return Resizing(node, mode, before[1], whole, sizes_name, at, goal.get(0, before[0]) == before[0])


def whole_factors(view: View, resizing: Resizing) -> tuple[int, ...] | None:
    """How often a nearest upsampling repeats each pixel, by axis of space; None where it does something else."""
    scales = resizing.scales
    if not resizing.nearest or not resizing.keeps_batch or scales is None:
        return None
    if any(s < 1 or s != round(s) for s in scales) or set(scales) == {1.0}:
        return None
    node = resizing.node
    if view.opset >= RESIZE_SAYS_HOW:
        how = attribute(node, "coordinate_transformation_mode", "half_pixel")
        rounding = attribute(node, "nearest_mode", "round_prefer_floor")
        floors = how == "asymmetric" and rounding == "floor"
        centres = how in ("half_pixel", "half_pixel_symmetric") and rounding.startswith("round")
        if not floors and not centres:
            return None
    return tuple(round(s) for s in scales)
