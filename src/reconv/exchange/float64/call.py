"""One call of an operator: its node, the values of its inputs, and readers for what is an attribute or an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from reconv.errors import ModelError
from reconv.exchange.float64.value import Array, Value
from reconv.graph import Node

__all__ = ["Call", "Op", "text"]


def text(value: Any) -> str:
    """An attribute of type string, which some files give as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, eq=False)
class Call:
    """``inputs`` has None for an optional input that is left out."""

    node: Node
    inputs: tuple[Value | None, ...]
    opset: int

    def get(self, key: str, default: Any = None) -> Any:
        return self.node.attributes.get(key, default)

    def value(self, at: int) -> Value:
        """An input that has to be there."""
        value = self.optional(at)
        if value is None:
            raise ModelError(f"{self.node.op_type} lacks its input {at}")
        return value

    def optional(self, at: int) -> Value | None:
        return self.inputs[at] if at < len(self.inputs) else None

    def values(self) -> tuple[Value, ...]:
        """All inputs, none of them left out."""
        return tuple(self.value(at) for at in range(len(self.inputs)))

    def ints(self, key: str, at: int | None = None) -> tuple[int, ...] | None:
        """Integers from the attribute ``key``, or from input ``at``; None where neither is there."""
        given = self.get(key)
        if given is None and at is not None:
            value = self.optional(at)
            given = None if value is None else value.array.ravel()
        return None if given is None else tuple(int(number) for number in np.atleast_1d(given))

    def array(self, at: int) -> Array | None:
        value = self.optional(at)
        return None if value is None else value.array

    def unknown(self, what: str) -> ModelError:
        """What to raise where the evaluator does not know what the node asks for."""
        return ModelError(f"{self.node.op_type} with {what} cannot be evaluated")


Op: TypeAlias = Callable[[Call], tuple[Value, ...]]
