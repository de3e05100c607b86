"""What every method of compression gives: the smaller graph, and a report of what was done and how many bytes it takes.

A report holds facts of the graph alone. Milliseconds and the loss are measured by who may run models
(`reconv.optimize.compressing`) and put into ``measured``; None there means that nobody measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from reconv.graph import Graph, Made, to_onnx

if TYPE_CHECKING:
    from reconv.compress.forward import Feeds, Forward

__all__ = ["PACKER", "Compressed", "Entry", "LayerReport", "Method", "Report", "SizeReport", "plain"]

PACKER = "zlib level 6"
"""What `SizeReport.packed` is counted with: a compressor that everybody has; others differ by some percent."""


@dataclass(frozen=True)
class SizeReport:
    """Bytes of a model. file: as it is written; packed: what `PACKER` makes of that file, None where nobody asked."""

    file: int
    packed: int | None = None

    @staticmethod
    def of(graph: Graph, *, packed: bool = False) -> SizeReport:
        """Raises ModelError where the model cannot be written."""
        data = to_onnx(graph).SerializeToString()
        return SizeReport(len(data), len(zlib.compress(data, 6)) if packed else None)

    def to_json(self) -> dict[str, int | None]:
        """Plain values for ``json.dumps``."""
        return {"file": self.file, "packed": self.packed}


@dataclass(frozen=True)
class LayerReport:
    """What was done to one layer: its node's name, and facts under words that the method explains; plain values."""

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``."""
        return {"name": self.name, **plain(self.facts)}


@dataclass(frozen=True)
class Report:
    """One compression.

    method: a name of METHODS; settings: what it was called with; layers: those that changed; before, after: bytes;
    notes: what the user should know, in sentences; steps: the reports of the parts, where a method combines several;
    measured: milliseconds and the loss on samples, where somebody measured them.
    """

    method: str
    settings: Mapping[str, Any]
    layers: tuple[LayerReport, ...]
    before: SizeReport
    after: SizeReport
    notes: tuple[str, ...] = ()
    steps: tuple[Report, ...] = ()
    measured: Mapping[str, Any] | None = None

    @staticmethod
    def of(
        method: str,
        before: Graph,
        after: Graph,
        *,
        settings: Mapping[str, Any],
        layers: Iterable[LayerReport] = (),
        notes: Iterable[str] = (),
        steps: Iterable[Report] = (),
        packed: bool = False,
    ) -> Report:
        """The report with the bytes of both graphs; ``packed``: also what `PACKER` makes of them (it takes a while)."""
        first, second = (SizeReport.of(graph, packed=packed) for graph in (before, after))
        return Report(method, dict(settings), tuple(layers), first, second, tuple(notes), tuple(steps))

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``."""
        return {
            "method": self.method,
            "settings": plain(self.settings),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "packer": PACKER,
            "layers": [layer.to_json() for layer in self.layers],
            "notes": list(self.notes),
            "steps": [step.to_json() for step in self.steps],
            "measured": None if self.measured is None else plain(self.measured),
        }


@dataclass(frozen=True, eq=False)
class Compressed(Made):
    """What a method gives."""

    report: Report

    def noted(self, **changes: Any) -> Compressed:
        """The same graph with these fields of the report changed."""
        return replace(self, report=replace(self.report, **changes))


class Method(Protocol):
    """One way to a smaller model: an entry of METHODS, what a search may try."""

    @property
    def name(self) -> str:
        """The key in METHODS."""

    @property
    def needs(self) -> frozenset[str]:
        """Of "samples", "loss" and "train" (torch): what `apply` cannot do without."""

    def settings(self, graph: Graph) -> Iterator[Mapping[str, Any]]:
        """Settings of `apply` that are worth trying on this graph, the mildest first; none where it cannot be done."""

    def apply(self, graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
        """The graph compressed; names and shapes of its inputs and outputs stay.

        Raises:
            ModelError: this graph cannot be compressed so; the message says why.
            InputError: a setting that makes no sense, or samples that do not fit.
            MissingError: a library of an extra is not installed.
        """


@dataclass(frozen=True)
class Entry:
    """A `Method` made of two functions. call: (graph, samples, forward, **settings); ladder: its settings."""

    name: str
    needs: frozenset[str]
    call: Callable[..., Compressed]
    ladder: Callable[[Graph], Iterable[Mapping[str, Any]]]

    def settings(self, graph: Graph) -> Iterator[Mapping[str, Any]]:
        """As `Method` says."""
        yield from self.ladder(graph)

    def apply(self, graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
        """As `Method` says."""
        return self.call(graph, samples, forward, **settings)


def plain(value: Any) -> Any:
    """Numpy's numbers and arrays, mappings, tuples, sets as what ``json.dumps`` takes; None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
