"""Constant codes behind a DequantizeLinear, trained as the floats that they stand for.

Floats to begin with (`meant`), rounded to the grid of the codes on the way (`faked`), and back to codes at the end
(`coded`). A bias of 32 bits is not rounded in training: its grid is finer than any step of a weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from reconv.compress.train import fake
from reconv.compress.train.call import Array, Call
from reconv.compress.train.weights import Codes
from reconv.graph import Graph

__all__ = ["LEAST_SCALE", "coded", "faked", "meant"]

LEAST_SCALE = 1e-8  # a scale that learns stays above it


def meant(graph: Graph, name: str, codes: Codes) -> Array:
    """The floats that a constant's codes stand for."""
    array = torch.tensor(graph.constants[name].astype(np.float64))
    parts = [torch.tensor(graph.constants[part].astype(np.float64)) for part in (codes.scale, codes.zero) if part]
    scale, *zero = (fake.along(part, array.ndim, codes.axis) for part in parts)
    return ((array - (zero[0] if zero else 0)) * scale).float().numpy()


def faked(call: Call, dtype: np.dtype[np.generic]) -> torch.Tensor:
    """What a DequantizeLinear gives whose first input is trained as floats, for codes of this type."""
    limits = fake.code_range(dtype)
    if limits is None:
        raise call.unknown(f"codes of type {dtype}")
    if dtype == np.int32:
        return call.x
    axis, zero = int(call.get("axis", 1)), call.array(2)
    scale = fake.along(call.tensor(1), call.x.ndim, axis)
    offset = torch.zeros(())
    if zero is not None:
        offset = fake.along(torch.tensor(zero.astype(np.float32)), call.x.ndim, axis)
    return ((fake.rounded(call.x / scale) + offset).clamp(*limits) - offset) * scale


def coded(graph: Graph, name: str, codes: Codes, weight: torch.Tensor, made: Mapping[str, Array]) -> dict[str, Array]:
    """The codes of a trained weight, and for a bias its scale where the scales that it is the product of have moved.

    made: the constants that have been trained, by name.
    """
    constants = graph.constants
    old = constants[name]
    found: dict[str, Array] = {}
    scale = made.get(codes.scale, constants[codes.scale])
    if codes.parts and any(part in made for part in codes.parts):
        x, by = (made.get(part, constants[part]) for part in codes.parts)
        scale = found[codes.scale] = np.asarray(x * by, np.float32).reshape(scale.shape)
    zero = constants[codes.zero] if codes.zero else np.zeros((), old.dtype)
    low, high = fake.code_range(old.dtype) or (0, 0)
    along = fake.along(torch.tensor(scale), old.ndim, codes.axis)
    offset = fake.along(torch.tensor(zero.astype(np.float64)), old.ndim, codes.axis)
    exact = (weight / along).round().double() + offset
    found[name] = exact.clamp(low, high).contiguous().numpy().astype(old.dtype)
    return found
