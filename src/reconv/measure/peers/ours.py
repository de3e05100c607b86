"""reconv itself: dense, and as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconv.measure.peers.peer import Array, Arrays, Job, Runner

if TYPE_CHECKING:
    from reconv.engine.plain import DenseChoice


class _Dense:
    recomputed = 1.0

    def __init__(self, job: Job) -> None:
        from reconv.engine.model import load

        self._model = load(job.model, threads=job.threads)

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        return dict(self._model.run(inputs))

    def facts(self) -> dict[str, str | int]:
        return {"precision": "float32"}

    def close(self) -> None:
        pass


class _Stream:
    def __init__(self, job: Job, dense: DenseChoice = "reconv") -> None:
        from reconv.engine.model import load

        model = load(job.model, threads=job.threads)
        self._stream = model.stream(tolerance=job.tolerance, profile=job.profile, dense=dense)
        self.recomputed = 1.0

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        outputs = self._stream(inputs)
        self.recomputed = self._stream.last.recomputed
        return dict(outputs)

    def facts(self) -> dict[str, str | int]:
        return {"precision": "float32", "state_bytes": self._stream.state_bytes}

    def close(self) -> None:
        self._stream.close()


def open_dense(job: Job) -> Runner:
    return _Dense(job)


def open_stream(job: Job) -> Runner:
    return _Stream(job)


def open_stream_measured(job: Job) -> Runner:
    """A stream whose plain steps run on what is faster."""
    return _Stream(job, "measured")
