"""The names that a script for ONNX Runtime finds in its module, beside the session: ours, or onnxruntime's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxruntime

from reconv.session.binding import IOBinding
from reconv.session.options import CPU, PROVIDER

__all__ = ["NAMES", "look_up"]

THEIRS = (
    *("ExecutionMode", "ExecutionOrder", "GraphOptimizationLevel", "ModelMetadata", "NodeArg", "OrtAllocatorType"),
    *("OrtArenaCfg", "OrtDevice", "OrtMemType", "OrtMemoryInfo", "OrtSparseFormat", "OrtValue", "RunOptions"),
    *("SessionOptions", "SparseTensor", "capi", "create_and_register_allocator", "disable_telemetry_events"),
    *("enable_telemetry_events", "get_all_providers", "get_build_info", "get_ep_devices", "get_version_string"),
    *("has_collective_ops", "set_default_logger_severity", "set_default_logger_verbosity", "set_seed"),
)


def get_available_providers() -> list[str]:
    """What a session can be asked for."""
    return [PROVIDER, CPU]


def get_device() -> str:
    """What sessions run on."""
    return "CPU"


OURS: dict[str, Callable[..., Any]] = {
    "IOBinding": IOBinding,
    "get_available_providers": get_available_providers,
    "get_device": get_device,
}
NAMES = frozenset({*THEIRS, *OURS})


def look_up(name: str) -> Any:
    """What goes by one of `NAMES`; AttributeError where this version of ONNX Runtime has no such thing."""
    return OURS[name] if name in OURS else getattr(onnxruntime, name)
