"""Which swaps are done: what pays, alone or together, after its proof, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from reconv.errors import ModelError
from reconv.exchange.firing import Firing, State
from reconv.exchange.found import Found
from reconv.exchange.meter import Change, Memory, Operations
from reconv.exchange.rule import Answer, Example, Refusal, Rule
from reconv.exchange.rules import pool_before_conv1x1
from reconv.exchange.search import Search
from reconv.exchange.view import View, look
from reconv.graph import Node, Rewrite, parse

POOL = pool_before_conv1x1.RULE
WEIGHTS = {"w": (4, 6, 1, 1), "b": (4,)}
POOLED = Example(
    """g (float[1, 6, 8, 8] x) => (float[1, 4, 4, 4] y) {
        c = Conv (x, w, b)
        y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    }""",
    WEIGHTS,
)


def _rule(name: str, match: Callable[[View, Node], Answer], *, simplifies: bool = False) -> Rule:
    return replace(POOL, name=name, match=match, simplifies=simplifies)


def _search(example: Example, *rules: Rule, meter: Operations | Memory | None = None) -> Found:
    return Search(rules, meter or Operations()).run(look(example.graph()))


def _types(found: Found) -> list[str]:
    return [node.op_type for node in found.view.graph.nodes]


def test_what_pays_is_done_and_what_does_not_is_not() -> None:
    found = _search(POOLED, POOL)
    assert _types(found) == ["AveragePool", "Conv"]
    assert [fired.rule for fired in found.fired] == [POOL.name]
    assert found.fired[0].removed == ("Conv", "AveragePool")
    assert found.fired[0].margin < 1
    (gain,) = found.gains
    assert (gain.before, gain.after) == (64 * 24 + 4 * 64, 64 * 6 + 16 * 24)


def test_what_does_not_pay_is_declined() -> None:
    """The pooling would see eight channels, and the convolution is next to nothing."""
    example = Example(
        """g (float[1, 8, 8, 8] x) => (float[1, 1, 4, 4] y) {
            c = Conv (x, w)
            y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
        }""",
        {"w": (1, 8, 1, 1)},
    )
    found = _search(example, POOL)
    assert _types(found) == ["Conv", "AveragePool"]
    assert not found.fired
    (declined,) = found.declined
    assert declined.after >= declined.before
    assert not found.gains


def test_refusals_are_told() -> None:
    found = _search(next(iter(POOL.refused.values())), POOL)
    assert [refused.rule for refused in found.refused] == [POOL.name]


def _wrong(view: View, node: Node) -> Answer:
    """Takes one away from the bias."""
    if node.op_type != "Conv" or view.constant(node.inputs[2]) is None:
        return None
    bias = view.graph.constants[node.inputs[2]]
    if bias.sum() < -1000:
        return None
    name = view.fresh("bias")
    new = replace(node, name=view.fresh("conv"), inputs=(*node.inputs[:2], name))
    return Rewrite((node,), (new,), {name: (bias - 1).astype(np.float32)})


def test_a_wrong_rule_is_a_bug_and_is_not_done() -> None:
    found = _search(POOLED, _rule("wrong", _wrong, simplifies=True))
    assert not found.fired
    (bug,) = found.bugs
    assert bug.rule == "wrong"
    assert bug.reason
    assert _types(found) == ["Conv", "AveragePool"]


def test_a_wrong_swap_that_would_pay_is_not_done() -> None:
    def match(view: View, node: Node) -> Answer:
        answer = POOL.match(view, node)
        if not isinstance(answer, Rewrite):
            return answer
        pool, conv = answer.after
        wrong = replace(pool, op_type="MaxPool")
        return Rewrite(answer.before, (wrong, conv))

    found = _search(POOLED, _rule("wrong", match))
    assert not found.fired
    assert [bug.rule for bug in found.bugs] == ["wrong"]


def test_a_rewrite_that_does_not_fit_is_a_bug() -> None:
    def match(_view: View, node: Node) -> Answer:
        return Rewrite((node,), ()) if node.op_type == "Conv" else None

    found = _search(POOLED, _rule("loses the result", match, simplifies=True))
    assert "loses" in found.bugs[0].reason


def test_rules_that_undo_one_another_come_to_an_end() -> None:
    def there(view: View, node: Node) -> Answer:
        return _as(view, node, "Neg", "Abs", "Abs")

    def back(view: View, node: Node) -> Answer:
        return _as(view, node, "Abs", "Neg", "Neg")

    def _as(view: View, node: Node, old: str, new: str, _: str) -> Answer:
        if node.op_type != old:
            return None
        return Rewrite((node,), (view.node(new, node.inputs, node.outputs),))

    example = Example("g (float[2] x) => (float[2] y) { y = Neg (x) }")
    rules = [_rule("there", there, simplifies=True), _rule("back", back, simplifies=True)]
    found = _search(example, *rules)  # each is wrong, so that none is done
    assert len(found.bugs) == 1

    def same(view: View, node: Node) -> Answer:
        return _as(view, node, "Neg", "Neg", "")

    with pytest.raises(ModelError, match="do not come to an end"):
        _search(example, _rule("for ever", same, simplifies=True))


def _split(view: View, node: Node) -> Answer:
    """y = x * k as (x * k1) * k2: more work, unless `_gather` follows."""
    if node.op_type != "Mul" or view.constant(node.inputs[1]) is None or "half" in node.inputs[1]:
        return None
    half, between = view.fresh("half"), view.fresh("between")
    first = view.node("Mul", (node.inputs[0], half), between)
    second = view.node("Mul", (between, half), node.outputs)
    return Rewrite(
        (node,),
        (first, second),
        {half: np.sqrt(view.graph.constants[node.inputs[1]].astype(np.float64)).astype(np.float32)},
    )


def _gather(view: View, node: Node) -> Answer:
    """(x * h) * h back as x * x-free single Mul with h^2."""
    below = view.producer(node.inputs[0]) if node.op_type == "Mul" else None
    if (
        below is None
        or below.op_type != "Mul"
        or view.constant(node.inputs[1]) is None
        or view.only_reader(below.outputs[0]) is None
    ):
        return None
    if node.inputs[1] != below.inputs[1]:
        return Refusal("other factors")
    name = view.fresh("whole half")
    new = view.node("Mul", (below.inputs[0], name), node.outputs)
    square = (view.graph.constants[node.inputs[1]].astype(np.float64) ** 2).astype(np.float32)
    return Rewrite((below, node), (new,), {name: square})


def test_swaps_that_undo_one_another_are_not_done() -> None:
    example = Example(
        "g (float[1, 6, 8, 8] x) => (float[1, 6, 8, 8] y) { y = Mul (x, k) }", {"k": np.full(1, 4, np.float32)}
    )
    found = _search(example, _rule("split", _split), _rule("gather", _gather))
    assert not found.fired


def _times_one(view: View, node: Node) -> Answer:
    """A convolution of x * 1: allowed, and more work."""
    if node.op_type != "Conv" or _multiplied(view):
        return None
    one, between = view.fresh("one"), view.fresh("between")
    first = view.node("Mul", (node.inputs[0], one), between)
    second = replace(node, name=view.fresh("conv"), inputs=(between, *node.inputs[1:]))
    return Rewrite((node,), (first, second), {one: np.ones(1, np.float32)})


def _multiplied(view: View) -> bool:
    return any(node.op_type == "Mul" for node in view.graph.nodes)


class _Fooled(Operations):
    """Of a part alone two swaps seem to gain more than one; whether they do in the whole model is another thing."""

    def __init__(self, fewer: bool) -> None:
        self.fewer = fewer

    def change(self, old: View, new: View) -> Change | None:
        pooled = new.graph.nodes[-1].op_type == "Conv" and old.graph.nodes[-1].op_type != "Conv"
        return Change(100.0, 100.0 - 10.0 * pooled * (1 + 0.5 * _multiplied(new)))

    def agrees(self, old: View, new: View, gain: float) -> bool:
        return True

    def prefers(self, first: View, second: View) -> bool:
        return self.fewer and _multiplied(first) and not _multiplied(second)


@pytest.mark.parametrize(("fewer", "types"), [(True, ["AveragePool", "Conv"]), (False, ["Mul", "AveragePool", "Conv"])])
def test_fewer_swaps_that_do_better_in_the_whole_model_are_done(fewer: bool, types: list[str]) -> None:
    rules = [_rule("times one", _times_one), POOL]
    found = Search(rules, _Fooled(fewer)).run(look(POOLED.graph()))
    assert _types(found) == types


def test_memory_is_a_cost_too() -> None:
    found = _search(POOLED, POOL, meter=Memory())
    assert _types(found) == ["AveragePool", "Conv"]
    assert found.gains[0].after < found.gains[0].before


def test_several_firings_of_one_rule_are_done_together() -> None:
    example = Example(
        """g (float[1, 6, 8, 8] x) => (float[1, 4, 2, 2] y) {
            c = Conv (x, w, b)
            p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
            d = Conv (p, v)
            y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (d)
        }""",
        {**WEIGHTS, "v": (4, 4, 1, 1)},
    )
    found = _search(example, POOL)
    assert len(found.fired) == 3  # the second pooling passes both convolutions
    assert _types(found) == ["AveragePool", "AveragePool", "Conv", "Conv"]


def test_the_simplified_model_is_given_too() -> None:
    def drop(view: View, node: Node) -> Answer:
        if node.op_type != "Identity":
            return None
        reader = view.only_reader(node.outputs[0])
        if reader is None:
            return None
        inputs = tuple(node.inputs[0] if name == node.outputs[0] else name for name in reader.inputs)
        return Rewrite((node, reader), (replace(reader, name=view.fresh(reader.name), inputs=inputs),))

    example = Example(POOLED.text.replace("c = Conv (x", "i = Identity (x) c = Conv (i"), WEIGHTS)
    found = _search(example, _rule("drop", drop, simplifies=True), POOL)
    assert [node.op_type for node in found.simplified.graph.nodes] == ["Conv", "AveragePool"]
    assert _types(found) == ["AveragePool", "Conv"]
    assert [fired.rule for fired in found.fired] == ["drop", POOL.name]


def test_a_node_with_a_body_is_left_alone() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { y = Neg (x) }", {})
    found = Search([POOL], Operations()).run(look(graph))
    assert found.view.graph is graph


@pytest.mark.parametrize(
    "mistake", [ValueError("bad axes"), IndexError("no input 2"), KeyError("perm"), TypeError("str")]
)
def test_a_node_that_a_rule_trips_over_is_left_alone(mistake: Exception) -> None:
    def match(_view: View, _node: Node) -> Answer:
        raise mistake

    found = _search(POOLED, _rule("trips", match), POOL)
    assert "do not fit" in found.refused[0].reason
    assert _types(found) == ["AveragePool", "Conv"]


def test_time_that_is_up_ends_the_search() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    view = look(POOLED.graph())
    early = Search([POOL], Operations(), seconds=2.5, clock=clock).run(view)
    assert not early.complete
    assert not early.fired
    assert Search([POOL], Operations()).run(view).complete


def test_the_same_nodes_in_another_context_are_proved_anew() -> None:
    """What a rule puts in depends on what stands around it: here on whether a Relu has been taken away."""

    def drop(view: View, node: Node) -> Answer:
        if node.op_type != "Relu":
            return None
        return Rewrite((node,), (view.node("Identity", node.inputs, node.outputs),))

    def by_context(view: View, node: Node) -> Answer:
        if node.op_type != "Mul":
            return None
        right = any(other.op_type == "Relu" for other in view.graph.nodes)
        name = view.fresh("factor")
        factor = view.graph.constants[node.inputs[1]] * np.float32(1 if right else 1.5)
        made = view.node("Mul", (node.inputs[0], name), node.outputs)
        return Rewrite((node,), (made,), {name: factor})

    firing = Firing([])
    example = Example("g (float[4] x) => (float[4] y, float[4] z) { z = Relu (x) y = Mul (x, k) }", {"k": (1,)})
    state = State(look(example.graph()))
    relu, mul = state.view.graph.nodes
    rule = _rule("by context", by_context)
    assert firing.fire(state, rule, mul, proved=True) is not None
    there = firing.fire(state, _rule("drop", drop), relu, proved=False)
    assert there is not None
    assert firing.fire(there, rule, mul, proved=True) is None
    assert [bug.rule for bug in firing.bugs.values()] == ["by context"]


def test_rewrites_that_meet_are_not_done_in_one_go() -> None:
    """Each takes its node and the one before: of three in a row, two."""

    def pair(view: View, node: Node) -> Answer:
        below = view.producer(node.inputs[0])
        if node.op_type != "Neg" or below is None or below.op_type != "Neg":
            return None
        return Rewrite((below, node), (view.node("Identity", below.inputs, node.outputs),))

    example = Example("g (float[4] x) => (float[4] y) { a = Neg (x) b = Neg (a) c = Neg (b) y = Neg (c) }")
    found = _search(example, _rule("pair", pair, simplifies=True))
    assert _types(found) == ["Identity", "Identity"]
    assert len(found.fired) == 2
