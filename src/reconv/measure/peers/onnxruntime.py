"""ONNX Runtime on the CPU: all optimisations, fixed sizes, its spinning thread pool; and plain, as an oracle.

Symbolic dimensions are fixed before the session is made: its optimiser then knows every shape.
"""

from __future__ import annotations

from typing import Any

from reconv.graph import load
from reconv.measure.peers.peer import Array, Arrays, Job, Runner


class _Session:
    recomputed = 1.0

    def __init__(self, job: Job, optimised: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
        for info in load(job.model).inputs:
            for dim, size in zip(info.shape, job.shapes[info.name], strict=True):
                if isinstance(dim, str):
                    options.add_free_dimension_override_by_name(dim, size)
        self._session: Any = onnxruntime.InferenceSession(job.model, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        return dict(zip(self._names, self._session.run(None, dict(inputs)), strict=True))

    def facts(self) -> dict[str, str | int]:
        return {"precision": "float32"}

    def close(self) -> None:
        del self._session


def open_optimised(job: Job) -> Runner:
    return _Session(job, optimised=True)


def open_plain(job: Job) -> Runner:
    return _Session(job, optimised=False)
