"""Models around the patterns of the batch norm rules: whatever fires keeps the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from reconv.exchange.rule import Rule
from reconv.exchange.rules import RULES, affine_into_layer_after, affine_into_layer_before, folding, pool_before_affine
from reconv.exchange.rules import scale_down_through_relu as down
from reconv.exchange.rules import scale_up_through_relu as up
from reconv.exchange.rules.convolution import Convolution
from tests.property.exchange_drawn import case, models
from tests.property.exchange_sketch import Case, Sketch, check_rules
from tests.property.profiles import SCALE, examples

FAMILY = tuple(rule for rule in RULES if rule.family == "batch norm")
FIRES = {  # what has to fire in some model of the pattern
    "conv affine": "batch norm into the layer before",
    "transposed affine": "batch norm into the layer before",
    "affine conv": "batch norm into the layer after",
    "affine transposed": "batch norm into the layer after",
    "affine affine": "two batch norms as one",
    "affine affine conv": "two batch norms as one",
    "scale shift padded": "scale past a shift",
    "conv rectifier scale": "scale up through relu",
    "conv rectifier affine": "scale up through relu",
    "scale rectifier conv": "scale down through relu",
    "affine rectifier conv": "scale down through relu",
    "norm rectifier pointwise": "batch norm around relu",
    "affine mean": "pool before batch norm",
    "affine max": "pool before batch norm",
    "conv rectifier affine max padded": "pool before batch norm",
}


def test_every_rule_has_a_pattern() -> None:
    assert {rule.name for rule in FAMILY} == set(FIRES.values())


@pytest.mark.parametrize("pattern", FIRES)
def test_whatever_fires_keeps_the_result(pattern: str) -> None:
    seen: Counter[str] = Counter()

    @examples(20)
    @given(models(pattern, tuple(FIRES)))
    def check(drawn: Case) -> None:
        seen.update(check_rules(FAMILY, *drawn))

    check()
    assert seen[FIRES[pattern]] or SCALE < 1, seen


def _sketch(*, positive: bool = True) -> tuple[Sketch, str, tuple[str, ...]]:
    """A sketch, its input of 4 channels, and the names of a batch norm's weights."""
    s = Sketch(seed=5)
    x = s.input(1, 4, 9, 9)
    low, high = (0.5, 2.0) if positive else (-2.0, -0.5)
    return s, x, (s.weight((4,), low, high), s.weight((4,), 0.5, 1), s.weight((4,)), s.weight((4,), 0.5, 2))


def _norm_padded_conv() -> Sketch:
    s, x, norm = _sketch()
    s.add("Conv", s.add("BatchNormalization", x, *norm), s.weight((3, 4, 3, 3)), pads=[0, 0, 1, 0])
    return s


def _norm_max_pool() -> Sketch:
    s, x, norm = _sketch(positive=False)
    s.add("MaxPool", s.add("BatchNormalization", x, *norm), kernel_shape=[2, 2], strides=[2, 2])
    return s


def _norm_counted_pool() -> Sketch:
    s, x, norm = _sketch()
    pads = {"pads": [1, 1, 1, 1], "count_include_pad": 1}
    s.add("AveragePool", s.add("BatchNormalization", x, *norm), kernel_shape=[3, 3], strides=[2, 2], **pads)
    return s


def _conv_relu_norm() -> Sketch:
    s, x, norm = _sketch(positive=False)
    s.add("BatchNormalization", s.add("Relu", s.add("Conv", x, s.weight((4, 4, 1, 1)))), *norm)
    return s


def _norm_relu_conv() -> Sketch:
    s, x, norm = _sketch(positive=False)
    s.add("Conv", s.add("Relu", s.add("BatchNormalization", x, *norm)), s.weight((3, 4, 1, 1)))
    return s


NO_PADS = (Convolution, "padded", property(lambda self: False))
ANY_POOL = (pool_before_affine, "_differs", lambda pool, affine: None)


@pytest.mark.parametrize(
    ("sketch", "rule", "guard"),
    [
        (_norm_padded_conv, affine_into_layer_after.RULE, NO_PADS),
        (_norm_max_pool, pool_before_affine.RULE, ANY_POOL),
        (_norm_counted_pool, pool_before_affine.RULE, ANY_POOL),
        (_conv_relu_norm, up.RULE, (up, "passes", lambda affine: None)),
        (_norm_relu_conv, down.RULE, (down, "passes", lambda affine: None)),
    ],
)
def test_a_rule_without_its_guard_is_seen(
    sketch: Callable[[], Sketch], rule: Rule, guard: tuple[Any, str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, feeds = case(sketch(), (1, 4, 9, 9))
    assert not check_rules([rule], graph, feeds)[rule.name]
    monkeypatch.setattr(*guard)
    with pytest.raises(AssertionError, match=f"{rule.name}: v.*values differ"):
        check_rules([rule], graph, feeds)


def test_a_perturbed_weight_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    s, x, norm = _sketch()
    s.add("BatchNormalization", s.add("Conv", x, s.weight((4, 4, 3, 3))), *norm)
    graph, feeds = case(s, (1, 4, 9, 9))
    fold = affine_into_layer_before.RULE
    assert check_rules([fold], graph, feeds)[fold.name] == 1
    monkeypatch.setattr(folding, "rounded", lambda values: (values + 1e-3).astype(np.float32))
    with pytest.raises(AssertionError, match="values differ"):
        check_rules([fold], graph, feeds)
