"""What `reconv.exchange` did and did not do, and what each part of it is worth: data for tables, JSON and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from reconv.exchange.found import Bug, Declined, Fired, Found, Gain, Refused, Unproved
from reconv.exchange.view import View
from reconv.graph import multiply_adds, operations, peak_bytes
from reconv.optimize.measured import Paired
from reconv.optimize.whole import WholeProof

__all__ = ["Report", "Setting", "Totals"]


@dataclass(frozen=True)
class Totals:
    """A whole model: nodes, multiply-adds, operations of any kind, bytes of weights, peak bytes of maps by liveness."""

    nodes: int
    multiply_adds: int
    operations: int
    weight_bytes: int
    peak_bytes: int

    @staticmethod
    def of(view: View) -> Totals:
        graph = view.graph
        constants = {name: array.shape for name, array in graph.constants.items()}
        sizes = {**view.sizes, **constants}
        return Totals(
            nodes=len(graph.nodes),
            multiply_adds=sum(multiply_adds(node, sizes) or 0 for node in graph.nodes),
            operations=sum(operations(node, sizes) or 0 for node in graph.nodes),
            weight_bytes=sum(prod(array.shape) * array.dtype.itemsize for array in graph.constants.values()),
            peak_bytes=peak_bytes(graph, view.sizes, view.types),
        )


@dataclass(frozen=True)
class Setting:
    """What the model was made cheaper for. unit: of the cost."""

    target: str
    cost: str
    unit: str
    threads: int
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Report:
    """One exchange.

    fired: in the order in which they were done; gains: what swaps were worth, in the setting's unit, of the part that
    differs (node "": all that simplify together); refused: patterns whose swap would not keep the result, and why;
    unproved: swaps that could not be evaluated; declined: swaps that could be done and do not pay; bugs: swaps that
    failed their proof. None of the last four is in the result. whole: both models on the target, None where the cost is
    counted. applied: False where the result is the untouched model. complete: False where the time was up.
    """

    setting: Setting
    applied: bool
    reason: str
    before: Totals
    after: Totals
    fired: tuple[Fired, ...]
    gains: tuple[Gain, ...]
    refused: tuple[Refused, ...]
    unproved: tuple[Unproved, ...]
    declined: tuple[Declined, ...]
    bugs: tuple[Bug, ...]
    whole: Paired | None
    proof: WholeProof | None
    complete: bool

    @staticmethod
    def of(
        setting: Setting, views: tuple[View, View], found: Found, whole: Paired | None, proof: WholeProof | None
    ) -> Report:
        before, after = views
        applied = after is not before
        if applied:
            reason = "the whole model is better and its result is the same"
        elif not found.fired:
            reason = "no swap may be done, or none pays"
        elif proof is not None and not proof.holds:
            reason = f"the whole models differ: {proof.reason}"
        else:
            reason = "the whole model does not get better"
        return Report(
            setting,
            applied,
            reason,
            Totals.of(before),
            Totals.of(after),
            found.fired,
            found.gains,
            found.refused,
            found.unproved,
            found.declined,
            found.bugs,
            whole,
            proof,
            found.complete,
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each rule fired."""
        return Counter(fired.rule for fired in self.fired)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``."""
        return {
            **asdict(self.setting),
            "applied": self.applied,
            "reason": self.reason,
            "before": asdict(self.before),
            "after": asdict(self.after),
            "rules": dict(self.counts),
            "fired": [asdict(fired) for fired in self.fired],
            "gains": [asdict(gain) for gain in self.gains],
            "refused": [asdict(refused) for refused in self.refused],
            "unproved": [asdict(unproved) for unproved in self.unproved],
            "declined": [asdict(declined) for declined in self.declined],
            "bugs": [asdict(bug) for bug in self.bugs],
            "whole": None if self.whole is None else self.whole.to_json(),
            "proof": None if self.proof is None else self.proof.to_json(),
            "complete": self.complete,
        }
