"""Inputs and outputs bound to memory: ``session.io_binding()``, as ONNX Runtime has it, on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnxruntime

from reconv.graph import element_type
from reconv.session.errors import BindingError

__all__ = ["IOBinding", "check_device", "ort_value", "vector_of"]

Array = np.ndarray[Any, Any]


class IOBinding:
    """What a run reads and where it writes. Memory that is bound must stay until the run is over."""

    def __init__(self, outputs: Sequence[str]) -> None:
        """`outputs`: names of the model's."""
        self._known = tuple(outputs)
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}  # an array, an OrtValue, or None where the run makes one
        self._results: dict[str, Any] = {}

    # --- inputs ---

    def bind_cpu_input(self, name: str, arr_on_cpu: Array) -> None:
        """An array; what it holds when the model runs counts."""
        self._inputs[name] = arr_on_cpu

    def bind_input(  # noqa: PLR0917 - ONNX Runtime's signature
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        """Memory by its address.

        Raises:
            InputError: the device is another one than the CPU.
        """
        self._inputs[name] = _memory(device_type, device_id, element_type, shape, buffer_ptr)

    def bind_ortvalue_input(self, name: str, ortvalue: Any) -> None:
        """An ``OrtValue``."""
        self._inputs[name] = ortvalue

    def clear_binding_inputs(self) -> None:
        """Forget all inputs."""
        self._inputs = {}

    def synchronize_inputs(self) -> None:
        """Without effect: there is one device."""

    # --- outputs ---

    def bind_output(  # noqa: PLR0917
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """An output to be given: in new memory, or in memory by its address.

        Raises:
            InputError: no output has that name, the device is another one than the CPU, or memory comes without its
                type and shape.
        """
        self._check(name)
        if buffer_ptr is None:
            check_device(device_type, device_id)
            self._outputs[name] = None
            return
        if element_type is None or shape is None:
            raise BindingError(f"output {name!r} is bound to memory: element_type and shape have to be given too")
        self._outputs[name] = _memory(device_type, device_id, element_type, shape, buffer_ptr)

    def bind_ortvalue_output(self, name: str, ortvalue: Any) -> None:
        """An output to be written into an ``OrtValue``. Raises InputError: no output has that name."""
        self._check(name)
        self._outputs[name] = ortvalue

    def clear_binding_outputs(self) -> None:
        """Forget all outputs."""
        self._outputs, self._results = {}, {}

    def synchronize_outputs(self) -> None:
        """Without effect: there is one device."""

    def get_outputs(self) -> list[Any]:
        """The bound outputs of the last run, each an ``OrtValue``, in the order in which they were bound."""
        return [
            self._outputs[name] if isinstance(self._outputs[name], onnxruntime.OrtValue) else ort_value(name, value)
            for name, value in self._results.items()
        ]

    def get_outputs_as_ortvaluevector(self) -> Any:
        """As `get_outputs`, in ONNX Runtime's own list of values."""
        return vector_of(self.get_outputs())

    def copy_outputs_to_cpu(self) -> list[Any]:
        """The bound outputs of the last run as arrays of the caller's."""
        return [np.array(value) if isinstance(value, np.ndarray) else value for value in self._results.values()]

    # --- for the session ---

    @property
    def output_names(self) -> list[str]:
        """Names of what is bound. Raises InputError when nothing is: nobody would see the results."""
        if not self._outputs:
            raise BindingError("no output is bound; bind one with bind_output(name)")
        return list(self._outputs)

    def feed(self) -> dict[str, Any]:
        """Name -> value of the inputs."""
        return dict(self._inputs)

    def give(self, names: Sequence[str], values: Sequence[Any]) -> None:
        """Put results where they belong. Raises InputError: one does not fit its memory."""
        for name, value in zip(names, values, strict=True):
            place = self._outputs[name]
            if place is None:
                continue
            whole = place if isinstance(place, np.ndarray) else place.numpy()
            if (whole.shape, whole.dtype) != (value.shape, value.dtype):
                bound = f"memory for {whole.dtype} {whole.shape}"
                raise BindingError(f"output {name!r} is {value.dtype} {value.shape}, bound to {bound}")
            if isinstance(place, np.ndarray):
                np.copyto(place, value)
            else:
                place.update_inplace(np.ascontiguousarray(value))
        self._results = dict(zip(names, values, strict=True))

    def _check(self, name: str) -> None:
        if name not in self._known:
            raise BindingError(f"the model has no output {name!r}; its outputs are {', '.join(self._known)}")


def ort_value(name: str, value: Any) -> Any:
    """A value of output `name` as an ``OrtValue`` that owns its memory: scripts keep arrays that only look into it.

    Raises:
        InputError: it is no tensor of numbers.
    """
    if not isinstance(value, np.ndarray) or value.dtype.hasobject:
        raise BindingError(f"output {name!r} is no tensor of numbers and cannot be an OrtValue; use run")
    made = onnxruntime.OrtValue.ortvalue_from_shape_and_type(value.shape, value.dtype.type, "cpu", 0)
    made.update_inplace(np.ascontiguousarray(value))
    return made


def vector_of(values: Sequence[Any], into: Any = None) -> Any:
    """``OrtValue``s at the end of an ``OrtValueVector``, of a new one by default; they share their memory with it."""
    vector = onnxruntime.capi.onnxruntime_pybind11_state.OrtValueVector() if into is None else into
    for value in values:
        vector.push_back(value._get_c_value())
    return vector


def check_device(device_type: str, device_id: int) -> None:
    """Raises InputError: the device is another one than the CPU."""
    if device_type.lower() != "cpu" or device_id != 0:
        raise BindingError(f"device {device_type}:{device_id} is not there; reconv runs on cpu:0")


def _memory(device_type: str, device_id: int, kind: Any, shape: Sequence[int], address: int) -> Array:
    check_device(device_type, device_id)
    dtype = element_type(kind) if isinstance(kind, int) else np.dtype(kind)
    size = prod(shape) * dtype.itemsize
    block = (ctypes.c_byte * size).from_address(address)
    array: Array = np.frombuffer(memoryview(block), dtype).reshape(tuple(shape))
    return array
