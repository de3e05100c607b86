"""The machine and the versions that a table was made with: printed with every figure, since ratios do not travel."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from reconv import _core
from reconv._version import __version__
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


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model name of the first CPU; what the platform module knows where there is no such file."""
    if cpuinfo.is_file():
        lines = [line.partition(":") for line in cpuinfo.read_text(encoding="utf-8").splitlines()]
        fields = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        if name := fields.get("model name"):
            numbers = [fields[key] for key in ("cpu family", "model", "stepping") if key in fields]
            return f"{name} ({'/'.join(numbers)})" if numbers else name
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"
