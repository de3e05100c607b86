"""What a session tells without running: of its model, and of devices, allocators and tuning, of which there is little.

There is one device, the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import onnxruntime

from reconv import graph as graphs
from reconv.errors import InputError
from reconv.graph import Described, Metadata
from reconv.session.binding import check_device
from reconv.session.errors import raised_as_theirs
from reconv.session.options import CPU, check_dynamic

__all__ = ["Told"]


class Told:
    """The methods of a session that run nothing."""

    _graph: graphs.Graph

    def get_inputs(self) -> list[Described]:
        """Name, type and shape of each input that a run needs, in the model's order."""
        return self._inputs

    def get_outputs(self) -> list[Described]:
        """Name, type and shape of each output."""
        return self._outputs

    def get_overridable_initializers(self) -> list[Described]:
        """Weights that a run may be given other values for: those that the file lists as inputs."""
        return self._overridable

    def get_modelmeta(self) -> Metadata:
        """Who made the model, and what they wrote into it."""
        return graphs.metadata(self._graph)

    @cached_property
    def _inputs(self) -> list[Described]:
        return graphs.described_inputs(self._graph)

    @cached_property
    def _outputs(self) -> list[Described]:
        return graphs.described_outputs(self._graph)

    @cached_property
    def _overridable(self) -> list[Described]:
        return graphs.overridable(self._graph)

    def get_input_memory_infos(self) -> list[Any]:
        """An ``OrtMemoryInfo`` for each input: the CPU's memory."""
        return [_memory_info() for _ in self._graph.inputs]

    def get_output_memory_infos(self) -> list[Any]:
        """An ``OrtMemoryInfo`` for each output: the CPU's memory."""
        return [_memory_info() for _ in self._graph.outputs]

    def get_input_epdevices(self) -> list[Any]:
        """An ``OrtEpDevice`` for each input: ONNX Runtime's for the CPU, since the engine is none of its providers."""
        cpu = next(device for device in onnxruntime.get_ep_devices() if device.ep_name == CPU)
        return [cpu for _ in self._graph.inputs]

    def create_ortvalue_from_shape_and_type(
        self,
        shape: Sequence[int],
        element_type: Any,
        device_type: str,
        device_id: int = 0,
        vendor_id: int = -1,  # noqa: ARG002 - of devices other than the CPU
    ) -> Any:
        """An ``OrtValue`` of this shape, its values not set. Raises InputError: the device is not the CPU."""
        check_device(device_type, device_id)
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, element_type, "cpu", 0)

    def get_tuning_results(self) -> list[dict[str, Any]]:
        """Nothing: as ONNX Runtime on the CPU, the session tunes no kernels in this way."""
        return []

    def set_tuning_results(self, results: Sequence[Mapping[str, Any]], *, error_on_invalid: bool = False) -> None:
        """Without effect. Raises InputError: there are results, and ``error_on_invalid`` is set: they are not ours."""
        if results and error_on_invalid:
            with raised_as_theirs():
                raise InputError("the tuning results belong to other providers; set none, or error_on_invalid=False")

    @raised_as_theirs()
    def set_ep_dynamic_options(self, options: Mapping[str, str]) -> None:
        """Without effect on other providers. Raises InputError: an option is ours, which cannot change in a session."""
        check_dynamic(options)

    def release_captured_graph(self, graph_annotation_id: int = 0) -> None:
        """Without effect: graphs are captured on other devices only."""

    def enable_fallback(self) -> None:
        """Without effect: there is nothing to fall back to."""

    def disable_fallback(self) -> None:
        """Without effect: there is nothing to fall back to."""

    def end_profiling(self) -> str:
        """The empty name: no profile was written."""
        return ""


def _memory_info() -> Any:
    kinds = onnxruntime.capi.onnxruntime_pybind11_state
    return kinds.OrtMemoryInfo("Cpu", kinds.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, kinds.OrtMemType.DEFAULT)
