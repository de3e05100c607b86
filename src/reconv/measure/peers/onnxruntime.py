"""ONNX Runtime on the CPU: all optimisations, fixed sizes, its spinning thread pool; and plain, as an oracle.

It is given the model with the sizes of its inputs fixed, so that its optimiser knows every shape, and with weights that
the file lists as inputs as constants: as inputs they could change, which keeps it from folding and fusing.
"""

from __future__ import annotations

from typing import Any

from reconv.errors import ModelError
from reconv.graph import extract, load
from reconv.measure.peers.peer import Array, Arrays, Job, Runner


def _fixed(job: Job) -> bytes | str:
    """The model for the job's sizes; the file where it cannot be written again (2 GB, an output that is an input)."""
    graph = load(job.model)
    names = [info.name for info in graph.inputs]
    try:
        return extract(graph, names, [info.name for info in graph.outputs], job.shapes)
    except ModelError:
        return job.model


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
        self._session: Any = onnxruntime.InferenceSession(_fixed(job), options, providers=["CPUExecutionProvider"])
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
