"""OpenVINO on the CPU: latency hint, static shapes; in float32, and in its default precision.

The default is bfloat16 or float16 where the CPU computes faster in it; `facts` says which it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reconv.measure.peers.peer import Array, Arrays, Job, Runner


class _Compiled:
    recomputed = 1.0

    def __init__(self, job: Job, precision: str) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(job.model)
        model.reshape({name: openvino.PartialShape(list(shape)) for name, shape in job.shapes.items()})
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads}
        if precision:
            options["INFERENCE_PRECISION_HINT"] = precision
        self._compiled: Any = core.compile_model(model, "CPU", options)
        self._request: Any = self._compiled.create_infer_request()
        self._names = [output.get_any_name() for output in self._compiled.outputs]

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        # Inputs are shared, outputs are copied: the answer must outlive the next frame, as every peer's does.
        self._request.infer(dict(inputs), share_inputs=True)
        return {name: np.array(self._request.get_tensor(name).data) for name in self._names}

    def facts(self) -> dict[str, str | int]:
        kind = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        return {"precision": str(kind.to_string() if hasattr(kind, "to_string") else kind)}

    def close(self) -> None:
        del self._request, self._compiled


def open_f32(job: Job) -> Runner:
    return _Compiled(job, "f32")


def open_default(job: Job) -> Runner:
    return _Compiled(job, "")
