"""What the tests of rules on drawn models share: run both sides, and require the same result.

Written by hand as ONNX text, run by ONNX Runtime without its optimisations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime

from reconv.exchange.proof import prove
from reconv.exchange.rule import Refusal, Rule
from reconv.exchange.view import View, look, look_again
from reconv.graph import Graph, Rewrite, parse, to_onnx
from tests.tolerances import Tolerance

Array = np.ndarray[Any, Any]
SWAPPED = Tolerance("float32_swapped", scaled=1e-5)  # sums in another order, weights rounded once more


@dataclass(eq=False)
class Model:
    """A drawn model: its graph in ONNX's text format, its weights, and its inputs at real sizes."""

    text: str
    weights: Mapping[str, Array]
    feeds: Mapping[str, Array]
    opset: int = 17
    graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        self.graph = parse(self.text, self.weights, self.opset)

    def view(self) -> View:
        return look(self.graph, {name: array.shape for name, array in self.feeds.items()})


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {o.name: y for o, y in zip(session.get_outputs(), session.run(None, dict(feeds)), strict=True)}


def require_same(before: Mapping[str, Array], after: Mapping[str, Array], what: str) -> None:
    """AssertionError where two results differ by more than rounding."""
    assert list(before) == list(after)
    for name, old in before.items():
        assert after[name].dtype == old.dtype, what
        SWAPPED.check(after[name], old, f"{what}: {name}", max(float(np.abs(old).max(initial=0)), 1.0))


def answers(view: View, rules: Iterable[Rule]) -> list[tuple[Rule, Rewrite | Refusal]]:
    found = [(rule, rule.match(view, node)) for rule in rules for node in view.graph.nodes]
    return [(rule, answer) for rule, answer in found if answer is not None]


def require_all_right(model: Model, rules: Iterable[Rule]) -> set[str]:
    """Do each swap that is offered, one at a time: the result is the same, and the prover agrees.

    Returns:
        The names of the rules that fired.
    """
    view = model.view()
    expected = run(to_onnx(view.graph), model.feeds)
    fired = set()
    for rule, answer in answers(view, rules):
        if isinstance(answer, Refusal):
            assert answer.reason
            continue
        fired.add(rule.name)
        changed = to_onnx(look_again(view, answer).graph)
        onnx.checker.check_model(changed, full_check=True)
        require_same(expected, run(changed, model.feeds), rule.name)
        proof = prove(view, answer)
        assert proof.holds, f"{rule.name}: {proof.reason}"
    return fired


def require_sequence_right(model: Model, rules: Iterable[Rule], steps: int = 6) -> list[str]:
    """Swap after swap, the first that is offered and was not done yet; the result stays the same."""
    rules, view = tuple(rules), model.view()
    expected = run(to_onnx(view.graph), model.feeds)
    done: list[str] = []
    for _ in range(steps):
        offered = [(rule, a) for rule, a in answers(view, rules) if isinstance(a, Rewrite) and rule.name not in done]
        if not offered:
            break
        rule, rewrite = offered[0]
        view = look_again(view, rewrite)
        done.append(rule.name)
        changed = to_onnx(view.graph)
        onnx.checker.check_model(changed, full_check=True)
        require_same(expected, run(changed, model.feeds), " then ".join(done))
    return done
