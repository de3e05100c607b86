"""What a search came to: what was done, and what was not and why."""

from __future__ import annotations

from dataclasses import dataclass

from reconv.exchange.view import View

__all__ = ["Bug", "Declined", "Fired", "Found", "Gain", "Refused", "Unproved"]


@dataclass(frozen=True)
class Fired:
    """A rewrite that is in the result. margin: the largest difference in its proof over the tolerance, below 1."""

    rule: str
    node: str
    removed: tuple[str, ...]
    added: tuple[str, ...]
    margin: float


@dataclass(frozen=True)
class Gain:
    """Swaps that were done together: costs of the parts that differ."""

    rules: tuple[str, ...]
    node: str
    before: float
    after: float


@dataclass(frozen=True)
class Refused:
    """The pattern of a rule is there, but its swap would not keep the result."""

    rule: str
    node: str
    reason: str


@dataclass(frozen=True)
class Unproved:
    """Could not be proved, and was not done: an operator that the evaluator does not know, a size that is not known."""

    rule: str
    node: str
    reason: str


@dataclass(frozen=True)
class Bug:
    """A rule fired where its result is not the same: found by the proof, and not done."""

    rule: str
    node: str
    reason: str


@dataclass(frozen=True)
class Declined:
    """May be done, and was not: costs of the part that differs, before and after, in this unit."""

    rules: tuple[str, ...]
    node: str
    before: float
    after: float
    unit: str
    reason: str


@dataclass(frozen=True)
class Found:
    """The best model, and the one that simplifying alone gave. complete: False where time ran out before the end."""

    view: View
    simplified: View
    fired: tuple[Fired, ...] = ()
    gains: tuple[Gain, ...] = ()
    refused: tuple[Refused, ...] = ()
    unproved: tuple[Unproved, ...] = ()
    declined: tuple[Declined, ...] = ()
    bugs: tuple[Bug, ...] = ()
    complete: bool = True
