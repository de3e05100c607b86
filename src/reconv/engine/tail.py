"""The tail: the part of a model that the native engine does not run, run by ONNX Runtime.

It is cut out of the model once the sizes are fixed, with everything known by then as constants, and it runs only when
one of its inputs moved; otherwise the outputs of last time are given again. Its threads park: a stream that waits for
its camera burns no core.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession  # now: programs are known to put ours in the place of onnxruntime's

from reconv.errors import ModelError, TailError, one_line
from reconv.graph import Graph, Part, draws_at_random, extract_any, reads
from reconv.graph.cost import multiply_adds
from reconv.graph.shapes import infer, refuse_absurd

__all__ = ["RUNTIME", "Tail", "TailMemory", "TailStep", "for_reading", "open_session", "same_bits"]

Array = np.ndarray[Any, Any]

RUNTIME = f"onnxruntime {onnxruntime.__version__}"


class Tail:
    """One part of a model for fixed sizes: no state, shared by all streams and threads."""

    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[str],
        stops: Mapping[str, tuple[int, ...]],
        values: Mapping[str, Array],
        threads: int,
    ) -> None:
        """Cut the part out.

        Args:
            graph: the whole model.
            outputs: the model's outputs that the tail computes.
            stops: values that are at hand (inputs and results of the engine) with their shapes.
            values: values that are constants now that the sizes are fixed.
            threads: of the ONNX Runtime session.
        """
        nodes, used = reads(graph, [*stops, *values], outputs)
        self.nodes = nodes
        self.inputs: tuple[str, ...] = tuple(name for name in used if name not in values)
        self.outputs = tuple(outputs)
        self.always = any(draws_at_random(node, graph) for node in nodes)
        embedded = {name: values[name] for name in used if name in values}
        free = {name: (None,) * len(shape) for name, shape in stops.items()}
        self._part = extract_any(graph, self.inputs, outputs, stops, embedded)
        self._extract_free = partial(extract_any, graph, self.inputs, outputs, free, embedded)
        self._threads = threads
        self._opening = threading.Lock()
        self._session: InferenceSession | None = None

    @cached_property
    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Shapes of the values in the part, as far as they can be inferred."""
        self._refuse_absurd()
        return infer(self._part.data)

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of one run, of the nodes whose sizes are known."""
        return sum(multiply_adds(node, self.shapes) or 0 for node in self.nodes)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        """The outputs for these values of all `inputs`.

        Raises:
            TailError: ONNX Runtime cannot load or run the part.
        """
        with self._opening:
            if self._session is None:
                self._session = self._open()
        try:
            found = self._session.run(list(self.outputs), {name: feeds[name] for name in self.inputs})
        except Exception as error:  # onnxruntime raises its own kinds, derived from Exception alone
            raise TailError(f"ONNX Runtime failed in the tail of the model: {one_line(error)}") from error
        return dict(zip(self.outputs, found, strict=True))

    def _refuse_absurd(self) -> None:
        try:
            refuse_absurd(self._part.data)
        except ModelError as error:
            raise TailError(f"ONNX Runtime cannot run the tail of the model: {error}") from error

    def _open(self) -> InferenceSession:
        self._refuse_absurd()
        try:
            return open_session(self._part, self._threads)
        except TailError:  # fixed sizes can make the branch of an If invalid that they never enter
            return open_session(self._extract_free(), self._threads)


@dataclass(frozen=True)
class TailStep:
    """Outputs of the tail in one step, the names of those that changed, and whether it ran."""

    outputs: dict[str, Any]
    changed: tuple[str, ...]
    ran: bool


class TailMemory:
    """What one stream keeps of a tail: its last outputs, and the model inputs that the tail reads directly."""

    def __init__(self, tail: Tail, may_keep: Callable[[int], bool] | None = None, *, share: bool = False) -> None:
        """`may_keep`: asked with their bytes before they are kept; if not, the next step runs the tail again. `share`:
        arrays among the outputs are for reading only, and one that did not change is that of last time."""
        self._share = share
        self._tail = tail
        self._may_keep = may_keep
        self._inputs: dict[str, Array] = {}
        self._outputs: dict[str, Any] | None = None

    @property
    def bytes(self) -> int:
        """Bytes held now."""
        return _bytes([*self._inputs.values(), *self.outputs.values()])

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The last outputs, as far as they are kept."""
        return self._outputs or {}

    def forget(self) -> None:
        """The next step runs the tail, whatever moved."""
        self._inputs, self._outputs = {}, None

    def step(self, feeds: Mapping[str, Array], direct: Sequence[str], moved: bool) -> TailStep:
        """The outputs, copied unless they are shared, from a run if it must be.

        Args:
            feeds: values of the tail's inputs.
            direct: those of them that are inputs of the model: they are compared with last time's here.
            moved: whether one of the others moved.
        """
        last = self._outputs
        moved |= any(name not in self._inputs or not same_bits(feeds[name], self._inputs[name]) for name in direct)
        if last is not None and not moved and not self._tail.always:
            return TailStep(self._copied(last), (), False)
        self.forget()  # if the run fails, the next step must not take the old outputs for good
        outputs = self._tail.run(feeds)
        changed = tuple(n for n, value in outputs.items() if last is None or not same_bits(value, last[n]))
        if self._share:
            same = {} if last is None else {name: last[name] for name in outputs if name not in changed}
            outputs = {name: for_reading(same.get(name, value)) for name, value in outputs.items()}
        if self._may_keep is None or self._may_keep(_bytes([*(feeds[name] for name in direct), *outputs.values()])):
            self._inputs = {name: np.array(feeds[name]) for name in direct}
            self._outputs = self._copied(outputs)
        return TailStep(outputs, changed, True)

    def _copied(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """But for arrays that are for reading only. Sequences and maps are always copied."""
        shared = self._share
        return {n: v if shared and isinstance(v, np.ndarray) else copy.deepcopy(v) for n, v in outputs.items()}


def _bytes(values: Sequence[Any]) -> int:
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


def for_reading(value: Any) -> Any:
    """An array as one that nobody can write to through it: itself, if it is that already. Any other value as it is."""
    if not isinstance(value, np.ndarray) or not value.flags.writeable:
        return value
    value.flags.writeable = False
    return value.view()  # an owner of its memory could be made writeable again


def same_bits(a: Any, b: Any) -> bool:
    """Whether two values are the same array bit for bit (so -0.0 is not 0.0). Of other values, never."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype == object:
        return bool(np.array_equal(a, b))
    return bool(np.array_equal(np.ascontiguousarray(a).view(np.uint8), np.ascontiguousarray(b).view(np.uint8)))


def open_session(part: Part | bytes, threads: int) -> InferenceSession:
    """A session whose threads park, and that logs nothing. It shares the weights that come beside a part.

    Raises:
        TailError: ONNX Runtime does not accept the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4
    part = Part(part, {}) if isinstance(part, bytes) else part
    try:
        if part.outside:
            beside = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in part.outside.values()]
            options.add_external_initializers(list(part.outside), beside)
        return InferenceSession(part.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own kinds, derived from Exception alone
        raise TailError(f"ONNX Runtime does not accept the tail of the model: {one_line(error)}") from error
