"""Which swaps to do: a walk over graphs, each a few proved rewrites away from the last.

1. Rules whose result is never more work are done wherever they may be, to a fixed point (`reconv.exchange.firing`).
2. Then, again and again: every other rule is asked at every node. What may fire is done on a copy, followed by what it
   has made possible (simplifications, and up to `DEPTH` further swaps beside it, since many pay only together: a
   concatenation is split so that a convolution can go below an upsampling). The meter tells what the part that differs
   costs before and after. The best candidates that gain are done, those of one rule together, and kept if the meter
   agrees that the whole model gains. Where they are several swaps each, fewer of them that gain nearly as much may do
   better in the whole model: the meter is asked which it prefers.

Candidates are looked at before they are proved, since most are never done; every firing that is done has been proved
(`reconv.exchange.proof`). One that fails its proof is a bug, is reported, and is not done. Nothing is undone in place:
graphs are values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from reconv.exchange.firing import Activations, Firing, State, close
from reconv.exchange.found import Declined, Found, Gain
from reconv.exchange.meter import Change, Meter, Operations
from reconv.exchange.rule import Rule
from reconv.exchange.view import View
from reconv.graph import Node

__all__ = ["Search"]

ALLOWED = 1.1  # times the operations of before: a swap with more is not measured
SAVED = 0.05  # of the operations: a swap that saves as many is tried though its gain cannot be told from noise
RIVAL = 0.5  # of the gain of several swaps: fewer of them that gain as much may be better in the whole model
RIVALS = 2  # that are compared with them there
DEPTH = 2  # swaps that may follow a first one which does not pay alone
ROUNDS = 8


@dataclass(frozen=True, eq=False)
class _Candidate:
    """counted: operations of the part that differs, before and after; None where they are not known."""

    anchor: str
    rules: tuple[str, ...]
    change: Change
    counted: Change | None

    @property
    def gain(self) -> float:
        return self.change.gain

    def pays(self, least: float) -> bool:
        """Whether it is worth a trial on the whole model.

        A gain that may be an accident of measuring counts where operations fall too.
        """
        saves = self.counted is not None and self.counted.gain >= SAVED * self.counted.before
        return self.gain > least * self.change.before and (self.change.sure or saves)


class Search:
    """One search; `run` does it."""

    def __init__(
        self,
        rules: Sequence[Rule],
        meter: Meter,
        activations: Activations | None = None,
        *,
        seconds: float = float("inf"),
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            rules: in the order in which they are tried.
            meter: what is to become less.
            activations: real values of the model by name, for the proofs; None: drawn ones only.
            seconds: after which nothing new is begun; what has been found by then is the result.
            say: told what goes on, in a few words.
            clock: gives seconds.
        """
        self._end = clock() + seconds
        self._clock = clock
        self._stopped = False
        self._firing = Firing(rules, activations, self._late)
        self._trade = [rule for rule in rules if not rule.simplifies]
        self._meter = meter
        self._say = say
        self._estimate = Operations()
        self._declined: dict[tuple[str, tuple[str, ...]], Declined] = {}
        self._tried: dict[tuple[str, int], tuple[frozenset[int], _Candidate | None]] = {}

    def run(self, view: View) -> Found:
        """The best model found, and the model after simplification alone."""
        self._say("simplifying")
        state = simple = self._firing.simplified(State(view), proved=True)
        gains: list[Gain] = []
        if simple.fired and (change := self._meter.change(view, simple.view)) is not None:
            names = tuple(dict.fromkeys(fired.rule for fired in simple.fired))
            gains.append(Gain(names, "", change.before, change.after))
        for number in range(ROUNDS):
            self._say(f"round {number + 1}: {len(state.fired)} swaps so far")
            found = self._round(state)
            if found is None:
                break
            state = found[0]
            gains += found[1]
        firing = self._firing
        return Found(
            state.view,
            simple.view,
            state.fired,
            tuple(gains),
            tuple(firing.refused.values()),
            tuple(firing.unproved.values()),
            tuple(self._declined.values()),
            tuple(firing.bugs.values()),
            not self._stopped,
        )

    def _late(self) -> bool:
        self._stopped = self._stopped or self._clock() > self._end
        return self._stopped

    # --- a round ---

    def _round(self, state: State) -> tuple[State, list[Gain]] | None:
        """The state after the best swaps of one rule, with their gains, or None when nothing more gains."""
        by_rules: dict[tuple[str, ...], list[_Candidate]] = {}
        for candidate in self._candidates(state):
            by_rules.setdefault(candidate.rules, []).append(candidate)
        batches = sorted(by_rules.values(), key=_total, reverse=True)
        while batches:
            batch = batches.pop(0)
            after, done = self._all_of(state, batch)
            if not done:
                continue
            if self._meter.agrees(state.view, after.view, sum(candidate.gain for candidate in done)):
                after, done = self._preferred(state, (after, done), batches)
                return after, [Gain(c.rules, c.anchor, c.change.before, c.change.after) for c in done]
            for candidate in done:
                self._decline(candidate, "gains alone, but not in the whole model")
        return None

    def _all_of(self, state: State, batch: list[_Candidate]) -> tuple[State, list[_Candidate]]:
        """The state after those of a batch that still fire one after another, and which they are."""
        done = []
        for candidate in sorted(batch, key=lambda c: -c.gain):
            further = None if self._late() else self._again(state, candidate)
            if further is not None:
                state = further
                done.append(candidate)
        return state, done

    def _preferred(
        self, state: State, best: tuple[State, list[_Candidate]], batches: list[list[_Candidate]]
    ) -> tuple[State, list[_Candidate]]:
        """The best batch, or a shorter way to nearly its gain that the meter prefers in the whole model.

        A part is measured with its nearest neighbours only. What swaps cost beyond them (a runtime that keeps maps in a
        layout of its own changes it where it meets a node that it does not know in it) is seen in the whole alone.
        """
        rules = set(best[1][0].rules)
        least = RIVAL * sum(candidate.gain for candidate in best[1])
        rivals = [batch for batch in batches if set(batch[0].rules) < rules and _total(batch) >= least]
        for batch in sorted(rivals, key=_total, reverse=True)[:RIVALS]:
            rival = self._all_of(state, batch)
            if rival[1] and self._meter.prefers(best[0].view, rival[0].view):
                best = rival
        return best

    def _decline(self, candidate: _Candidate, reason: str) -> None:
        change = candidate.change
        self._declined[candidate.anchor, candidate.rules] = Declined(
            candidate.rules, candidate.anchor, change.before, change.after, self._meter.unit, reason
        )

    def _candidates(self, state: State) -> Iterator[_Candidate]:
        here = frozenset(id(node) for node in state.view.graph.nodes)
        for rule in self._trade:
            for node in state.view.graph.nodes:
                if self._late():
                    return
                key = (rule.name, id(node))
                around, candidate = self._tried.get(key, (None, None))
                if around is None or not around <= here:
                    candidate, around = self._candidate(state, rule, node)
                    self._tried[key] = around, candidate
                if candidate is None or (candidate.anchor, candidate.rules) in self._declined:
                    continue
                if not candidate.pays(self._meter.least):
                    self._decline(candidate, "no gain")
                    continue
                yield candidate

    def _candidate(self, state: State, rule: Rule, node: Node) -> tuple[_Candidate | None, frozenset[int]]:
        """The best of the swap and what may follow it; and the nodes on which that depends, by id."""
        view = state.view
        near = {id(n) for n in (node, *_above(view, node), *_below(view, node))}
        first = self._firing.fire(state, rule, node, proved=False)
        if first is None:
            return None, frozenset(near)
        old = frozenset(id(n) for n in view.graph.nodes)
        found: list[_Candidate] = []
        counted = self._estimate.change(view, first.view)
        simple = self._firing.simplified(first, old, proved=False)
        level: list[tuple[tuple[str, ...], State]] = [((rule.name,), simple)]
        for depth in range(DEPTH + 1):
            further: list[tuple[tuple[str, ...], State]] = []
            for names, after in level:
                near |= old - {id(n) for n in after.view.graph.nodes}
                total = self._estimate.change(view, after.view)
                if _worth_asking(total, depth) and (change := self._meter.change(view, after.view)) is not None:
                    found.append(_Candidate(node.name, names, change, total))
                if depth < DEPTH:
                    further += self._followed(after, names, old)
            level = further
        if not found and counted is not None and counted.gain <= 0:
            key = (node.name, (rule.name,))
            unit = self._estimate.unit
            self._declined[key] = Declined(key[1], node.name, counted.before, counted.after, unit, "more operations")
        paying = [candidate for candidate in found if candidate.pays(self._meter.least)]
        return max(paying or found, key=lambda c: c.gain, default=None), frozenset(near)

    def _followed(
        self, state: State, names: tuple[str, ...], old: frozenset[int]
    ) -> list[tuple[tuple[str, ...], State]]:
        """What other swaps beside these lead to, as far as each takes operations away."""
        found = []
        for rule in self._trade:
            for node in close(state.view, old) if rule.name not in names else ():
                after = self._firing.fire(state, rule, node, proved=False)
                change = None if after is None else self._estimate.change(state.view, after.view)
                if after is not None and change is not None and change.gain > 0:
                    found.append(((*names, rule.name), self._firing.simplified(after, old, proved=False)))
        return found

    def _again(self, state: State, candidate: _Candidate) -> State | None:
        """The candidate's swaps done on another state, and proved; None when one no longer fires there."""
        old = frozenset(id(n) for n in state.view.graph.nodes)
        rules = {rule.name: rule for rule in self._trade}
        for place, name in enumerate(candidate.rules):
            nodes = [n for n in state.view.graph.nodes if n.name == candidate.anchor]
            if place:
                nodes = close(state.view, old)
            fired = (self._firing.fire(state, rules[name], node, proved=True) for node in nodes)
            after = next((each for each in fired if each is not None), None)
            if after is None:
                return None
            state = self._firing.simplified(after, old, proved=True)
        return state


def _total(batch: list[_Candidate]) -> float:
    return sum(candidate.gain for candidate in batch)


def _worth_asking(counted: Change | None, depth: int) -> bool:
    """Whether the count of operations leaves hope. Several swaps together have to save some."""
    if counted is None:
        return True
    return counted.gain > 0 if depth else counted.after <= ALLOWED * counted.before


def _above(view: View, node: Node) -> list[Node]:
    return [made for name in node.reads if (made := view.producer(name)) is not None]


def _below(view: View, node: Node) -> list[Node]:
    return [reader for name in node.outputs for reader in view.readers(name)]
