"""The measured cost of a swap: milliseconds on a target, both sides taking turns, remembered by digest.

What differs is cut out of both models with its neighbours (`reconv.exchange.region`) and run on the target's own
runtime after its own optimisations. A measurement is kept in a cache under the digests of both parts and the sizes, the
target, its version, the threads and the processor, so that a second search takes none.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from reconv.cache import Cache
from reconv.errors import InputError, MissingError
from reconv.exchange.meter import Change
from reconv.exchange.region import Region, region
from reconv.exchange.view import View
from reconv.graph import extract, load, structure_digest
from reconv.measure import PEERS, Job, Runner, environment, median_interval

__all__ = ["Measured", "Paired", "paired", "peer_of", "quantized_for", "settle_seconds"]

Array = np.ndarray[Any, Any]
CONFIRMATIONS = 3  # of a whole model that is about to be given
SMALL = 16  # numbers: a constant that is not larger may be sizes, scales or limits
TARGETS = {"reconv": "reconv", "onnxruntime": "onnxruntime", "openvino": "openvino", "openvino-f32": "openvino-f32"}


@dataclass(frozen=True)
class Paired:
    """Milliseconds of two models on the same input; the median over turns of the ratio second / first, with its 95 %
    interval."""

    before_ms: float
    after_ms: float
    ratio: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {field.name: round(float(getattr(self, field.name)), 5) for field in fields(self)}


FORMAT = 1  # of what is kept in a memo
FIELDS = {field.name for field in fields(Paired)}


def peer_of(target: str) -> str:
    """The key of PEERS for a target.

    Raises:
        InputError: no such target.
        MissingError: its library is not installed.
    """
    if target not in TARGETS:
        raise InputError(f"no target is called {target!r}; there are {', '.join(TARGETS)}")
    if reason := PEERS[TARGETS[target]].missing():
        raise MissingError(reason)
    return TARGETS[target]


def settle_seconds(threads: int) -> float:
    """How long to wait between two runtimes on so many threads: their pools spin for a while after a run."""
    return 0.0 if threads == 1 else 0.003


def quantized_for(target: str) -> str:
    """The target, in the words of a quantization: OpenVINO's placement is the same in either precision."""
    return target.removesuffix("-f32")


def paired(
    first: Callable[[], Any],
    second: Callable[[], Any],
    seconds: float,
    settle_seconds: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Paired:
    """Time two calls that take turns for about so many seconds, at least seven turns each."""

    def block(call: Callable[[], Any], repeats: int) -> float:
        start = clock()
        for _ in range(repeats):
            call()
        return (clock() - start) / repeats

    started = clock()
    for call in (first, second, first, second):
        call()
    once = [block(call, 1) for call in (first, second)]
    repeats = max(1, min(200, int(0.004 / max(min(once), 1e-7))))
    times: list[tuple[float, float]] = []
    while len(times) < 7 or (clock() - started < seconds and len(times) < 400):
        turn = [0.0, 0.0]
        for place in (0, 1) if len(times) % 2 else (1, 0):
            if settle_seconds:  # pools of threads spin for a while after a run
                time.sleep(settle_seconds)
                (first, second)[place]()
            turn[place] = block((first, second)[place], repeats)
        times.append((turn[0], turn[1]))
    table = np.array(times)
    ratios = table[:, 1] / table[:, 0]
    before, after = (float(np.median(column)) * 1e3 for column in table.T)
    return Paired(before, after, float(np.median(ratios)), *median_interval(ratios))


class Measured:
    """A meter in milliseconds on one target."""

    unit = "ms"
    least = 0.01

    def __init__(
        self,
        target: str,
        threads: int,
        memo: Cache | None = None,
        *,
        real: Callable[[View, Sequence[str]], Mapping[str, Array]] = lambda *_: {},
        part_seconds: float = 0.25,
        whole_seconds: float = 2.0,
    ) -> None:
        """
        Args:
            target: a key of TARGETS.
            threads: of the target's runtime.
            memo: where measurements are kept; None: only while this meter lives.
            real: values of the model by name, which inputs of a part get that are not floats: sizes, say.
            part_seconds: spent on one part; ``whole_seconds`` on a whole model.

        Raises:
            InputError, MissingError: as `peer_of`.
        """
        self._peer = peer_of(target)
        self._threads = threads
        self._memo = Cache(1 << 20, "lru") if memo is None else memo
        self._real = real
        self._part_seconds = part_seconds
        self._whole_seconds = whole_seconds
        machine = environment()
        version = machine.get(PEERS[self._peer].library, "-")
        self._where = f"{self._peer} {version} {threads} {machine['cpu']} {machine['instruction_set']}"
        self.measured = 0  # measurements really taken, not remembered

    def change(self, old: View, new: View) -> Change | None:
        """Milliseconds of the part that differs; sure where 1 is outside of the interval of the ratio."""
        found = region(old, new)
        if found is None:
            return None
        result = self._ask(found, self._part_seconds, old)
        sure = not result.low <= 1.0 <= result.high
        return Change(result.before_ms, result.before_ms * result.ratio, sure)

    def agrees(self, old: View, new: View, gain: float) -> bool:
        """Whether the whole model is faster, or, where the gain is too small to be told from noise there, whether it
        measures as much faster as the parts did, within the interval."""
        whole = self.whole(old, new)
        expected = 1 - gain / max(whole.before_ms, 1e-9)
        return whole.high < 1.0 or (whole.ratio < 1.0 and whole.low <= expected <= whole.high)

    def prefers(self, first: View, second: View) -> bool:
        """Whether the second is surely faster as a whole."""
        return self.whole(first, second).high < 1.0

    def whole(self, old: View, new: View) -> Paired:
        """Both models whole, on drawn input of the sizes of the view."""
        return self._ask(_whole(old, new), self._whole_seconds, old)

    def confirmed(self, old: View, new: View) -> Paired:
        """As `whole`, several times with sessions of their own; the interval is the widest that they leave.

        Where a session's memory happens to lie makes it some percent faster or slower than another of the same model,
        and a search that tried many models has found one that was lucky.
        """
        found = [self._ask(_whole(old, new), self._whole_seconds, old, again) for again in range(CONFIRMATIONS)]
        middle = sorted(found, key=lambda each: each.ratio)[len(found) // 2]
        return replace(middle, low=min(each.low for each in found), high=max(each.high for each in found))

    def _ask(self, found: Region, seconds: float, view: View, again: int = 0) -> Paired:
        digests = [_digest(part) for part in (found.before, found.after)]
        if digests[0] == digests[1]:
            return Paired(0.0, 0.0, 1.0, 1.0, 1.0)
        shapes = sorted((name, *shape) for name, shape in found.shapes.items())
        key = repr((FORMAT, self._where, digests, shapes, seconds, *([again] if again else [])))
        known = self._memo.get(key)
        if not isinstance(known, dict) or known.keys() != FIELDS:  # unknown, or written by someone else
            known = self._time(found, seconds, view).to_json()
            self._memo.put(key, known, size=512, cost=seconds)
        return Paired(**known)

    def _time(self, found: Region, seconds: float, view: View) -> Paired:
        self.measured += 1
        feeds = drawn(found.shapes, found.types)
        feeds |= self._real(view, [name for name, array in feeds.items() if array.dtype.kind != "f"])
        with tempfile.TemporaryDirectory() as folder:
            runners: list[Runner] = []
            for name, part in (("before", found.before), ("after", found.after)):
                path = Path(folder) / f"{name}.onnx"
                path.write_bytes(part)
                runners.append(PEERS[self._peer].open(Job(str(path), found.shapes, self._threads)))
        try:
            return paired(lambda: runners[0](feeds), lambda: runners[1](feeds), seconds, settle_seconds(self._threads))
        finally:
            for runner in runners:
                runner.close()


def _digest(part: bytes) -> str:
    """Digest of what the time of a part depends on: everything but the values of its weights."""
    graph = load(part)
    zero = np.zeros((), np.float32)
    weights = {n: a for n, a in graph.constants.items() if a.dtype == np.float32 and a.size > SMALL}
    blank = {name: np.broadcast_to(zero, array.shape) for name, array in weights.items()}
    return structure_digest(replace(graph, constants={**graph.constants, **blank}))


def drawn(shapes: Mapping[str, tuple[int, ...]], types: Mapping[str, np.dtype[Any]]) -> dict[str, Array]:
    """Seeded normal values for inputs; of types that are not floats, zeros."""
    random = np.random.default_rng(0)
    found = {}
    for name, shape in shapes.items():
        kind = types.get(name, np.dtype(np.float32))
        floats = kind.kind == "f"
        found[name] = random.standard_normal(shape).astype(kind) if floats else np.zeros(shape, kind)
    return found


def _whole(old: View, new: View) -> Region:
    shapes = {i.name: tuple(n or 1 for n in old.sizes[i.name]) for i in old.graph.inputs}
    names = [info.name for info in old.graph.inputs]
    made = {name for node in old.graph.nodes for name in node.outputs}
    outputs = [info.name for info in old.graph.outputs if info.name in made]
    parts = [extract(view.graph, names, outputs, shapes) for view in (old, new)]
    return Region(parts[0], parts[1], shapes, {info.name: info.dtype for info in old.graph.inputs})
