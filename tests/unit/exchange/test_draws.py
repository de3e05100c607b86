"""Inputs that a proof draws: every channel gets its pixels, the border too, and every kind is what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.exchange.border import Border
from reconv.exchange.draws import draws
from reconv.exchange.view import look
from reconv.graph import Node, Rewrite, parse


def _drawn(shape: tuple[int, ...], *, few: bool = False) -> dict[str, np.ndarray]:
    text = f"g (float[{', '.join(map(str, shape))}] x) => (float y) {{ y = Relu (x) }}"
    view = look(parse(text, {}, 17))
    border = Border(view, Rewrite(view.graph.nodes, (Node("n", "Relu", "", ("x",), ("y",)),)))
    return {word: values["x"] for word, values in draws(border, {"x": shape}, np.random.default_rng(1), few)}


@pytest.mark.parametrize(
    "shape", [(1, 8, 9, 7), (1, 300, 6, 6), (2, 40, 11), (1, 5, 3, 4, 5), (3, 16), (7,), (1, 4, 1, 1)]
)
def test_single_pixels_reach_every_channel(shape: tuple[int, ...]) -> None:
    drawn = _drawn(shape)
    impulses = [a for word, a in drawn.items() if word.startswith("impulses")]
    assert len(impulses) >= 2
    together = sum(np.abs(a) for a in impulses)
    if len(shape) > 1:
        assert (together.reshape(shape[0], shape[1], -1).max(axis=2).max(axis=0) > 0).all()
    for a in impulses:
        assert a.shape == shape
        assert a.any()
        assert len(shape) < 2 or np.count_nonzero(a) <= shape[0] * shape[1]


def test_single_pixels_are_inside_and_on_the_border() -> None:
    drawn = _drawn((1, 64, 9, 7))
    at = np.abs(drawn["impulses 0"]).sum(axis=(0, 1))
    assert at[1:-1, 1:-1].any()
    assert at[0].any()
    assert at[-1].any()
    assert at[:, 0].any()
    assert at[:, -1].any()


def test_kinds_are_what_they_are_called() -> None:
    drawn = _drawn((1, 6, 9, 7))
    assert drawn["negative"].max() <= 0
    assert drawn["positive"].min() == 0
    assert np.abs(drawn["large"]).max() > 1e3
    assert np.abs(drawn["tiny"]).max() < 1e-3
    assert np.ptp(drawn["constant"], axis=(2, 3)).max() == 0
    assert np.ptp(drawn["constant"]) > 0
    assert all(a.dtype == np.float32 for a in drawn.values())


def test_later_sizes_get_fewer() -> None:
    assert 2 < len(_drawn((1, 6, 9, 7), few=True)) < len(_drawn((1, 6, 9, 7)))
