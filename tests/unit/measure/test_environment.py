"""The machine is described, also where /proc is not there."""

from __future__ import annotations

from pathlib import Path

from reconv.engine.machine import cpu_model
from reconv.measure import environment


def test_environment_names_cpu_and_versions() -> None:
    facts = environment()
    assert facts["cpu"]
    assert int(facts["cpus"]) >= 1
    assert facts["instruction_set"] in ("amx", "v4vnni", "v4", "v3vnni", "v3", "baseline")
    assert facts["onnxruntime"] != "-"


def test_cpu_model_is_that_of_the_first_cpu(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model\t: 5\nmodel name\t: One 3000\nstepping: 1\n\nmodel\t: 6\nmodel name\t: Two\n")
    assert cpu_model(info) == "One 3000 (5/1)"
    assert cpu_model(tmp_path / "nowhere")
