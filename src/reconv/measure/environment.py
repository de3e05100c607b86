"""The machine and the versions that a table was made with: printed with every figure, since ratios do not travel."""

from __future__ import annotations

import importlib.metadata
import platform

from reconv import _core
from reconv._version import __version__
from reconv.engine.machine import cpu_model
from reconv.measure.protocol import allowed_threads

LIBRARIES = ("numpy", "onnxruntime", "openvino", "opencv-python-headless")


def environment() -> dict[str, str | int]:
    """CPU model, CPUs that may be used, instruction set of our kernels, system, versions ("-": not installed)."""
    return {
        "cpu": cpu_model(),
        "cpus": allowed_threads(),
        "instruction_set": _core.default_isa(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "reconv": __version__,
        **{name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"
