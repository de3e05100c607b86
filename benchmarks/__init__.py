"""The benchmarks, one file per suite. `python -m benchmarks` runs them and writes docs/benchmarks.md; see __main__."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import (
    agreement,
    audit,
    busy,
    byte_frames,
    caching,
    compression,
    coverage,
    dense,
    exchange,
    hard,
    int8,
    int8_streams,
    memory,
    optimize,
    orders,
    overhead,
    policies,
    quiet,
    recipes,
    shares,
    steady,
    sweeps,
    tune,
)
from benchmarks.options import Options

SUITES: Mapping[str, Callable[[Options], dict[str, Any]]] = {
    "coverage": coverage.run,
    "dense": dense.run,
    "busy": busy.run,
    "quiet": quiet.run,
    "shares": shares.run,
    "overhead": overhead.run,
    "hard": hard.run,
    "audit": audit.run,
    "steady": steady.run,
    "caching": caching.run,
    "policies": policies.run,
    "exchange": exchange.run,
    "orders": orders.run,
    "memory": memory.run,
    "int8": int8.run,
    "agreement": agreement.run,
    "compression": compression.run,
    "optimize": optimize.run,
    "int8_streams": int8_streams.run,
    "sweeps": sweeps.run,
    "tune": tune.run,
    "recipes": recipes.run,
    "byte_frames": byte_frames.run,
}
