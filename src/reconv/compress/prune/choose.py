"""How many units of each group go, and which.

Per layer, every group loses the same share of its channels. Globally, the share is of all channels together, and the
units with the lowest scores go, wherever they are: scores that do not compare across groups are divided by their
group's mean, and all are multiplied with the group's sensitivity where that is handed in.

What stays is rounded to a multiple of channels that kernels like, to the nearest, of two equally near to the larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, gcd
from typing import Any

import numpy as np

from reconv.compress.prune.groups import Group
from reconv.errors import InputError

__all__ = ["Choice", "choose", "relative"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Choice:
    """shares: of each group by its name; or ``ratio`` of all, per layer or globally. Channels stay in multiples.

    comparable: scores of different groups are of one kind.
    """

    ratio: float = 0.5
    ratios: Mapping[str, float] | None = None
    scope: str = "layer"
    multiple: int = 8
    least: int = 8
    sensitivity: Mapping[str, float] | None = None
    comparable: bool = False

    def __post_init__(self) -> None:
        for share in (self.ratio, *(self.ratios or {}).values()):
            if not 0 <= share < 1:
                raise InputError(f"a ratio is the share of the channels that go, from 0 to below 1; got {share}")
        if self.scope not in ("layer", "global"):
            raise InputError(f"scope is layer or global; got {self.scope!r}")
        if self.multiple < 1 or self.least < 1:
            raise InputError(f"multiple and least begin at 1; got {self.multiple} and {self.least}")


def choose(groups: Sequence[Group], scores: Sequence[Array], choice: Choice) -> list[Array]:
    """For each group the units that go, as places among its units.

    Raises:
        InputError: a name of ``ratios`` or ``sensitivity`` is no group's and no layer's in one.
    """
    if choice.ratios is not None:
        shares = [0.0] * len(groups)
        for name, share in choice.ratios.items():
            for at in named(groups, name):
                shares[at] = share
        counts = [group.units * (1 - share) for group, share in zip(groups, shares, strict=True)]
    elif choice.scope == "layer":
        counts = [group.units * (1 - choice.ratio) for group in groups]
    else:
        counts = _globally(groups, scores, choice)
    found = []
    for group, score, wanted in zip(groups, scores, counts, strict=True):
        stay = _rounded(group, wanted, choice)
        found.append(np.sort(np.argsort(score, kind="stable")[: group.units - stay]))
    return found


def relative(score: Array, comparable: bool) -> Array:
    """Scores as they are compared across groups: over their mean, where they are not comparable as they are."""
    mean = 1.0 if comparable else float(score.mean())
    return score / mean if mean else score


def named(groups: Sequence[Group], name: str) -> list[int]:
    """Places of the groups that a name means: its own, or those that a layer of that name makes.

    Raises:
        InputError: none.
    """
    found = [at for at, group in enumerate(groups) if group.name == name]
    found = found or [at for at, group in enumerate(groups) if name in group.layers]
    if not found:
        raise InputError(f"{name!r} is not a layer whose channels can be removed, nor a group of them")
    return found


def _rounded(group: Group, wanted: float, choice: Choice) -> int:
    """How many units stay."""
    if wanted >= group.units:
        return group.units
    step = choice.multiple // gcd(choice.multiple, group.width)
    nearest = step * floor(wanted / step + 0.5)
    least = max(-(-choice.least // group.width), 1)
    return min(max(nearest, -(-least // step) * step), group.units)


def _globally(groups: Sequence[Group], scores: Sequence[Array], choice: Choice) -> list[float]:
    factors = [1.0] * len(groups)
    for name, value in (choice.sensitivity or {}).items():
        for at in named(groups, name):
            factors[at] = float(value)
    parts = []
    for score, factor in zip(scores, factors, strict=True):
        parts.append(relative(score, choice.comparable) * factor)
    if not parts:
        return []
    everything = np.concatenate(parts)
    owner = np.repeat(np.arange(len(groups)), [group.units for group in groups])
    width = np.array([group.width for group in groups])[owner]
    order = np.argsort(everything, kind="stable")
    going = order[np.cumsum(width[order]) <= choice.ratio * width.sum()]
    lost = np.bincount(owner[going], minlength=len(groups))
    return [float(group.units - n) for group, n in zip(groups, lost, strict=True)]
