"""Whether two whole models give the same result, judged in float32 on ONNX Runtime without its optimisations.

What "the same" can mean depends on the model: rounding is blown up by some and damped by others. So the tolerance is
measured on the model itself, by stochastic arithmetic (Vignes 1993): every weight is moved by one unit of its last
place, up, down or not at all, by chance, a few times over. A swap brings weights that are rounded once more, and sums
in another order; it may not move an output further than `MARGIN` times what those moves do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reconv.errors import ModelError, one_line
from reconv.graph import Graph, to_onnx, with_constants
from reconv.measure import PEERS, Job, Runner, allowed_threads

__all__ = ["MARGIN", "WholeProof", "prove_whole"]

Array = np.ndarray[Any, Any]
MARGIN = 16.0
DRAWS = 3
WEIGHTED = frozenset(  # operators whose constants are weights; those of others are sizes, scales and limits
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "InstanceNormalization", "PRelu"}
    | {"Add", "Sub", "Mul", "Div", "LSTM", "GRU", "RNN"}
)
FLOOR = 8 * 2.0**-24  # of the largest value: what an output may always be off by


@dataclass(frozen=True)
class WholeProof:
    """differences: per output the largest difference over its tolerance; below 1 each where the proof holds.

    random: outputs that the untouched model itself gives differently each time, which cannot be compared.
    """

    holds: bool
    differences: Mapping[str, float]
    reason: str = ""
    random: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; None where a difference is not finite."""
        plain = {name: value if np.isfinite(value) else None for name, value in self.differences.items()}
        return {"holds": self.holds, "differences": plain, "reason": self.reason, "random": list(self.random)}


def prove_whole(
    before: Graph, after: Graph, frames: Sequence[Mapping[str, Array]], shapes: Mapping[str, tuple[int, ...]]
) -> WholeProof:
    """Compare two models on these inputs (name -> array, all of the shapes given).

    Raises:
        ModelError: ONNX Runtime does not run the untouched model on them.
    """
    try:
        with _session(before, shapes) as session:
            first = [session(frame) for frame in frames]
            again = [session(frame) for frame in frames]
    except Exception as error:  # its kinds are derived from Exception alone
        raise ModelError(
            f"ONNX Runtime does not run the untouched model, so that nothing can be compared: {one_line(error)}; "
            "pass samples= where drawn inputs do not fit"
        ) from error
    try:
        with _session(after, shapes) as session:
            second = [session(frame) for frame in frames]
    except Exception as error:
        return WholeProof(False, {}, f"ONNX Runtime does not run the new model: {one_line(error)}")
    moved = []
    for draw in range(DRAWS):
        with _session(_perturbed(before, draw), shapes) as session:
            moved.append([session(frame) for frame in frames])
    random = tuple(
        name for name in first[0] if any(not _equal(a[name], b[name]) for a, b in zip(first, again, strict=True))
    )
    worst: dict[str, float] = {}
    for index, outputs in enumerate(first):
        for name in [name for name in outputs if name not in random]:
            found = _over(outputs[name], second[index][name], [runs[index][name] for runs in moved])
            worst[name] = max(worst.get(name, 0.0), found)
    wrong = [name for name, value in worst.items() if not value <= 1.0]
    reason = f"output {wrong[0]!r} is off by {worst[wrong[0]]:.3g} times its tolerance" if wrong else ""
    return WholeProof(not wrong, worst, reason, random)


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return bool(np.array_equal(first, second, equal_nan=first.dtype.kind == "f"))
    return repr(first) == repr(second)  # sequences and maps are small


def _over(first: Any, second: Any, moved: Sequence[Any]) -> float:
    """Largest difference over the tolerance; infinite where shapes, types, or places of NaN and infinity differ."""
    if isinstance(first, list):  # a sequence
        if not isinstance(second, list) or len(first) != len(second):
            return float("inf")
        lists = [runs if len(runs) == len(first) else first for runs in moved]
        parts = zip(first, second, *lists, strict=True)
        return max((_over(a, b, others) for a, b, *others in parts), default=0.0)
    if not isinstance(first, np.ndarray):
        return 0.0 if _equal(first, second) else float("inf")
    if first.shape != second.shape or first.dtype != second.dtype:
        return float("inf")
    if not first.size:
        return 0.0
    if first.dtype.kind not in "f":  # counts and choices: as equal as with weights that moved
        differ = float(np.mean(first != second))
        alike = [other for other in moved if other.shape == first.shape]
        return differ / max(1e-3 / first.size, *(float(np.mean(first != other)) for other in alike))
    a, b = first.astype(np.float64), second.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    alike = [other for other in moved if other.shape == a.shape]
    spread = max((_largest(other.astype(np.float64) - a, finite) for other in alike), default=0.0)
    tolerance = MARGIN * spread + FLOOR * float(np.abs(a[finite]).max()) + float(np.finfo(np.float32).tiny)
    return _largest(b - a, finite) / tolerance


def _largest(difference: Array, finite: Array) -> float:
    values = np.abs(difference[finite])
    return float(np.nanmax(values)) if values.size and not np.isnan(values).all() else 0.0


def _perturbed(graph: Graph, seed: int) -> Graph:
    random = np.random.default_rng(seed)
    read = {name for node in graph.nodes if node.op_type in WEIGHTED for name in node.inputs}
    constants = {}
    for name, array in graph.constants.items():
        if array.dtype == np.float32 and name in read:
            towards = random.choice(np.array([-np.inf, 0.0, np.inf], np.float32), array.shape)
            constants[name] = np.where(towards == 0, array, np.nextafter(array, towards)).astype(np.float32)
    return with_constants(graph, constants)


@contextmanager
def _session(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Runner]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(to_onnx(graph).SerializeToString())
        runner = PEERS["onnxruntime-plain"].open(Job(str(path), dict(shapes), allowed_threads()))
    try:
        yield runner
    finally:
        runner.close()
