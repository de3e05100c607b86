"""What compression asks of whoever may run models: the values inside a graph, sample by sample.

Nothing here keeps more than one sample's values: whoever wants something of many samples folds it up as they pass
(a sum, a histogram), so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from reconv.errors import InputError
from reconv.graph import Graph

__all__ = ["Array", "Feeds", "Forward", "values_of"]

Array: TypeAlias = np.ndarray[Any, Any]
Feeds: TypeAlias = Mapping[str, Array]
"""One sample: the model's inputs by name."""


class Forward(Protocol):
    """Runs a graph on samples; `reconv.optimize.values` has the one that goes through ONNX Runtime."""

    def __call__(self, graph: Graph, names: Sequence[str], samples: Iterable[Feeds]) -> Iterator[dict[str, Array]]:
        """For every sample the values of these names in the graph: of inputs, constants and results of any node.

        One session serves all samples, and one sample's values are in memory at a time.
        """


def values_of(
    forward: Forward, graph: Graph, names: Sequence[str], samples: Sequence[Feeds]
) -> Iterator[dict[str, Array]]:
    """The same, with the mistakes told that no runtime tells well.

    Raises:
        InputError: there are no samples, or one lacks an input of the graph.
    """
    if not len(samples):
        raise InputError("there are no samples: pass some inputs as the model will meet them (32 or more are usual)")
    wanted = [info.name for info in graph.inputs]
    for index, sample in enumerate(samples):
        if missing := [name for name in wanted if name not in sample]:
            raise InputError(
                f"sample {index} lacks the input {missing[0]!r}; the model's inputs are {', '.join(wanted)}"
            )
    yield from forward(graph, list(dict.fromkeys(names)), samples)
