"""How a stream goes about its steps, beside its tolerance and profile."""

from __future__ import annotations

from dataclasses import dataclass

from reconv.engine.audit import AuditPlan
from reconv.engine.plain import DenseChoice, check_dense
from reconv.errors import ProfileError

__all__ = ["Habits"]


@dataclass(frozen=True)
class Habits:
    """refresh_every: every so many steps one is dense; None is the first alone. audit: see `reconv.engine.audit`; None
    is no audits, and a stream of which every step is dense can make none. never_slower: where most is stale, steps run
    plain (see `reconv.engine.pace`). share_outputs: outputs are for reading only, and one that did not change is the
    array that was given last. dense: what plain steps run on (see `reconv.engine.plain`).

    Raises:
        ProfileError: a number that does not make sense, or audits of a stream that is always dense.
    """

    refresh_every: int | None = None
    audit: AuditPlan | None = None
    never_slower: bool = True
    share_outputs: bool = False
    dense: DenseChoice = "reconv"

    def __post_init__(self) -> None:
        check_dense(self.dense)
        every = self.refresh_every
        if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise ProfileError(f"refresh_every is {every!r}, expected a number of steps from 1 up, or None")
        if every == 1 and self.audit is not None:
            raise ProfileError("at refresh_every 1 every step is dense, nothing to audit: leave audit_every out")
