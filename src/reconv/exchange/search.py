"""Which swaps to do: a walk over graphs, each a few proved rewrites away from the last.

1. `simplify`: rules whose result is never more work, to a fixed point.
2. Then, again and again: every rule is asked at every node. What may fire is done on a copy, followed by what it has
   made possible (simplifications, and up to `DEPTH` further swaps beside it, since many pay only together: a
   concatenation is split so that a convolution can go below an upsampling). The meter tells what the part that differs
   costs before and after. The best candidates that gain are done, those of one rule together, and kept if the meter
   agrees that the whole model gains.

Candidates are looked at before they are proved, since most are never done; every firing that is done has been proved
(`reconv.exchange.proof`). One that fails its proof is a bug, is reported, and is not done. Nothing is undone in place:
graphs are values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reconv.errors import ModelError, one_line
from reconv.exchange.meter import Change, Meter, Operations
from reconv.exchange.proof import Proof, prove
from reconv.exchange.rule import Refusal, Rule
from reconv.exchange.view import View, look_again
from reconv.graph import Node, Rewrite

__all__ = ["Bug", "Declined", "Fired", "Found", "Gain", "Refused", "Search"]

Array = np.ndarray[Any, Any]
Activations = Callable[[View, Sequence[str]], Mapping[str, Array]]
ALLOWED = 1.1  # times the operations of before: a swap with more is not measured
SAVED = 0.05  # of the operations: a swap that saves as many is tried though its gain cannot be told from noise
DEPTH = 2  # swaps that may follow a first one which does not pay alone
ROUNDS = 8
# What numpy and tables raise for a node whose attributes or weights do not fit together: such a node is left alone.
MISTAKES = (ValueError, IndexError, KeyError, TypeError, ArithmeticError)
PASSES = 50  # of simplification over all nodes; more would mean that two rules undo one another


@dataclass(frozen=True)
class Fired:
    """A rewrite that is in the result. margin: the largest difference in its proof over the tolerance, below 1."""

    rule: str
    node: str
    removed: tuple[str, ...]
    added: tuple[str, ...]
    margin: float


@dataclass(frozen=True)
class Refused:
    rule: str
    node: str
    reason: str


@dataclass(frozen=True)
class Declined:
    """May be done, and was not: costs of the part that differs, before and after."""

    rules: tuple[str, ...]
    node: str
    before: float
    after: float
    reason: str


@dataclass(frozen=True)
class Bug:
    """A rule fired where its result is not the same: found by the proof, and not done."""

    rule: str
    node: str
    reason: str


@dataclass(frozen=True)
class Gain:
    """Swaps that were done together: costs of the parts that differ."""

    rules: tuple[str, ...]
    node: str
    before: float
    after: float


@dataclass
class Found:
    """What a search came to."""

    view: View
    simplified: View
    fired: list[Fired] = field(default_factory=list)
    gains: list[Gain] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    declined: list[Declined] = field(default_factory=list)
    bugs: list[Bug] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _State:
    view: View
    fired: tuple[Fired, ...] = ()


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
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """
        Args:
            rules: in the order in which they are tried.
            meter: what is to become less.
            activations: real values of the model by name, for the proofs; None: drawn ones only.
            say: told what goes on, in a few words.
        """
        self._simplify = [rule for rule in rules if rule.simplifies]
        self._trade = [rule for rule in rules if not rule.simplifies]
        self._meter = meter
        self._activations = activations
        self._say = say
        self._estimate = Operations()
        self._proofs: dict[tuple[str, tuple[int, ...]], tuple[Rewrite, Proof]] = {}  # the rewrite keeps its nodes' ids
        self._refused: dict[tuple[str, str], Refused] = {}
        self._bugs: dict[tuple[str, str], Bug] = {}
        self._declined: dict[tuple[str, tuple[str, ...]], Declined] = {}
        self._gains: list[Gain] = []
        self._tried: dict[tuple[str, int], tuple[frozenset[int], _Candidate | None]] = {}

    def run(self, view: View) -> Found:
        """The best model found, and the model after simplification alone."""
        self._say("simplifying")
        state = simple = self._simplified(_State(view), proved=True)
        for number in range(ROUNDS):
            self._say(f"round {number + 1}: {len(state.fired)} swaps so far")
            after = self._round(state)
            if after is None:
                break
            state = after
        result = Found(state.view, simple.view, list(state.fired), self._gains)
        result.refused = list(self._refused.values())
        result.declined = list(self._declined.values())
        result.bugs = list(self._bugs.values())
        return result

    # --- one rewrite ---

    def _fire(self, state: _State, rule: Rule, node: Node, *, proved: bool) -> _State | None:
        """The state after the rule has fired at the node; None when it does not."""
        try:
            answer = rule.match(state.view, node)
        except MISTAKES as error:
            answer = Refusal(f"attributes or inputs that do not fit: {one_line(error)}")
        if answer is None:
            return None
        if isinstance(answer, Refusal):
            self._refused[rule.name, node.name] = Refused(rule.name, node.name, answer.reason)
            return None
        if (rule.name, node.name) in self._bugs:
            return None
        try:
            view = look_again(state.view, answer)
        except ModelError as error:
            self._bugs[rule.name, node.name] = Bug(rule.name, node.name, str(error))
            return None
        margin = 0.0
        if proved:
            proof = self._prove(state.view, view, rule, answer)
            margin = proof.worst
            if not proof.holds:
                self._bugs[rule.name, node.name] = Bug(rule.name, node.name, proof.reason)
                return None
        removed, added = (tuple(n.op_type for n in nodes) for nodes in (answer.before, answer.after))
        return _State(view, (*state.fired, Fired(rule.name, node.name, removed, added, margin)))

    def _prove(self, view: View, after: View, rule: Rule, rewrite: Rewrite) -> Proof:
        key = (rule.name, tuple(id(n) for n in rewrite.before))
        if key not in self._proofs:
            names = [name for name in rewrite.reads if name not in after.graph.constants]
            names = [name for name in names if name not in view.graph.constants]
            feeds = self._activations(view, names) if self._activations and names else {}
            self._proofs[key] = rewrite, prove(view, rewrite, [feeds] if feeds else [])
        return self._proofs[key][1]

    def _simplified(self, state: _State, old: frozenset[int] | None = None, *, proved: bool) -> _State:
        """The state with every simplification done; with ``old``, only at nodes that are not among these."""
        for _ in range(PASSES * (1 + len(self._simplify))):
            after = next(self._simplifications(state, old, proved), None)
            if after is None:
                return state
            state = after
        raise ModelError("rules that simplify do not come to an end: two of them undo one another")

    def _simplifications(self, state: _State, old: frozenset[int] | None, proved: bool) -> Iterator[_State]:
        """What each simplification leads to. A rule that has fired goes on where it stands: one pass does many."""
        for rule in self._simplify:
            done = state
            here = {id(node) for node in state.view.graph.nodes}
            for node in self._close(state.view, old):
                after = self._fire(done, rule, node, proved=proved) if id(node) in here else None
                if after is not None:
                    done = after
                    here = {id(other) for other in done.view.graph.nodes}
            if done is not state:
                yield done

    @staticmethod
    def _close(view: View, old: frozenset[int] | None) -> list[Node]:
        """All nodes; or those that are new and the readers of what they make."""
        if old is None:
            return list(view.graph.nodes)
        new = [node for node in view.graph.nodes if id(node) not in old]
        found = {id(node): node for node in new}
        for node in new:
            for name in node.outputs:
                found.update((id(reader), reader) for reader in view.readers(name))
        return [node for node in view.graph.nodes if id(node) in found]

    # --- a round ---

    def _round(self, state: _State) -> _State | None:
        """The state after the best swaps of one rule, or None when nothing more gains."""
        found = list(self._candidates(state))
        by_rules: dict[tuple[str, ...], list[_Candidate]] = {}
        for candidate in found:
            by_rules.setdefault(candidate.rules, []).append(candidate)
        batches = sorted(by_rules.values(), key=lambda batch: -sum(c.gain for c in batch))
        for batch in batches:
            after = state
            done = []
            for candidate in sorted(batch, key=lambda c: -c.gain):
                further = self._again(after, candidate)
                if further is not None:
                    after = further
                    done.append(candidate)
            if not done:
                continue
            if self._meter.agrees(state.view, after.view, sum(candidate.gain for candidate in done)):
                self._gains += [Gain(c.rules, c.anchor, c.change.before, c.change.after) for c in done]
                return after
            for candidate in done:
                self._decline(candidate, "gains alone, but not in the whole model")
        return None

    def _decline(self, candidate: _Candidate, reason: str) -> None:
        key = (candidate.anchor, candidate.rules)
        change = candidate.change
        self._declined[key] = Declined(candidate.rules, candidate.anchor, change.before, change.after, reason)

    def _candidates(self, state: _State) -> Iterator[_Candidate]:
        here = frozenset(id(node) for node in state.view.graph.nodes)
        for rule in self._trade:
            for node in state.view.graph.nodes:
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

    def _candidate(self, state: _State, rule: Rule, node: Node) -> tuple[_Candidate | None, frozenset[int]]:
        """The best of the swap and what may follow it; and the nodes on which that depends, by id."""
        view = state.view
        near = {id(n) for n in (node, *self._above(view, node), *self._below(view, node))}
        first = self._fire(state, rule, node, proved=False)
        if first is None:
            return None, frozenset(near)
        old = frozenset(id(n) for n in view.graph.nodes)
        found: list[_Candidate] = []
        counted = self._estimate.change(view, first.view)
        level: list[tuple[tuple[str, ...], _State]] = [((rule.name,), self._simplified(first, old, proved=False))]
        for depth in range(DEPTH + 1):
            further: list[tuple[tuple[str, ...], _State]] = []
            for names, after in level:
                near |= old - {id(n) for n in after.view.graph.nodes}
                total = self._estimate.change(view, after.view)
                if self._worth_asking(total, depth) and (change := self._meter.change(view, after.view)) is not None:
                    found.append(_Candidate(node.name, names, change, total))
                if depth < DEPTH:
                    further += self._followed(after, names, old)
            level = further
        if not found and counted is not None and counted.gain <= 0:
            declined = Declined((rule.name,), node.name, counted.before, counted.after, "more operations")
            self._declined[node.name, (rule.name,)] = declined
        paying = [candidate for candidate in found if candidate.pays(self._meter.least)]
        return max(paying or found, key=lambda c: c.gain, default=None), frozenset(near)

    def _followed(
        self, state: _State, names: tuple[str, ...], old: frozenset[int]
    ) -> list[tuple[tuple[str, ...], _State]]:
        """What other swaps beside these lead to, as far as each takes operations away."""
        found = []
        for rule in self._trade:
            for node in self._close(state.view, old) if rule.name not in names else ():
                after = self._fire(state, rule, node, proved=False)
                change = None if after is None else self._estimate.change(state.view, after.view)
                if after is not None and change is not None and change.gain > 0:
                    found.append(((*names, rule.name), self._simplified(after, old, proved=False)))
        return found

    @staticmethod
    def _worth_asking(counted: Change | None, depth: int) -> bool:
        """Whether the count of operations leaves hope. Several swaps together have to save some."""
        if counted is None:
            return True
        return counted.gain > 0 if depth else counted.after <= ALLOWED * counted.before

    @staticmethod
    def _above(view: View, node: Node) -> list[Node]:
        return [made for name in node.reads if (made := view.producer(name)) is not None]

    @staticmethod
    def _below(view: View, node: Node) -> list[Node]:
        return [reader for name in node.outputs for reader in view.readers(name)]

    def _again(self, state: _State, candidate: _Candidate) -> _State | None:
        """The candidate's swaps done on another state; None when one no longer fires there."""
        old = frozenset(id(n) for n in state.view.graph.nodes)
        rules = {rule.name: rule for rule in self._trade}
        after: _State | None = state
        for place, name in enumerate(candidate.rules):
            nodes = [n for n in state.view.graph.nodes if n.name == candidate.anchor]
            if place:
                nodes = self._close(state.view, old)
            after = next((s for n in nodes if (s := self._fire(state, rules[name], n, proved=True)) is not None), None)
            if after is None:
                return None
            state = self._simplified(after, old, proved=True)
        return state
