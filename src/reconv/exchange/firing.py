"""Rules at work on one graph after the other: matching, proving, simplifying, and the account of what was not done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reconv.errors import ModelError, one_line
from reconv.exchange.found import Bug, Fired, Refused, Unproved
from reconv.exchange.proof import Proof, prove
from reconv.exchange.rule import Refusal, Rule
from reconv.exchange.view import View, look_again
from reconv.graph import Node, Rewrite, rewritten
from reconv.graph.digest import digest_array

__all__ = ["Activations", "Firing", "State", "close"]

Array = np.ndarray[Any, Any]
Activations = Callable[[View, Sequence[str]], Mapping[str, Array]]
PASSES = 50  # of simplification over all nodes; more would mean that two rules undo one another
# What numpy and tables raise for a node whose attributes or weights do not fit together: such a node is left alone.
MISTAKES = (ValueError, IndexError, KeyError, TypeError, ArithmeticError)


@dataclass(frozen=True, eq=False)
class State:
    """A graph, and what has fired on the way to it."""

    view: View
    fired: tuple[Fired, ...] = ()


class Firing:
    """The rules that simplify, done wherever they may be; any rule, done at one node."""

    def __init__(
        self,
        rules: Sequence[Rule],
        activations: Activations | None = None,
        late: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            rules: all; those that simplify are done by `simplified`.
            activations: real values of the model by name, for the proofs; None: drawn ones only.
            late: whether time has run out: then nothing more is begun.
        """
        self._rules = [rule for rule in rules if rule.simplifies]
        self._activations = activations
        self._late = late
        self._proofs: dict[Any, tuple[Rewrite, Proof]] = {}  # the rewrite keeps its nodes' ids
        self.refused: dict[tuple[str, str], Refused] = {}
        self.unproved: dict[tuple[str, str], Unproved] = {}
        self.bugs: dict[tuple[str, str], Bug] = {}

    def fire(self, state: State, rule: Rule, node: Node, *, proved: bool) -> State | None:
        """The state after the rule has fired at the node; None when it does not."""
        answer = self._answer(state.view, rule, node, proved=proved)
        return None if answer is None else self._after(state, [answer])

    def simplified(self, state: State, old: frozenset[int] | None = None, *, proved: bool) -> State:
        """The state with every simplification done; with ``old``, only at nodes that are not among these.

        Raises:
            ModelError: rules undo one another without end.
        """
        for _ in range(PASSES * (1 + len(self._rules))):
            after = next(self._simplifications(state, old, proved), None)
            if after is None:
                return state
            state = after
        raise ModelError("rules that simplify do not come to an end: two of them undo one another")

    def _simplifications(self, state: State, old: frozenset[int] | None, proved: bool) -> Iterator[State]:
        """What each rule leads to, done at all nodes in one go: those that do not meet one another."""
        for rule in self._rules:
            done: list[tuple[Fired, Rewrite]] = []
            for node in close(state.view, old):
                answer = None if self._late() else self._answer(state.view, rule, node, proved=proved)
                if answer is not None and all(_apart(answer[1], other) for _, other in done):
                    done.append(answer)
            if done and (after := self._after(state, done)) is not None:
                yield after

    def _answer(self, view: View, rule: Rule, node: Node, *, proved: bool) -> tuple[Fired, Rewrite] | None:
        """The rewrite of the rule at the node, if it has one that may be done."""
        try:
            answer = rule.match(view, node)
        except MISTAKES as error:
            answer = Refusal(f"attributes or inputs that do not fit: {one_line(error)}")
        key = (rule.name, node.name)
        if isinstance(answer, Refusal):
            self.refused[key] = Refused(*key, answer.reason)
        if answer is None or isinstance(answer, Refusal) or key in self.bugs or key in self.unproved:
            return None
        if proved and (mistake := _misfit(view, answer)):
            self.bugs[key] = Bug(*key, mistake)
            return None
        proof = self._prove(view, rule, answer) if proved else None
        if proof is not None and not proof.holds:
            if proof.evaluated:
                self.bugs[key] = Bug(*key, proof.reason)
            else:
                self.unproved[key] = Unproved(*key, proof.reason)
            return None
        removed, added = (tuple(n.op_type for n in nodes) for nodes in (answer.before, answer.after))
        return Fired(*key, removed, added, 0.0 if proof is None else proof.worst), answer

    @staticmethod
    def _after(state: State, done: Sequence[tuple[Fired, Rewrite]]) -> State | None:
        """The state after rewrites that do not meet; None when it cannot be had."""
        try:
            view = look_again(state.view, _together([rewrite for _, rewrite in done]))
        except ModelError:
            if len(done) == 1:
                return None
            return Firing._after(state, done[:1])  # the others in another pass
        return State(view, (*state.fired, *(fired for fired, _ in done)))

    def _prove(self, view: View, rule: Rule, rewrite: Rewrite) -> Proof:
        key = (rule.name, tuple(id(node) for node in rewrite.before), _signature(rewrite))
        if key not in self._proofs:
            names = [name for name in rewrite.reads if name not in view.graph.constants]
            feeds = self._activations(view, names) if self._activations and names else {}
            self._proofs[key] = rewrite, prove(view, rewrite, [feeds] if feeds else [])
        return self._proofs[key][1]


def close(view: View, old: frozenset[int] | None) -> list[Node]:
    """All nodes; or those that are not among the old ones, by id, and the readers of what they make."""
    if old is None:
        return list(view.graph.nodes)
    new = [node for node in view.graph.nodes if id(node) not in old]
    found = {id(node): node for node in new}
    for node in new:
        for name in node.outputs:
            found.update((id(reader), reader) for reader in view.readers(name))
    return [node for node in view.graph.nodes if id(node) in found]


def _misfit(view: View, rewrite: Rewrite) -> str:
    """Why a rewrite does not fit its graph, which is a mistake of its rule; "" where it does."""
    try:
        rewritten(view.graph, rewrite)
    except ModelError as error:
        return str(error)
    return ""


def _apart(first: Rewrite, second: Rewrite) -> bool:
    """Whether both may be done on one graph: no node is in both, and neither reads what the other takes away."""
    if {id(node) for node in first.before} & {id(node) for node in second.before}:
        return False
    return not any(_lost(one) & set(other.reads) for one, other in ((first, second), (second, first)))


def _lost(rewrite: Rewrite) -> set[str]:
    made = {name for node in rewrite.after for name in node.outputs}
    return {name for node in rewrite.before for name in node.outputs if name} - made


def _together(rewrites: Sequence[Rewrite]) -> Rewrite:
    return Rewrite(
        tuple(node for rewrite in rewrites for node in rewrite.before),
        tuple(node for rewrite in rewrites for node in rewrite.after),
        {name: array for rewrite in rewrites for name, array in rewrite.constants.items()},
    )


def _signature(rewrite: Rewrite) -> tuple[Any, ...]:
    """What a rewrite puts in, whatever its fresh names are."""
    kept = set(rewrite.outputs)
    number = {name: digest_array(array) for name, array in rewrite.constants.items()}
    for node in rewrite.after:
        number.update((name, f"#{len(number)}") for name in node.outputs if name not in kept)
    return tuple(
        (
            node.op_type,
            tuple(number.get(name, name) for name in (*node.inputs, *node.outputs)),
            tuple(sorted((key, repr(value)) for key, value in node.attributes.items())),
        )
        for node in rewrite.after
    )
