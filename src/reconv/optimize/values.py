"""Values inside a graph for many samples, by ONNX Runtime: what `reconv.compress` is handed to run models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reconv.compress.forward import Array, Feeds
from reconv.engine.tail import open_session
from reconv.errors import InputError, one_line
from reconv.graph import Graph, extract, reads

__all__ = ["RuntimeForward"]


@dataclass(frozen=True)
class RuntimeForward:
    """A `reconv.compress.forward.Forward` on so many threads of ONNX Runtime, which park."""

    threads: int = 1

    def __call__(self, graph: Graph, names: Sequence[str], samples: Iterable[Feeds]) -> Iterator[dict[str, Array]]:
        """As `Forward` says. The graph is cut down to what the names need; samples may differ in free sizes.

        Raises:
            InputError: a sample does not fit the model.
            ModelError: a name is not a value of the graph.
            TailError: ONNX Runtime does not accept the graph.
        """
        inputs = {info.name for info in graph.inputs}
        wanted = [name for name in dict.fromkeys(names) if name not in inputs and name not in graph.constants]
        session = None
        needed: list[str] = []
        if wanted:
            needed = list(reads(graph, [info.name for info in graph.inputs], wanted)[1])
            session = open_session(extract(graph, needed, wanted, {}), self.threads)
        for sample in samples:
            values: dict[str, Array] = {}
            if session is not None:
                try:
                    found = session.run(wanted, {name: sample[name] for name in needed})
                except Exception as error:  # onnxruntime raises its own kinds, derived from Exception alone
                    raise InputError(f"a sample does not fit the model: {one_line(error)}") from error
                values = {name: np.asarray(value) for name, value in zip(wanted, found, strict=True)}
            for name in names:
                if name not in values:
                    values[name] = np.asarray(sample[name] if name in inputs else graph.constants[name])
            yield values
