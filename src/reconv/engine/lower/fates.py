"""What became of each node: an op of its own, part of another one's, a view, a concat written in place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from reconv.engine.lower import draft as d
from reconv.engine.lower import draft_codes as c
from reconv.graph import Node

__all__ = ["Fates", "owner"]

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def owner(nodes: Sequence[Node], op: d.Op) -> int:
    """Of the nodes that an op stands for, the one that the others went into: a product, a concat, or the first."""
    wanted = (
        PRODUCTS
        if isinstance(op, (d.Conv, d.Transposed, c.Product8))
        else {"Concat"}
        if isinstance(op, d.Assemble)
        else ()
    )
    return min((position for position in op.nodes if nodes[position].op_type in wanted), default=min(op.nodes))


class Fates:
    """``absorbed`` are the draft's maps that are never written: their reader does their producer's work as well.

    ``codes`` are its maps of codes, and ``why_float`` says of a product why it does not work on such; "" where a model
    has none.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        made: Mapping[d.Op, list[int]],
        absorbed: set[int],
        codes: Mapping[int, d.Codes],
        why_float: Callable[[d.Op], str],
    ) -> None:
        self.nodes = nodes
        self.made = made
        self.absorbed = absorbed
        self.codes = codes
        self.why_float = why_float
        self._of: dict[int, list[d.Op]] = defaultdict(list)
        for op in made:
            for position in op.nodes:
                self._of[position].append(op)

    @cached_property
    def _readers(self) -> dict[int, d.Op]:
        return {x: op for op in self.made for x in op.reads}

    def indices(self, position: int) -> tuple[int, ...]:
        """The plan's ops that do the node's work."""
        return tuple(sorted(index for op in self._of[position] for index in self.made[op]))

    def stored(self, position: int) -> bool:
        """Whether streams keep what the node's ops make."""
        return not any(op.out in self.absorbed for op in self._of[position])

    def reason(self, position: int) -> str:
        """Of a node that the engine runs."""
        ops = self._of[position]
        if not ops:
            codes = self.nodes[position].op_type == "DequantizeLinear"
            return f"passed over: its readers take its {'codes' if codes else 'input'}"
        own = [op for op in ops if owner(self.nodes, op) == position]
        if not own:
            return f"fused into {self._name(ops[-1])}"
        for op in own:
            if isinstance(op, d.Assemble):
                copied = sum(isinstance(other, d.Copy) for other in own)
                note = f", {copied} copied" if copied else ""
                return f"written in place by its producers{note}"
            if op.out in self.absorbed:
                eight = ", in 8 bits" if op.out in self.codes else ""
                return f"done inside {self._name(self._readers[op.out])}, pixel by pixel{eight}"
        count = sum(len(self.made[op]) for op in own)
        said = "view" if count == 0 else "own op" if count == 1 else f"{count} ops of its own"
        if any(isinstance(op, c.Product8) or op.out in self.codes for op in own):
            return said if all(isinstance(op, c.Quantize) for op in own) else f"{said}, in 8 bits"
        why = next((why for op in own if (why := self.why_float(op))), "")
        return f"{said}, in float: {why}" if why else said

    def _name(self, op: d.Op) -> str:
        if not op.nodes:
            return "an output's rearrangement"
        node = self.nodes[owner(self.nodes, op)]
        return f"{node.op_type} '{node.name}'"
