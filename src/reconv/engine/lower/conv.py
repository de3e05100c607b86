"""Conv and ConvTranspose with constant weights.

https://onnx.ai/onnx/operators/onnx__Conv.html, https://onnx.ai/onnx/operators/onnx__ConvTranspose.html.
1-D is 2-D of height 1; 3-D is not lowered.
"""

from __future__ import annotations

import numpy as np

from reconv.engine.lower import draft as d
from reconv.engine.lower.builder import Array, Builder, Result, UnsupportedError, ints, lookup
from reconv.engine.lower.quantized import grid_of
from reconv.engine.lower.windows import bounded, pair, window
from reconv.graph import Node

__all__ = ["conv", "conv_transpose"]


def conv(b: Builder, node: Node) -> list[Result]:
    x = b.spatial(b.value(node, 0))
    weight, bias = _weights(b, node, x.rank)
    groups = int(node.attributes.get("group", 1))
    height, width, channels = x.geometry
    if weight.shape[1] * groups != channels:
        raise UnsupportedError(f"weights for {weight.shape[1] * groups} channels over a map of {channels}")
    if groups < 1 or weight.shape[0] % groups:
        raise UnsupportedError(f"{weight.shape[0]} outputs in {groups} groups")
    _check_bias(bias, weight.shape[0])
    kernel = (weight.shape[2], weight.shape[3])
    given = ints(node.attributes.get("kernel_shape", kernel[4 - x.rank :]))
    if given != kernel[4 - x.rank :]:
        raise UnsupportedError(f"a kernel_shape {given} over weights {weight.shape}")
    w = window(node, (height, width), kernel, x.rank)
    rows, columns = (n + max(p, 0) + max(q, 0) for n, p, q in zip((height, width), w.pads, w.pads_end, strict=True))
    b.fits((rows, columns, channels))
    out = b.new((*w.out, weight.shape[0]))
    op = d.Conv(
        x=x.map,
        out=out,
        weight=weight,
        bias=bias,
        strides=w.strides,
        pads=w.pads,
        dilations=w.dilations,
        groups=groups,
        grid=grid_of(b, node, 0, weight.shape[0]),
    )
    return [b.unspatial(b.add(op), x.rank)]


def conv_transpose(b: Builder, node: Node) -> list[Result]:
    x = b.spatial(b.value(node, 0))
    weight, bias = _weights(b, node, x.rank)
    attributes, rank = node.attributes, x.rank
    groups = int(attributes.get("group", 1))
    size, kernel = x.geometry[:2], (weight.shape[2], weight.shape[3])
    ones, zeros = (1,) * (rank - 2), (0,) * (rank - 2)
    strides = pair(ints(attributes.get("strides", ones)), rank, 1)
    dilations = pair(ints(attributes.get("dilations", ones)), rank, 1)
    extra = pair(ints(attributes.get("output_padding", zeros)), rank, 0)
    full = [
        (n - 1) * s + dil * (k - 1) + 1 + e
        for n, s, dil, k, e in zip(size, strides, dilations, kernel, extra, strict=True)
    ]
    auto = lookup(attributes, "auto_pad", "NOTSET") or "NOTSET"
    wanted = attributes.get("output_shape")
    if wanted is not None or auto in ("SAME_UPPER", "SAME_LOWER"):
        if wanted is not None:
            sizes = ints(wanted)[-(rank - 2) :]
            out = pair(sizes, rank, 1)
        else:
            out = (size[0] * strides[0], size[1] * strides[1])
        total = [max(f - o, 0) for f, o in zip(full, out, strict=True)]
        # with SAME_UPPER the odd pixel of padding is at the end, otherwise at the beginning
        begin = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
    else:
        flat = ints(attributes.get("pads", zeros + zeros)) if auto == "NOTSET" else zeros + zeros
        begin = list(pair(flat[: rank - 2], rank, 0))
        end = pair(flat[rank - 2 :], rank, 0)
        out = (full[0] - begin[0] - end[0], full[1] - begin[1] - end[1])
    if weight.shape[0] != x.geometry.channels:
        raise UnsupportedError(f"weights for {weight.shape[0]} channels over a map of {x.geometry.channels}")
    if groups < 1 or weight.shape[0] % groups or min(*strides, *dilations) < 1:
        raise UnsupportedError(f"{groups} groups, strides {strides}, dilations {dilations}")
    bounded(strides, dilations, extra, begin, kernel)
    _check_bias(bias, weight.shape[1] * groups)
    op = d.Transposed(
        x=x.map,
        out=b.new((*out, weight.shape[1] * groups)),
        weight=weight,
        bias=bias,
        strides=strides,
        pads=(begin[0], begin[1]),
        dilations=dilations,
        groups=groups,
        grid=grid_of(b, node, 1, weight.shape[1] * groups, groups=groups),
    )
    return [b.unspatial(b.add(op), rank)]


def _weights(b: Builder, node: Node, rank: int) -> tuple[Array, Array | None]:
    """Weight (out, in, kh, kw) and bias of a node, float32."""
    weight, bias = b.constant(node, 1), b.optional(node, 2)
    if weight.dtype != np.float32:
        raise UnsupportedError(f"weights of type {weight.dtype}, expected float32")
    if weight.ndim != rank:
        raise UnsupportedError(f"weights of rank {weight.ndim} for a tensor of rank {rank}")
    if rank == 3:
        weight = weight[:, :, None, :]
    return np.ascontiguousarray(weight), None if bias is None else np.ascontiguousarray(bias, np.float32)


def _check_bias(bias: Array | None, outputs: int) -> None:
    if bias is not None and bias.shape != (outputs,):
        raise UnsupportedError(f"a bias {bias.shape} for {outputs} outputs")
