"""Models around the patterns of the pooling rules: whatever fires keeps the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from reconv.exchange.rule import Rule
from reconv.exchange.rules import conv1x1_before_pool, max_pool_before_activation, pool_before_conv1x1
from reconv.exchange.rules.pooling import Pool
from tests.property.exchange_drawn import case, models
from tests.property.exchange_sketch import Case, Sketch, check_rules
from tests.property.profiles import SCALE, examples

FAMILY = (max_pool_before_activation.RULE, pool_before_conv1x1.RULE, conv1x1_before_pool.RULE)
FIRES = {  # what has to fire in some model of the pattern
    "smooth pointwise": "conv1x1 before pool",
    "mean conv1x1": "conv1x1 before pool",
    "pointwise mean": "pool before conv1x1",
    "conv1x1 mean": "pool before conv1x1",
    "activation max": "max pool before activation",
    "conv1x1 activation max": "max pool before activation",
    "activation pool": "max pool before activation",
}


@pytest.mark.parametrize("pattern", FIRES)
def test_whatever_fires_keeps_the_result(pattern: str) -> None:
    seen: Counter[str] = Counter()

    @examples(35)
    @given(models(pattern, tuple(FIRES)))
    def check(drawn: Case) -> None:
        seen.update(check_rules(FAMILY, *drawn))

    check()
    assert seen[FIRES[pattern]] or SCALE < 1, seen


def _sketch() -> tuple[Sketch, str]:
    s = Sketch(seed=3)
    return s, s.input(1, 4, 5, 5)


def _swish() -> Sketch:
    s, x = _sketch()
    s.add("MaxPool", s.add("HardSwish", x), kernel_shape=[2, 2], strides=[2, 2])
    return s


def _empty_window() -> Sketch:
    s, x = _sketch()
    s.add("MaxPool", s.add("Relu", x), kernel_shape=[2, 2], strides=[2, 2], dilations=[6, 6], pads=[1, 1, 1, 1])
    return s


def _counted(order: str, stride: int) -> Sketch:
    s, y = _sketch()
    for op in order.split():
        if op == "Conv":
            y = s.add(op, y, s.weight((2, 4, 1, 1)), s.weight((2,), 0.5, 1))
        else:
            pads = {"pads": [1, 1, 1, 1], "count_include_pad": 1}
            y = s.add(op, y, kernel_shape=[3, 3], strides=[stride, stride], **pads)
    return s


@pytest.mark.parametrize(
    ("sketch", "rule", "guard"),
    [
        (_swish, max_pool_before_activation.RULE, (max_pool_before_activation, "_rises", lambda view, f: True)),
        (_empty_window, max_pool_before_activation.RULE, (Pool, "empty_window", property(lambda self: False))),
        (
            lambda: _counted("Conv AveragePool", 2),
            pool_before_conv1x1.RULE,
            (pool_before_conv1x1, "unequal", lambda pool: None),
        ),
        (
            lambda: _counted("AveragePool Conv", 1),
            conv1x1_before_pool.RULE,
            (conv1x1_before_pool, "unequal", lambda pool: None),
        ),
    ],
)
def test_a_rule_without_its_guard_is_seen(
    sketch: Callable[[], Sketch], rule: Rule, guard: tuple[Any, str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, feeds = case(sketch(), (1, 4, 5, 5))
    check_rules([rule], graph, feeds)
    monkeypatch.setattr(*guard)
    with pytest.raises(AssertionError, match=f"{rule.name}: v.*values differ"):
        check_rules([rule], graph, feeds)
