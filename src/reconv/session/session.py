"""`InferenceSession`: ONNX Runtime's class over this engine.

What differs from ONNX Runtime's: errors are of `reconv.errors`, besides being ONNX Runtime's (see
`reconv.session.errors`); there is one device, the CPU; nothing is profiled, and what the session options say of
optimisation does not matter.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from reconv import graph as graphs
from reconv.engine import Model, Stream
from reconv.errors import InputError, one_line
from reconv.session.binding import IOBinding, check_device, ort_value, vector_of
from reconv.session.errors import TerminatedError, WrongSourceError, bound_as_theirs, check_file, raised_as_theirs
from reconv.session.options import CPU, PROVIDER, Providers, chosen, threads_of
from reconv.session.told import Told

__all__ = ["InferenceSession"]

Feed = Mapping[str, Any]
ProviderNames = Sequence[str | tuple[str, Mapping[str, Any]]]


class InferenceSession(Told):
    """A model to be run. Several threads may run it at once; frames of a stream then wait for one another.

    Args:
        path_or_bytes: the model's file, or its bytes.
        sess_options: an ``onnxruntime.SessionOptions``; its ``intra_op_num_threads`` counts.
        providers: names, or pairs of a name and options; see `reconv.session.options` for ours.
        provider_options: the options, where `providers` has names only.
        kwargs: what ONNX Runtime's constructor takes besides; without effect.

    Raises:
        ModelError: the model cannot be read.
        InputError: an option of our provider is not known, or is not what it should be.
    """

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: Any = None,
        providers: ProviderNames | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        if not isinstance(path_or_bytes, (str, bytes, os.PathLike)):
            raise WrongSourceError(
                f"cannot load a {type(path_or_bytes).__name__}; expected a path or the bytes of a model"
            )
        if not isinstance(path_or_bytes, bytes):
            check_file(path_or_bytes)
        self._options = sess_options
        if sess_options is not None and sess_options.enable_profiling:
            warnings.warn("enable_profiling: reconv writes no profile", UserWarning, stacklevel=2)
        with raised_as_theirs():
            self._graph = graphs.load(path_or_bytes)
        self._started_ns = time.monotonic_ns()
        self._lock = threading.Lock()
        self._overridden: tuple[dict[str, np.ndarray[Any, Any]], Model] | None = None
        with raised_as_theirs():
            self._open(chosen(providers, provider_options))

    def _open(self, options: Providers) -> None:
        self._providers = options
        self._model = self._made(self._graph)
        self._stream: Stream | None = self._streamed(options) if options.stream else None

    def _streamed(self, options: Providers) -> Stream:
        return self._model.stream(
            options.tolerance,
            options.profile,
            refresh_every=options.refresh_every,
            audit_every=options.audit_every,
            target=options.target,
            dense=options.dense,
        )

    def _made(self, graph: graphs.Graph) -> Model:
        return Model(
            graph,
            threads=threads_of(self._options),
            kernels=self._providers.kernels,
            memory_limit_bytes=self._providers.memory_limit_bytes,
        )

    # --- how it is run ---

    def get_providers(self) -> list[str]:
        """The engine, and ONNX Runtime for what it leaves out."""
        return [PROVIDER, CPU]

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """The engine's options as they were given."""
        return {PROVIDER: dict(self._providers.given), CPU: {}}

    def set_providers(
        self, providers: ProviderNames | None = None, provider_options: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Begin anew with these options."""
        with raised_as_theirs():
            options = chosen(providers, provider_options)
            with self._lock:
                self._overridden = None
                self._open(options)

    def get_session_options(self) -> Any:
        """The session options that were given, or the default ones."""
        if self._options is None:
            self._options = onnxruntime.SessionOptions()
        return self._options

    def get_profiling_start_time_ns(self) -> int:
        """When the session was made, by ``time.monotonic_ns``."""
        return self._started_ns

    # --- runs ---

    @raised_as_theirs()
    def run(self, output_names: Sequence[str] | None, input_feed: Feed, run_options: Any = None) -> list[Any]:
        """The outputs asked for, in that order; all of them where None or nothing is asked for.

        Args:
            output_names: names of outputs.
            input_feed: name -> array, or a list of numbers or an ``OrtValue`` in an array's place.
            run_options: an ``onnxruntime.RunOptions``, of which ``terminate`` counts.

        Raises:
            InputError: an input is missing, unknown, or of another type or shape than the model's; no output has that
                name.
            TailError: ONNX Runtime failed in the part of the model that it runs.
            ReconvError: ``terminate`` is set in the run options, before the run or by its end.
        """
        _check_not_terminated(run_options)
        names = [info.name for info in self._graph.outputs]
        wanted = list(output_names or names)
        if unknown := [name for name in wanted if name not in names]:
            raise InputError(f"the model has no output {unknown[0]!r}; its outputs are {', '.join(names)}")
        missing = [info.name for info in self._graph.inputs if info.name not in input_feed]
        if missing:
            raise InputError(f"required inputs {missing} are missing from the input feed {list(input_feed)}")
        found = self._run(dict(input_feed))
        _check_not_terminated(run_options)
        return [found[name] for name in wanted]

    @raised_as_theirs()
    def run_with_ort_values(
        self, output_names: Sequence[str] | None, input_dict_ort_values: Feed, run_options: Any = None
    ) -> list[Any]:
        """As `run`, with an ``OrtValue`` for each input and output."""
        names = list(output_names or (info.name for info in self._graph.outputs))
        values = self.run(names, input_dict_ort_values, run_options)
        return [ort_value(name, value) for name, value in zip(names, values, strict=True)]

    @raised_as_theirs()
    def run_with_ortvaluevector(  # noqa: PLR0917 - ONNX Runtime's signature
        self,
        run_options: Any,
        feed_names: Sequence[str],
        feeds: Any,
        fetch_names: Sequence[str],
        fetches: Any,
        fetch_devices: Sequence[Any],
    ) -> None:
        """As `run`, with ONNX Runtime's own lists of values.

        Args:
            run_options: as `run` takes them.
            feed_names: names of inputs.
            feeds: an ``OrtValueVector`` of their values.
            fetch_names: names of outputs.
            fetches: an ``OrtValueVector``: empty, and then outputs are put into it, or with a value for each output,
                which is written into.
            fetch_devices: an ``OrtDevice`` for each output.

        Raises:
            InputError: as `run`; the lists do not fit together, or a device is not the CPU.
        """
        if len(feeds) != len(feed_names) or len(fetches) not in (0, len(fetch_names)):
            counts = f"{len(feeds)} feeds for {len(feed_names)}, {len(fetches)} fetches for {len(fetch_names)}"
            raise InputError(f"{counts} names; give one feed for each name, and fetches for all or for none")
        for device in fetch_devices:
            check_device("cpu" if device.device_type() == device.cpu() else "another kind", device.device_id())
        binding = self.io_binding()
        for name, value in zip(feed_names, feeds, strict=True):
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue(value))
        for place, name in enumerate(fetch_names):
            if len(fetches):
                binding.bind_ortvalue_output(name, onnxruntime.OrtValue(fetches[place]))
            else:
                binding.bind_output(name)
        self.run_with_iobinding(binding, run_options)
        if not len(fetches):
            vector_of(binding.get_outputs(), fetches)

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Feed,
        callback: Callable[[list[Any], Any, str], None],
        user_data: Any,
        run_options: Any = None,
    ) -> None:
        """As `run`, in a thread of its own, which then calls ``callback(results, user_data, "")``; of an error, with no
        results and the error's message."""

        def work() -> None:
            try:
                results, said = self.run(output_names, input_feed, run_options), ""
            except Exception as error:  # the callback is told, as ONNX Runtime's is
                results, said = [], one_line(error)
            callback(results, user_data, said)

        threading.Thread(target=work, name="reconv-run-async", daemon=True).start()

    def io_binding(self) -> IOBinding:
        """Inputs and outputs in memory of the caller's, for `run_with_iobinding`."""
        return IOBinding([each.name for each in self.get_outputs()])

    @bound_as_theirs()
    def run_with_iobinding(self, iobinding: IOBinding, run_options: Any = None) -> None:
        """As `run`, with what was bound. Outputs that are not bound are not given.

        Raises:
            InputError: as `run`; or an output does not fit the memory that it was bound to.
        """
        names = iobinding.output_names
        iobinding.give(names, self.run(names, iobinding.feed(), run_options))

    def _run(self, feed: dict[str, Any]) -> dict[str, Any]:
        given = {each.name for each in self._overridable} & feed.keys() if len(feed) > len(self._graph.inputs) else ()
        weights = {name: self._array(feed.pop(name), self._graph.constants[name].dtype) for name in given}
        types = {info.name: info.dtype for info in self._graph.inputs}
        inputs = {name: self._array(value, types.get(name)) for name, value in feed.items()}
        if weights:
            return self._with(weights).run(inputs)
        return self._model.run(inputs) if self._stream is None else self._stream(inputs)

    def _with(self, weights: dict[str, np.ndarray[Any, Any]]) -> Model:
        """The model with other weights; that of the last ones is kept."""
        for name, array in weights.items():
            own = self._graph.constants[name]
            if (array.shape, array.dtype) != (own.shape, own.dtype):
                got, wanted = f"{array.dtype} {array.shape}", f"{own.dtype} {own.shape}"
                raise InputError(f"initializer {name!r} is {got}, expected {wanted}")
        with self._lock:
            kept = self._overridden
            if kept is not None and kept[0].keys() == weights.keys() and _equal(kept[0], weights):
                return kept[1]
            model = self._made(graphs.with_constants(self._graph, weights))
            self._overridden = {name: array.copy() for name, array in weights.items()}, model
            return model

    @staticmethod
    def _array(value: Any, dtype: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
        if isinstance(value, onnxruntime.OrtValue):
            return np.asarray(value.numpy())
        return value if isinstance(value, np.ndarray) else np.asarray(value, dtype)


def _check_not_terminated(run_options: Any) -> None:
    if run_options is not None and run_options.terminate:
        raise TerminatedError("terminate is set in the run options; set it to False to run again")


def _equal(some: Mapping[str, np.ndarray[Any, Any]], others: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    return all(np.array_equal(array, others[name]) for name, array in some.items())
