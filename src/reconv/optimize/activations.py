"""Real values inside a model for one input: what proofs are given besides drawn ones.

They come from ONNX Runtime, a stretch of the model at a time: a proof asks for the values around one node, the next for
those a little further on, and a session costs more than the values that follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reconv.engine.tail import open_session
from reconv.errors import ReconvError
from reconv.exchange.view import View
from reconv.graph import extract, value_bytes

__all__ = ["Activations"]

Array = np.ndarray[Any, Any]
STRETCH_BYTES = 128 << 20  # of values that are computed ahead, and kept


class Activations:
    """Values for one frame (input name -> array); not for several threads."""

    def __init__(self, view: View, frame: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._view = view
        self._frame = dict(frame)
        self._shapes = shapes
        self._kept: dict[str, Array] = {}

    def __call__(self, view: View, names: Sequence[str]) -> dict[str, Array]:
        """The values of these names in the view's model, as far as they can be had."""
        wanted = [name for name in names if name not in self._frame]
        if any(name not in self._kept for name in wanted):
            self._kept = self._run(view, self._stretch(view, wanted)) or self._run(view, wanted)
        known = {**self._kept, **self._frame}
        return {name: known[name] for name in names if name in known}

    def completed(self) -> View:
        """The view with the sizes and types that shape inference did not find."""
        made = [name for node in self._view.graph.nodes for name in node.outputs if name]
        unknown = [name for name in made if None in self._view.sizes.get(name, (None,))]
        if not unknown:
            return self._view
        found = self._run(self._view, unknown)
        sizes = {name: tuple(array.shape) for name, array in found.items()}
        types = {name: array.dtype for name, array in found.items()}
        return replace(self._view, sizes={**self._view.sizes, **sizes}, types={**types, **self._view.types})

    @staticmethod
    def _stretch(view: View, wanted: Sequence[str]) -> list[str]:
        """The names, and those that come after the first of them as far as there is room."""
        made = [name for node in view.graph.nodes for name in node.outputs if name]
        first = min((made.index(name) for name in wanted if name in made), default=0)
        found = dict.fromkeys(wanted)
        room = STRETCH_BYTES
        for name in made[first:]:
            if name not in found:
                room -= value_bytes(name, view.sizes, view.types) or 0
                if room < 0:
                    break
                found[name] = None
        return list(found)

    def _run(self, view: View, names: Sequence[str]) -> dict[str, Array]:
        inputs = [info.name for info in view.graph.inputs]
        try:
            part = extract(view.graph, inputs, list(names), self._shapes, types=dict(view.types))
            values = open_session(part, 1).run(list(names), self._frame)
        except (ReconvError, RuntimeError, ValueError):
            return {}  # what cannot be run cannot be had: the proof goes on with drawn values
        except Exception as error:
            if type(error).__module__.startswith("onnxruntime"):  # its kinds are derived from Exception alone
                return {}
            raise
        return {n: np.asarray(v) for n, v in zip(names, values, strict=True) if isinstance(v, np.ndarray)}
