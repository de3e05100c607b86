"""What a measurement of this process is worth elsewhere depends on: the CPU."""

from __future__ import annotations

import platform
from pathlib import Path

__all__ = ["cpu_model"]


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model name of the first CPU; what the platform module knows where there is no such file."""
    if cpuinfo.is_file():
        lines = [line.partition(":") for line in cpuinfo.read_text(encoding="utf-8").splitlines()]
        fields = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        if name := fields.get("model name"):
            numbers = [fields[key] for key in ("cpu family", "model", "stepping") if key in fields]
            return f"{name} ({'/'.join(numbers)})" if numbers else name
    return platform.processor() or platform.machine()
