"""Every rule of the table: its example fires, its counter-examples are refused with the reason, the result is equal."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from reconv.exchange.rule import Refusal, Rule
from reconv.exchange.rules import RULES
from reconv.exchange.view import View, look, look_again
from reconv.graph import Rewrite, to_onnx

CASES = [pytest.param(rule, id=rule.name) for rule in RULES]
REFUSALS = [pytest.param(rule, reason, id=f"{rule.name}: {reason}") for rule in RULES for reason in rule.refused]


def _answers(rule: Rule, view: View) -> list[Rewrite | Refusal]:
    return [answer for node in view.graph.nodes if (answer := rule.match(view, node)) is not None]


def _run(model: onnx.ModelProto, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {
        i.name: random.standard_normal([n if isinstance(n, int) else 2 for n in i.shape]).astype(np.float32)
        for i in session.get_inputs()
    }
    return list(session.run(None, feeds))


def test_names_are_unique() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", CASES)
def test_the_example_fires_and_keeps_the_result(rule: Rule) -> None:
    view = look(rule.example.graph())
    fired = [answer for answer in _answers(rule, view) if isinstance(answer, Rewrite)]
    assert fired
    after = look_again(view, fired[0])
    before, changed = to_onnx(view.graph), to_onnx(after.graph)
    onnx.checker.check_model(changed, full_check=True)
    assert [o.name for o in before.graph.output] == [o.name for o in changed.graph.output]
    for seed in range(3):
        for old, new in zip(_run(before, seed), _run(changed, seed), strict=True):
            assert old.shape == new.shape
            assert old.dtype == new.dtype
            scale = max(float(np.abs(old).max()), 1.0)
            np.testing.assert_allclose(new, old, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize("rule", CASES)
def test_the_graph_it_was_given_does_not_change(rule: Rule) -> None:
    view = look(rule.example.graph())
    before = to_onnx(view.graph).SerializeToString(deterministic=True)
    for answer in _answers(rule, view):
        if isinstance(answer, Rewrite):
            look_again(view, answer)
    assert to_onnx(view.graph).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("rule", CASES)
def test_the_swap_is_documented(rule: Rule) -> None:
    assert "⇒" in rule.swap
    assert rule.refused
    assert rule.match.__module__.startswith("reconv.exchange.rules.")


@pytest.mark.parametrize(("rule", "reason"), REFUSALS)
def test_counter_examples_are_refused(rule: Rule, reason: str) -> None:
    answers = _answers(rule, look(rule.refused[reason].graph()))
    assert not [answer for answer in answers if isinstance(answer, Rewrite)]
    assert any(isinstance(answer, Refusal) and reason in answer.reason for answer in answers), answers
