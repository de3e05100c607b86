"""What tests of the kernel and clean-up rules share: models in ONNX's text format, each firing equal and proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime

from reconv.exchange.proof import prove
from reconv.exchange.rule import Example, Refusal, Rule
from reconv.exchange.view import View, look, look_again
from reconv.graph import Graph, Rewrite, to_onnx
from tests.property.profiles import SCALE
from tests.tolerances import Tolerance

__all__ = ["Tally", "attributes", "check_same", "fired_once", "rewrites", "run", "simplified"]

Array = np.ndarray[Any, Any]
SWAPPED = Tolerance("float32_reordered", absolute=1e-30, scaled=4e-6)
FREE = 2  # size of an axis that a model leaves free


@dataclass
class Tally:
    """How often a rule fired and refused over drawn models: a test in which neither happens shows nothing."""

    fired: int = 0
    refused: int = 0

    def require(self, fired: int, refused: int = 0) -> None:
        """AssertionError when there was too little of either; a quick run need not see all."""
        quick = SCALE < 1
        assert self.fired >= (0 if quick else fired), self
        assert self.refused >= (0 if quick else refused), self


def attributes(**values: Any) -> str:
    """Attributes as the text format has them; those that are None are left out."""
    written = [f"{key} = {_text(value)}" for key, value in values.items() if value is not None]
    return f"<{', '.join(written)}>" if written else ""


def _text(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def run(graph: Graph, seed: int) -> list[Array]:
    """The outputs by ONNX Runtime without its optimisations, on seeded normal inputs, large ones for odd seeds."""
    random = np.random.default_rng(seed)
    shapes = {info.name: [s if isinstance(s, int) else FREE for s in info.shape] for info in graph.inputs}
    feeds = {n: (random.standard_normal(s) * (1, 50)[seed % 2]).astype(np.float32) for n, s in shapes.items()}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    model = to_onnx(graph).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def check_same(before: View, after: View, what: str, seeds: Sequence[int] = (0, 1)) -> None:
    """AssertionError when the results differ by more than rounding, or ``after`` is no valid model."""
    onnx.checker.check_model(to_onnx(after.graph), full_check=True)
    assert [info.name for info in before.graph.outputs] == [info.name for info in after.graph.outputs]
    for seed in seeds:
        for old, new in zip(run(before.graph, seed), run(after.graph, seed), strict=True):
            assert (old.shape, old.dtype) == (new.shape, new.dtype), what
            finite = old[np.isfinite(old)]
            SWAPPED.check(new, old, what, float(np.abs(finite).max(initial=0)))


def rewrites(rule: Rule, view: View, tally: Tally | None = None) -> list[Rewrite]:
    """What the rule offers, node by node; refusals are counted."""
    answers = [rule.match(view, node) for node in view.graph.nodes]
    if tally is not None:
        tally.refused += sum(isinstance(answer, Refusal) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Rewrite)]


def fired_once(rule: Rule, case: Example, tally: Tally | None = None) -> list[View]:
    """The model after each rewrite that the rule offers, each shown to be equal and to be proved."""
    view = look(case.graph())
    found = []
    for rewrite in rewrites(rule, view, tally):
        found.append(look_again(view, rewrite))
        check_same(view, found[-1], rule.name)
        proof = prove(view, rewrite)
        assert proof.holds, proof.reason
    if tally is not None:
        tally.fired += len(found)
    return found


def simplified(view: View, rules: Sequence[Rule]) -> View:
    """The model after all that the rules offer, one after the other until nothing is left."""
    for _ in range(100):
        offered = next((found for rule in rules if (found := rewrites(rule, view))), None)
        if offered is None:
            return view
        view = look_again(view, offered[0])
    raise AssertionError("the rules do not come to an end")
