"""Operators that the evaluator does not know: equal inputs give equal results, and that is all.

On the old side such an operator gives drawn values. On the new side one of the same kind, with the same attributes,
gives the same values if it reads the same to the last bit, signs of zeros included; how a difference would come out
behind it cannot be known. That proves what takes a node away before or behind any operator, a custom one among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reconv.errors import ModelError
from reconv.exchange.float64 import Inputs, UnknownOperatorError, Value, exact
from reconv.exchange.view import View
from reconv.graph import Node, draws_at_random

__all__ = ["Unknowns"]


@dataclass(eq=False)
class Unknowns:
    """The calls of one evaluation of the old side, and what they gave. ``read``: what a node of that side reads."""

    view: View
    read: frozenset[str]
    calls: list[tuple[Node, Inputs, tuple[Value, ...]]] = field(default_factory=list)

    def first(self, node: Node, inputs: Inputs) -> tuple[Value, ...]:
        """Results of a node of the old side.

        Raises:
            ModelError: it has a body, draws at random, or gives what is no array of a known size and type.
        """
        if node.captures or draws_at_random(node, self.view.graph):
            raise UnknownOperatorError(node)
        random = np.random.default_rng(len(self.calls))
        results = tuple(self._drawn(node, name, random) for name in node.outputs)
        self.calls.append((node, inputs, results))
        return results

    def again(self, node: Node, inputs: Inputs) -> tuple[Value, ...]:
        """Results of a node of the new side.

        Raises:
            ModelError: no node of the old side was called like this.
        """
        alike = [call for call in self.calls if _same_kind(call[0], node)]
        if not alike:
            raise UnknownOperatorError(node)
        for _, given, results in alike:
            if len(given) == len(inputs) and all(map(_identical, given, inputs)):
                return results
        raise ModelError(f"{node.op_type} reads something else than before")

    def _drawn(self, node: Node, name: str, random: np.random.Generator) -> Value:
        """A value of the size at which the model is looked at; of a result that no node reads, any value will do."""
        if name not in self.read:
            return exact(np.zeros(()))
        shape, kind = self.view.sizes.get(name), self.view.types.get(name)
        if shape is None or kind is None:
            raise UnknownOperatorError(node)
        size = tuple(2 if n is None else n for n in shape)
        if kind.kind == "f":
            return exact(random.standard_normal(size).astype(kind))
        return exact(random.integers(0, 2, size).astype(kind))


def _same_kind(one: Node, other: Node) -> bool:
    kinds = [(node.op_type, node.domain, node.overload, len(node.outputs)) for node in (one, other)]
    if kinds[0] != kinds[1]:
        return False
    if one.attributes.keys() != other.attributes.keys() or other.captures:
        return False
    return all(np.array_equal(value, other.attributes[key]) for key, value in one.attributes.items())


def _identical(one: Value | None, other: Value | None) -> bool:
    """Whether two values are the same to the last bit, and neither was rounded."""
    if one is None or other is None:
        return one is other
    if one.error2 is not None or other.error2 is not None or one.array.dtype != other.array.dtype:
        return False
    a, b = one.array, other.array
    if not np.array_equal(a, b, equal_nan=one.is_float):
        return False
    return not one.is_float or np.array_equal(np.signbit(a) & (a == 0), np.signbit(b) & (b == 0))
