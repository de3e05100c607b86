"""How far outputs are from dense ones, as one number without a unit.

    error = sum |ours - dense| / sum |dense - mean(dense)|        of each output of floats; the mean over outputs

0 is equal. Of an output that is not of floats it is the share of unequal values; where shapes differ, or a number
stands against none, it is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["relative_error"]


def relative_error(ours: Mapping[str, Any], dense: Mapping[str, Any]) -> float:
    """The error of one frame's outputs (name -> array) beside the dense ones of the same names."""
    errors = [_error(np.asarray(ours[name]), np.asarray(right)) for name, right in dense.items()]
    return sum(errors) / max(len(errors), 1)


def _error(ours: np.ndarray[Any, Any], dense: np.ndarray[Any, Any]) -> float:
    if ours.shape != dense.shape:
        return 1.0
    if not dense.size:
        return 0.0
    if dense.dtype.kind != "f":
        return float(np.mean(ours != dense))
    with np.errstate(invalid="ignore"):  # of infinities, seen to below
        off = np.abs(np.subtract(ours, dense, dtype=np.float64))
    off[ours == dense] = 0.0  # equal infinities
    off[np.isnan(ours) & np.isnan(dense)] = 0.0
    if not np.isfinite(off).all():
        return 1.0
    total = float(off.sum())
    if total == 0:
        return 0.0
    finite = dense[np.isfinite(dense)].astype(np.float64)
    spread = float(np.abs(finite - finite.mean()).sum()) if finite.size else 0.0
    return total / spread if spread else 1.0
