"""The prover against a second float64 evaluation: it objects to what is wrong and to nothing that is right.

The judge is ONNX's own reference implementation run on doubles: other code than the prover's, other inputs (normal,
negative, large, zero but for the border, a constant), at the sizes of the model. A rewrite is *wrong* when for one of
these inputs a result differs, anywhere, by more than 100 units of float32 rounding (2^-24) of the largest magnitude in
that result, or has another shape, or cannot be computed. What is less wrong than that is *harmless*, and the prover is
free to say either.

Beside it are rewrites of which one channel is far smaller than the others: there the judge measures each channel by its
own largest magnitude.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from reconv.exchange.proof import prove
from reconv.exchange.rules import RULES
from reconv.graph import Node
from tests.oracle.rewrites import HARMS, Firing, example, firings, model, refused, small_channels
from tests.oracle.unguarded import by_hand

Array = np.ndarray[Any, Any]
UNITS = 100
WRONG = 1000


def _proto(node: Node) -> onnx.NodeProto:
    plain = {k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in node.attributes.items()}
    return helper.make_node(node.op_type, node.inputs, node.outputs, domain=node.domain, **plain)


class ConvTranspose(OpRun):
    """In the place of onnx's own, which cannot do groups: every input pixel times every tap, put where it lands."""

    op_domain = ""

    def _run(self, x: Array, w: Array, b: Array | None = None, **given: Any) -> tuple[Array]:
        space = x.ndim - 2
        s, d = (tuple(given.get(key) or (1,) * space) for key in ("strides", "dilations"))
        pads, more = given.get("pads") or (0,) * (2 * space), given.get("output_padding") or (0,) * space
        groups = int(given.get("group") or 1)
        if given.get("output_shape") or given.get("auto_pad") not in (None, "NOTSET", b"NOTSET"):
            raise NotImplementedError
        reach = [(k - 1) * d[at] + 1 for at, k in enumerate(w.shape[2:])]
        whole = [(n - 1) * s[at] + reach[at] + more[at] for at, n in enumerate(x.shape[2:])]
        y = np.zeros((x.shape[0], groups * w.shape[1], *whole))
        ins, outs = x.shape[1] // groups, w.shape[1]
        for group in range(groups):
            channels, results = slice(group * ins, (group + 1) * ins), slice(group * outs, (group + 1) * outs)
            for pixel in np.ndindex(*x.shape[2:]):
                for tap in np.ndindex(*w.shape[2:]):
                    at = tuple(p * s[i] + t * d[i] for i, (p, t) in enumerate(zip(pixel, tap, strict=True)))
                    term = x[(slice(None), channels, *pixel)] @ w[(channels, slice(None), *tap)]
                    y[(slice(None), results, *at)] += term
        kept = tuple(slice(pads[at], n - pads[at + space]) for at, n in enumerate(whole))
        y = y[(slice(None), slice(None), *kept)]
        return (y if b is None else y + b.reshape(-1, *(1,) * space),)


class Side:
    """One side of a rewrite, by the reference implementation on doubles."""

    def __init__(self, firing: Firing, nodes: Sequence[Node], constants: Mapping[str, Array]) -> None:
        known = {**firing.view.graph.constants, **constants}
        made = {name for node in nodes for name in node.outputs}
        self.reads = [name for name in dict.fromkeys(n for node in nodes for n in node.reads) if name not in made]
        self.constants = {n: _double(known[n]) for n in self.reads if n in known}
        self.outputs = [name for name in firing.rewrite.outputs if name in made]
        graph = helper.make_graph(
            [_proto(node) for node in nodes],
            "side",
            [onnx.ValueInfoProto(name=name) for name in self.reads],
            [onnx.ValueInfoProto(name=name) for name in self.outputs],
        )
        built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", firing.view.opset)])
        self._run = ReferenceEvaluator(built, new_ops=[ConvTranspose]).run

    def __call__(self, feeds: Mapping[str, Array]) -> list[Array]:
        values = {**feeds, **self.constants}
        with np.errstate(all="ignore"):
            return [np.asarray(a) for a in self._run(None, {name: values[name] for name in self.reads})]


def _double(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array


@cache
def _inputs(seed: int, shape: tuple[int, ...]) -> tuple[Array, ...]:
    random = np.random.default_rng(seed)
    normal = random.standard_normal(shape)
    border = normal.copy()
    if len(shape) > 2:
        border[(slice(None), slice(None), *(slice(1, -1),) * (len(shape) - 2))] = 0
    constant = np.broadcast_to(random.standard_normal((1, *shape[1:2], *(1,) * (len(shape) - 2))), shape)
    return normal, -np.abs(normal), normal * 3e3, border, constant


class Judge:
    """How far another new side is from the old one, in units of float32 rounding of the largest magnitude."""

    def __init__(self, firing: Firing, *, by_channel: bool = False) -> None:
        self.firing = firing
        self.by_channel = by_channel
        view, rewrite = firing.view, firing.rewrite
        names = [n for n in rewrite.reads if n not in view.graph.constants]
        shapes = {n: tuple(s or 2 for s in view.sizes[n]) for n in names}
        drawn = {n: _inputs(at, shape) for at, (n, shape) in enumerate(shapes.items())}
        self.feeds = [{n: drawn[n][kind] for n in names} for kind in range(5)]
        old = Side(firing, rewrite.before, {})
        self.expected = [old(feeds) for feeds in self.feeds]

    def units(self, after: Sequence[Node], constants: Mapping[str, Array]) -> float:
        worst = 0.0
        try:
            side = Side(self.firing, after, constants)
            for feeds, expected in zip(self.feeds, self.expected, strict=True):
                for old, new in zip(expected, side(feeds), strict=True):
                    if old.shape != new.shape or old.dtype != new.dtype:
                        return float("inf")
                    parts = [(old, new)]
                    if self.by_channel:
                        parts = [(old[:, at], new[:, at]) for at in range(old.shape[1])]
                    worst = max([worst, *(_distance(*part) for part in parts)])
        except Exception:  # it raises whatever numpy raises
            return float("inf")
        return worst


def _distance(old: Array, new: Array) -> float:
    if old.dtype.kind != "f":
        return 0.0 if np.array_equal(old, new) else float("inf")
    if not np.array_equal(np.isnan(old), np.isnan(new)):
        return float("inf")
    difference = float(np.nan_to_num(np.abs(old - new)).max(initial=0.0))
    return difference / max(float(np.nan_to_num(np.abs(old)).max(initial=0.0)), 1e-300) * 2**24


@cache
def _right() -> tuple[Firing, ...]:
    """Everything that the rules do to their own examples and to generated models."""
    random = np.random.default_rng(11)
    found = []
    for rule in RULES:
        for _ in range(2):
            found += list(firings(example(rule.example, random)))
    for view in refused(random):
        found += list(firings(view))
    while len(found) < 400:
        found += list(firings(model(random)))
    return tuple(found)


def test_right_rewrites_hold() -> None:
    objections = []
    rules = Counter(firing.name for firing in _right())
    for firing in _right():
        proof = prove(firing.view, firing.rewrite)
        if not proof.holds:
            objections.append(f"{firing.name}: {proof.reason}")
    assert not objections, "\n".join(objections)
    assert set(rules) == {rule.name for rule in RULES}
    assert sum(rules.values()) >= 300


def test_the_judge_finds_right_rewrites_right() -> None:
    """Otherwise a wrong judge would make the next test easy."""
    for firing in _right()[::5]:
        units = Judge(firing).units(firing.rewrite.after, firing.rewrite.constants)
        assert units <= UNITS, f"{firing.name}: {units:.3g} units"


def test_wrong_rewrites_are_objected_to(record_testsuite_property: Callable[[str, object], None]) -> None:
    random = np.random.default_rng(5)
    wrong: Counter[str] = Counter()
    harmless: Counter[str] = Counter()
    missed, close = [], []

    def judge(kind: str, firing: Firing, judged: Judge, after: Sequence[Node], constants: Mapping[str, Array]) -> None:
        rewrite = type(firing.rewrite)(firing.rewrite.before, tuple(after), constants)
        units = judged.units(after, constants)
        if units <= UNITS:
            harmless[kind] += 1
            return
        wrong[kind] += 1
        close.append(units < 100 * UNITS)
        if prove(firing.view, rewrite).holds:
            missed.append(f"{kind} of {firing.name}: {units:.4g} units")

    for _ in range(2):
        for firing in by_hand(random):
            judge(firing.name, firing, Judge(firing), firing.rewrite.after, firing.rewrite.constants)
    by_hand_too_right = set(harmless) - set(wrong)
    assert not by_hand_too_right, f"not wrong at all: {by_hand_too_right}"

    every = _right()
    judges: dict[int, Judge] = {}
    harms = cycle(HARMS)
    while wrong.total() < WRONG:
        harm = next(harms)
        while True:
            at = int(random.integers(len(every)))
            changed = harm(every[at], random)
            if changed is not None:
                break
        if at not in judges:
            judges[at] = Judge(every[at])
        judge(harm.__name__, every[at], judges[at], changed.after, changed.constants)
    counts = (
        f"{wrong.total()} wrong, {sum(close)} of them by less than {100 * UNITS} units, {harmless.total()} harmless"
    )
    record_testsuite_property("rewrites", f"{counts}, {len(missed)} missed")
    assert not missed, f"{counts}, {len(missed)} missed:\n" + "\n".join(missed)
    assert all(wrong[harm.__name__] > 50 for harm in HARMS), wrong
    assert sum(close) > 50  # not all of them are wrong at first sight
    assert harmless.total() < wrong.total(), harmless


def test_what_is_wrong_in_a_small_channel_is_objected_to() -> None:
    random = np.random.default_rng(17)
    wrong: Counter[str] = Counter()
    for _ in range(6):
        for right, harmed in small_channels(random):
            judge = Judge(right, by_channel=True)
            assert judge.units(right.rewrite.after, right.rewrite.constants) <= UNITS, right.name
            assert prove(right.view, right.rewrite).holds, right.name
            if judge.units(harmed.after, harmed.constants) > UNITS:
                wrong[right.name] += 1
                assert not prove(right.view, harmed).holds, f"{right.name} is missed"
    assert len(wrong) > 8
    assert min(wrong.values()) >= 4, wrong
