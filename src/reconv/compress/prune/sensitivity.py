"""How much each group of channels matters to the whole model, measured: it is pruned alone, and the outputs compared.

    factor of a group = (squared error of the outputs over their squares) / (scores of what went)

Scores say what matters to the layers that read a group; these factors say what that does to the outputs, so that
scores of different groups become changes of the same thing. With them the global choice (`choose`) takes the channels
whose loss moves the outputs least. A group's least important quarter goes in its trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from reconv.compress.forward import Array, Feeds, Forward, values_of
from reconv.compress.prune.choose import relative
from reconv.compress.prune.cut import cut
from reconv.compress.prune.groups import Group
from reconv.compress.prune.moments import Moments
from reconv.compress.prune.walk import Walk
from reconv.graph import Graph

__all__ = ["SAMPLES", "TRIAL", "measured"]

SAMPLES = 16  # that the outputs are compared on, evenly spread
TRIAL = 0.25  # of a group's units
_WORST = 1e12  # in place of an error that is not finite


def measured(
    walk: Walk,
    groups: Sequence[Group],
    scores: Sequence[Array],
    *,
    comparable: bool,
    forward: Forward,
    samples: Sequence[Feeds],
    known: Mapping[str, Moments] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """The factor of each group by its name, for ``sensitivity`` of `prune`.

    Args:
        walk, groups, scores, comparable: as `choose` has them; scores that are not comparable across groups are taken
            over their group's mean.
        forward: runs a graph.
        samples: inputs as the model will meet them; `SAMPLES` of them are used.
        known: moments of what layers read, so that what went is made up for as it will be; None: it is not.
        say: told which group is at work.

    Raises:
        InputError: there are no samples, or they do not fit.
    """
    places = sorted({int(i) for i in np.linspace(0, len(samples) - 1, min(SAMPLES, len(samples)))})
    few = [samples[place] for place in places]
    wanted = _outputs(walk.graph, forward, few)
    power = sum(float(np.square(each).sum()) for each in wanted) or 1.0
    found: dict[str, float] = {}
    for group, score in zip(groups, scores, strict=True):
        own = relative(score, comparable)
        costly = [int(unit) for unit in np.argsort(own, kind="stable") if own[unit] > 0]
        going = costly[: max(round(TRIAL * group.units), 1)][: group.units - 1]
        if not going:
            continue  # nothing in it matters to its readers: its scores are zero whatever the factor
        say(f"sensitivity of {group.name}")
        made = cut(walk, [group.roots[unit] for unit in going], known or {})
        with np.errstate(all="ignore"):
            pairs = zip(_outputs(made, forward, few), wanted, strict=True)
            error = sum(float(np.square(mine - other).sum()) for mine, other in pairs) / power
        found[group.name] = (error if np.isfinite(error) else _WORST) / float(own[going].sum())
    return found


def _outputs(graph: Graph, forward: Forward, samples: Sequence[Feeds]) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """All outputs of every sample, in order, as one vector each."""
    names = [info.name for info in graph.outputs]
    return [
        np.concatenate([values[name].astype(np.float64).ravel() for name in names])
        for values in values_of(forward, graph, names, samples)
    ]
