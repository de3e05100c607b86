"""What a torch function of an operator gets to see of one node while a network runs.

Values are torch tensors; what is known without any sample (constants, sizes and arithmetic on them) stays numpy and
reaches a function through `Call.array` and `Call.ints`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from reconv.errors import ModelError
from reconv.graph import Node

__all__ = ["Array", "Call"]

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Call:
    """One node with its inputs.

    tensors: the inputs, None where one is left out or known as numbers only; numbers: those that no sample changes,
    None for the others; learning: whether batch norms learn their statistics.
    """

    node: Node
    tensors: Sequence[torch.Tensor | None]
    numbers: Sequence[Array | None]
    opset: int
    learning: bool = False

    @property
    def x(self) -> torch.Tensor:
        """The first input."""
        return self.tensor(0)

    def has(self, place: int) -> bool:
        return place < len(self.node.inputs) and self.node.inputs[place] != ""

    def tensor(self, place: int) -> torch.Tensor:
        if not self.has(place):
            raise self.unknown(f"input {place} is missing")
        tensor, numbers = self.tensors[place], self.numbers[place]
        return torch.tensor(numbers) if tensor is None else tensor

    def optional(self, place: int) -> torch.Tensor | None:
        return self.tensor(place) if self.has(place) else None

    def array(self, place: int) -> Array | None:
        """An input as numbers; None where it is left out. ModelError where it hangs on the samples."""
        if not self.has(place):
            return None
        numbers = self.numbers[place]
        if numbers is None:
            raise self.unknown(f"input {place} ({self.node.inputs[place]!r}) hangs on the samples or is trained")
        return numbers

    def ints(self, name: str, place: int | None = None) -> list[int] | None:
        """Whole numbers of an attribute, or of the input at ``place`` in newer opsets; None where neither is there."""
        found: Any = self.node.attributes.get(name)
        if found is None and place is not None:
            found = self.array(place)
        if found is None:
            return None
        return [int(number) for number in np.atleast_1d(np.asarray(found))]

    def get(self, name: str, default: Any) -> Any:
        value = self.node.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def unknown(self, what: str) -> ModelError:
        return ModelError(f"{self.node.name!r} ({self.node.op_type}) cannot be trained here: {what}")

    def all(self) -> Iterable[torch.Tensor]:
        return (self.tensor(place) for place in range(len(self.node.inputs)))
