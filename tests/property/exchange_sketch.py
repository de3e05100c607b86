"""Models written node by node for the tests of the batch norm and pooling rules, and the check of all that fires.

How far two results may be apart is a share of the largest number in either run, results in between included: what a
rule moves may cancel later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from reconv.exchange.proof import prove
from reconv.exchange.rule import Refusal, Rule
from reconv.exchange.view import look, look_again
from reconv.graph import Graph, Rewrite, load, to_onnx
from tests.property.exchange_models import Array, answers, run
from tests.tolerances import Tolerance

__all__ = ["Case", "Feeds", "Sketch", "check_equal", "check_rules"]

Feeds = Mapping[str, Array]
Case = tuple[Graph, Feeds]

TOLERANCE = Tolerance("float32_reordered", absolute=1e-30, scaled=4e-6)
SENTINEL = 1e30  # what a runtime writes for the maximum of nothing


@dataclass
class Sketch:
    """A model that is being written. Every method returns the name of what it makes."""

    opset: int = 17
    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def input(self, *shape: int | str) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs[name] = shape
        return name

    def weight(self, shape: Sequence[int], low: float = -1.0, high: float = 1.0) -> str:
        """Uniform values."""
        return self.constant(self.random.uniform(low, high, tuple(shape)))

    def constant(self, values: Array) -> str:
        name = f"w{len(self.weights)}"
        values = np.asarray(values)
        self.weights[name] = values.astype(np.float32) if values.dtype == np.float64 else values
        return name

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], **attributes))
        return name

    def graph(self) -> Graph:
        """Its outputs are what `outputs` lists and what nothing reads."""
        read = {name for node in self.nodes for name in node.input}
        made = [name for node in self.nodes for name in node.output]
        names = dict.fromkeys([*self.outputs, *(name for name in made if name not in read)])
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "sketch",
                [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in self.inputs.items()],
                [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
                [numpy_helper.from_array(values, name) for name, values in self.weights.items()],
            ),
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=8,
        )
        return load(onnx.shape_inference.infer_shapes(model, data_prop=True))


def check_equal(before: Graph, after: Graph, feeds: Feeds, what: str) -> None:
    """AssertionError when the graphs do not compute the same, or ``after`` is no valid model."""
    onnx.checker.check_model(to_onnx(after), full_check=True)
    expected, got = _run_whole(before, feeds), _run_whole(after, feeds)
    scale = max(_largest(expected), _largest(got))
    for old, new in zip(before.outputs, after.outputs, strict=True):
        assert old.name == new.name
        TOLERANCE.check(got[new.name], expected[old.name], f"{what}: {old.name}", scale)


def check_rules(rules: Sequence[Rule], graph: Graph, feeds: Feeds, most: int = 60) -> Counter[str]:
    """Fires every rule wherever it may, each alone, and then all in turn until none may.

    Returns how often which rule fired; refusals count under "rule: reason".
    """
    view = look(graph, {name: array.shape for name, array in feeds.items()})
    seen: Counter[str] = Counter()
    for rule, answer in answers(view, rules):
        if isinstance(answer, Refusal):
            seen[f"{rule.name}: {answer.reason}"] += 1
            continue
        seen[rule.name] += 1
        check_equal(graph, look_again(view, answer).graph, feeds, rule.name)
        proof = prove(view, answer)
        assert proof.holds, f"{rule.name}: {proof.reason}"
    fired: list[str] = []
    while step := next(((r, a) for r, a in answers(view, rules) if isinstance(a, Rewrite)), None):
        fired.append(step[0].name)
        assert len(fired) <= most, f"the rules go round in circles: {fired[-8:]}"
        view = look_again(view, step[1])
    if len(fired) > 1:
        check_equal(graph, view.graph, feeds, " and ".join(fired))
    return seen


def _run_whole(graph: Graph, feeds: Feeds) -> dict[str, Array]:
    """Every value that the model computes."""
    model = to_onnx(graph)
    known = {info.name for info in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name and name not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    return run(model, feeds)


def _largest(values: Mapping[str, Array]) -> float:
    usual = [np.abs(array[np.isfinite(array) & (np.abs(array) < SENTINEL)]) for array in values.values()]
    return max(float(array.max(initial=0)) for array in usual)
