"""The proof of one firing: both sides in float64 on many inputs, equal within the rounding of the new constants.

Constants of the model count as exact, those that a rewrite brings as rounded once to float32. What these roundings can
do to an output is estimated beside the output (`reconv.exchange.float64.value`): with e the standard deviation of
the error in units of u = 2^-24, an element y may differ by

    8 u (e + |y|) + what float64 itself rounds

where the term in |y| is for one rounded number that multiplies a whole sum. A rewrite that brings no rounded number has
to agree to the accuracy of float64. Integers have to be equal. Zeros of either sign are equal: sums in another order
give either.

An operator that the evaluator does not know is a function of which nothing is known but that equal inputs give equal
results (`reconv.exchange.unknown`).

A proof on drawn inputs is not one in logic: what it refutes is wrong, and what it lets pass is right on inputs that are
negative, large, tiny and constant, on single pixels of every channel, at corners and borders, and on real activations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.errors import ModelError, one_line
from reconv.exchange.border import Border
from reconv.exchange.draws import draws
from reconv.exchange.float64 import SPREAD, UNIT, UnknownOperatorError, Value, evaluate, exact, rounded
from reconv.exchange.same import same_expression
from reconv.exchange.unknown import Unknowns
from reconv.exchange.view import View
from reconv.graph import Rewrite

__all__ = ["Proof", "prove"]

Array = np.ndarray[Any, Any]
SEED = 4
_UNDERFLOW = float(np.finfo(np.float64).tiny)  # below it, roundings do not shrink any further
ENOUGH = 0.25  # of a result has to be finite for one of the inputs: NaN equals NaN, but proves nothing


@dataclass(frozen=True)
class Proof:
    """Whether a rewrite keeps the result.

    worst: the largest difference over its tolerance, infinite where nothing could be compared. reason: why it does
    not hold, ``""`` where it does. cases: inputs on which both sides were compared, 0 where they are one expression.
    evaluated: False where nothing is known to be wrong, but nothing could be compared either: an operator or a size is
    not known, maps are too large for the memory, or no result is a finite number.
    """

    holds: bool
    worst: float
    reason: str
    cases: int
    evaluated: bool = True


@dataclass(eq=False)
class _Trial:
    """Both sides of a rewrite, and what comparing them has shown so far."""

    border: Border
    fixed: Mapping[str, Value]  # constants
    worst: float = 0.0
    cases: int = 0
    reason: str = ""
    stuck: str = ""  # why the old side could not be evaluated
    known: bool = True  # whether all operators of the new side are
    finite: float = 0.0  # the largest part of a result that was a number

    def run(self, word: str, feeds: Mapping[str, Array]) -> bool:
        """Compare both sides on these inputs; whether to go on."""
        rewrite, opset = self.border.rewrite, self.border.view.opset
        given = {**self.fixed, **{name: exact(array) for name, array in feeds.items()}}
        unknowns = Unknowns(self.border.view, frozenset(name for node in rewrite.before for name in node.inputs))
        try:
            before = evaluate(rewrite.before, given, opset, unknowns.first)
        except ModelError as error:
            self.stuck = str(error)
            return True  # the model does not run at these sizes either, or another size may do
        sizes = ", ".join("x".join(map(str, array.shape)) for array in feeds.values())
        where = f"on {word} inputs of {sizes}"
        try:
            after = evaluate(rewrite.after, given, opset, unknowns.again)
        except ModelError as error:
            self.known = not isinstance(error, UnknownOperatorError)
            self.reason, self.worst = f"{where} the new side fails: {error}", float("inf")
            return False
        self.cases += 1
        for name in rewrite.outputs:
            if name not in before or name not in after:
                self.reason, self.worst = f"{name!r} cannot be evaluated", float("inf")
                return False
            worst, reason = _compare(before[name], after[name])
            self.worst = max(self.worst, worst)
            if before[name].array.size:
                self.finite = max(self.finite, float(np.isfinite(before[name].array).mean()))
            if reason:
                self.reason = f"{name!r} {reason} {where}"
                return False
        return True


def prove(view: View, rewrite: Rewrite, feeds: Sequence[Mapping[str, Array]] = ()) -> Proof:
    """Whether both sides of a rewrite give the same result.

    Args:
        view: the graph before the rewrite.
        rewrite: what is to be proved.
        feeds: real activations, float32, by name; a value that one lacks is drawn.

    Returns:
        Never an error: what cannot be evaluated, or whose sizes are not known, does not hold, with the reason.
    """
    if not rewrite.outputs:
        return Proof(False, float("inf"), "the rewrite has no output to compare", 0)
    if same_expression(view, rewrite):
        return Proof(True, 0.0, "", 0)
    border = Border(view, rewrite)
    read = {name for node in border.nodes for name in node.reads}
    fixed = {name: exact(array) for name, array in view.graph.constants.items() if name in read}
    fixed |= {name: rounded(array) for name, array in rewrite.constants.items()}
    trial = _Trial(border, fixed)
    try:
        _try_all(trial, feeds)
    except ModelError as error:
        return _not_evaluated(str(error), trial)
    except MemoryError:
        return _not_evaluated("the maps are too large to be evaluated", trial)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # attributes that make no sense
        return Proof(False, float("inf"), f"no inputs can be drawn: {one_line(error)}", trial.cases)
    if trial.reason:
        return Proof(False, trial.worst, trial.reason, trial.cases, trial.known)
    if not trial.cases:
        return _not_evaluated(f"the old side cannot be evaluated: {trial.stuck}", trial)
    if trial.finite < ENOUGH:
        return _not_evaluated("no input gives finite results", trial)
    return Proof(True, trial.worst, "", trial.cases)


def _not_evaluated(reason: str, trial: _Trial) -> Proof:
    return Proof(False, float("inf"), reason, trial.cases, evaluated=False)


def _try_all(trial: _Trial, feeds: Sequence[Mapping[str, Array]]) -> None:
    """Every size and draw, then the real activations, until one objects."""
    border = trial.border
    random = np.random.default_rng(SEED)
    every = list(border.sizes())
    others = [shapes for shapes in border.true_sizes() if shapes not in every]
    for at, shapes in enumerate([*every, *others]):
        if trial.cases and at >= len(every):
            break  # the true sizes are for models that do not run at smaller ones
        for word, values in draws(border, shapes, random, few=trial.cases > 0):
            known = trial.cases
            if not trial.run(word, values):
                return
            if trial.cases == known:
                break  # the old side does not run at this size
    for feed in feeds:
        real = {name: np.asarray(feed[name]) for name in border.names if name in feed}
        if not real:
            continue
        shapes = {name: shape for name, shape in every[0].items() if name not in real}
        drawn = next(iter(draws(border, shapes, random)))[1] if shapes else {}
        if not trial.run("real", border.cropped({**drawn, **real}, random)):
            return


def _compare(old: Value, new: Value) -> tuple[float, str]:
    """The largest difference over its tolerance, and what is wrong, if anything."""
    a, b = old.array, new.array
    if a.shape != b.shape:
        return float("inf"), f"is of shape {b.shape} instead of {a.shape}"
    if a.dtype != b.dtype:
        return float("inf"), f"is of type {b.dtype} instead of {a.dtype}"
    if not a.size:
        return 0.0, ""
    if not old.is_float:
        return (0.0, "") if np.array_equal(a, b) else (float("inf"), "has other integers")
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        finite = np.isfinite(a) & np.isfinite(b)
        if not (same | finite).all():
            at = tuple(int(i) for i in np.argwhere(~(same | finite))[0])
            return float("inf"), f"is {b[at]} instead of {a[at]} at {at}"
        difference = np.where(same, 0.0, np.abs(a - b))
        tolerance = np.maximum(_tolerance(old), _tolerance(new)) + old.noise + new.noise + _UNDERFLOW
        ratio = np.where(same, 0.0, difference / tolerance)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    flat = int(ratio.argmax())
    worst = float(ratio.flat[flat])
    if worst <= 1:
        return worst, ""
    at = tuple(int(i) for i in np.unravel_index(flat, a.shape))
    return worst, f"is {b[at]:.9g} instead of {a[at]:.9g} at {at}, {worst:.3g} times the tolerance off,"


def _tolerance(value: Value) -> Array:
    """8 u (e + |y|), 0 where nothing was rounded."""
    if value.error2 is None:
        return np.zeros(value.array.shape)
    deviation = np.sqrt(value.error2)
    deviation = np.where(np.isfinite(deviation), deviation, 0.0)
    return SPREAD * UNIT * (deviation + np.abs(value.array))
