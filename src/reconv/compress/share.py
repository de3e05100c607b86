"""Weight sharing: a layer's weights take few different values, kept once in a codebook (Han et al. 2015, section 3).

    weight = Gather(book, codes) [· scale of the channel]

The codes are bytes; those of at most 4 bits share a byte with others, looked up in a table of 256 rows that all layers
read. Cast, Gather, Reshape, Add and Mul are all there is in the file: standard operators on constants, which ONNX
Runtime, OpenVINO and this library's engine compute once, when they load the model. After that it runs as the float
model does: the file is smaller, and nothing is faster. Batch norm should be folded first, so that the codes are of the
weights that are really used.

Books are of one tensor, or of so many output channels each (``channels``); with ``scaled`` the weights of each output
channel are divided by their root mean square first, so that narrow and wide channels share a book. `codebook` finds
the values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reconv.compress.codebook import codebook, nearest
from reconv.compress.result import Compressed, Entry, LayerReport, Report
from reconv.compress.weights import Weight, chosen, relative_error
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, Names, Node, Rewrite, rewritten

if TYPE_CHECKING:
    from reconv.compress.forward import Feeds, Forward

__all__ = ["SHARE_WEIGHTS", "share_weights"]

Array = np.ndarray[Any, Any]
INT32 = 6  # ONNX's number for the type
OVERHEAD_BYTES = 700  # about what the nodes and names of a layer take in the file


def share_weights(
    graph: Graph,
    *,
    bits: int = 8,
    channels: int | None = None,
    scaled: bool = True,
    exclude: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Compressed:
    """Give the weights of each layer at most 2**bits different values, and write them as codes.

    Args:
        graph: a float model with its batch norm folded.
        bits: of a code, 1 to 8.
        channels: output channels that share a book; None: all of a tensor.
        scaled: one factor per output channel beside the book.
        exclude, only: names of nodes.

    Layers whose codes and books would take as many bytes as their weights stay as they are.

    Raises:
        InputError: bits, channels or names that make no sense.
        ModelError: the graph is quantized, or has no weights for which codes are smaller.
    """
    if not 1 <= bits <= 8:
        raise InputError(f"codes have 1 to 8 bits; got {bits}")
    if channels is not None and channels < 1:
        raise InputError(f"a book is for at least one channel; got channels={channels}")
    weights = chosen(graph, exclude, only)
    writer = _Writer(graph, bits)
    layers, left = [], 0
    for weight in weights:
        coded = _coded(weight, bits, channels, scaled) if np.isfinite(weight.array).all() else None
        if coded is None or writer.bytes_of(*coded) >= weight.array.nbytes:
            left += 1
            continue
        codes, books, scale = coded
        made = writer.write(weight, codes, books, scale)
        facts = {"weights": int(weight.array.size), "values": int(np.unique(made).size)}
        layers.append(LayerReport(weight.layer, {**facts, "weight_error": relative_error(weight.array, made)}))
    if not layers:
        raise ModelError("there is no layer whose codes would be smaller than its float32 weights")
    shared = writer.graph()
    settings = {"bits": bits, "channels": channels, "scaled": scaled}
    notes = [
        "the weights are put together when the model is loaded, which takes longer: the file is smaller, a run takes "
        "as long as before",
        *([f"{left} layer{'s stay' if left > 1 else ' stays'} float: codes would not be smaller"] if left else []),
    ]
    report = Report.of("share_weights", graph, shared, settings=settings, layers=layers, notes=notes, packed=True)
    return Compressed(shared, report)


def _call(graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
    del samples, forward  # the weights tell everything
    return share_weights(graph, **settings)


def _settings(graph: Graph) -> Iterator[Mapping[str, Any]]:
    del graph
    yield from ({"bits": bits} for bits in (8, 7, 6, 5, 4))


SHARE_WEIGHTS = Entry("share_weights", frozenset(), _call, _settings)
"""`share_weights` as a method that a search may try."""


def _coded(weight: Weight, bits: int, channels: int | None, scaled: bool) -> tuple[Array, list[Array], Array | None]:
    """Codes (the weight's shape; of the book of its channel), the books, and the factor per output channel."""
    exact = np.moveaxis(weight.array.astype(np.float64), weight.outs, 0)
    rows = exact.reshape(len(exact), -1)
    scale = np.sqrt(np.mean(rows**2, axis=1)).astype(np.float32)
    if not scaled or not (scale > 0).all() or rows.shape[1] == 1:
        factors, rows_scaled = None, rows
    else:
        factors, rows_scaled = scale, rows / scale[:, None].astype(np.float64)
    step = channels or len(rows)
    codes, books = np.empty(rows.shape, np.uint8), []
    for begin in range(0, len(rows), step):
        part = rows_scaled[begin : begin + step]
        matter = None if factors is None else np.broadcast_to(factors[begin : begin + step, None] ** 2.0, part.shape)
        books.append(codebook(part, 2**bits, matter))
        codes[begin : begin + step] = nearest(books[-1], part)
    return np.moveaxis(codes.reshape(exact.shape), 0, weight.outs), books, factors


class _Writer:
    """Puts codes in the place of weights, all layers in one rewrite."""

    def __init__(self, graph: Graph, bits: int) -> None:
        self._graph = graph
        self._names = Names(graph)
        self._slots = 8 // bits  # codes in a byte
        self._nodes: list[Node] = []
        self._constants: dict[str, Array] = {}
        self._replaced: set[str] = set()
        self._table = self._names.fresh("codes_of_a_byte")

    def bytes_of(self, codes: Array, books: Sequence[Array], scale: Array | None) -> int:
        """About what a layer takes in the file."""
        extra = 0 if len(books) == 1 else 4 * codes.shape[0]
        count = -(-codes.size // self._packed(codes))
        factors = 0 if scale is None else scale.nbytes
        return count + sum(book.nbytes for book in books) + factors + extra + OVERHEAD_BYTES

    def write(self, weight: Weight, codes: Array, books: Sequence[Array], scale: Array | None) -> Array:
        """The weight as the model will compute it."""
        name = weight.name
        offsets = np.cumsum([0, *(book.size for book in books[:-1])]).astype(np.int32)
        book = np.concatenate(books)
        index = self._indices(name, codes)
        along = [1] * codes.ndim
        along[weight.outs] = -1
        real = codes.astype(np.int32)
        if len(books) > 1:
            step = -(-codes.shape[weight.outs] // len(books))
            begins = np.repeat(offsets, step)[: codes.shape[weight.outs]].reshape(along)
            index = self._node("Add", (index, self._constant(f"{name}/begins", begins)), f"{name}/places")
            real = real + begins
        made: Array = book[real]
        parts = (self._constant(f"{name}/book", book), index)
        if scale is None:
            self._node("Gather", parts, name, own=True)
        else:
            plain = self._node("Gather", parts, f"{name}/plain")
            factors = np.ascontiguousarray(scale.reshape(along))
            self._node("Mul", (plain, self._constant(f"{name}/scale", factors)), name, own=True)
            made = made * factors
        self._replaced.add(name)
        return made

    def graph(self) -> Graph:
        """The graph with everything written."""
        made = rewritten(self._graph, Rewrite((), tuple(self._nodes), self._constants))
        return replace(made, constants={k: v for k, v in made.constants.items() if k not in self._replaced})

    def _indices(self, name: str, codes: Array) -> str:
        """The value of the codes as int32 of their shape."""
        slots = self._packed(codes)
        if slots == 1:
            raw = self._constant(f"{name}/codes", np.ascontiguousarray(codes))
            return self._cast(raw, f"{name}/index")
        width = 8 // slots
        shifts = (np.arange(slots) * width).astype(np.uint8)
        if self._table not in self._constants:
            rows = np.arange(256, dtype=np.int32)[:, None] >> shifts
            self._constants[self._table] = (rows & (2**width - 1)).astype(np.int32)
        bytes_ = np.bitwise_or.reduce(codes.reshape(-1, slots) << shifts, axis=1).astype(np.uint8)
        rows_name = self._cast(self._constant(f"{name}/codes", bytes_), f"{name}/bytes")
        several = self._node("Gather", (self._table, rows_name), f"{name}/several")
        shape = self._constant(f"{name}/shape", np.array(codes.shape, np.int64))
        return self._node("Reshape", (several, shape), f"{name}/index")

    def _packed(self, codes: Array) -> int:
        """Codes in a byte of this layer: what does not divide their count is not used."""
        return self._slots if codes.size % self._slots == 0 else 1

    def _cast(self, value: str, hint: str) -> str:
        return self._node("Cast", (value,), hint, to=INT32)

    def _constant(self, hint: str, array: Array) -> str:
        name = self._names.fresh(hint)
        self._constants[name] = array
        return name

    def _node(self, op_type: str, inputs: tuple[str, ...], output: str, *, own: bool = False, **attributes: Any) -> str:
        """A node; ``own``: its output keeps the name, that of the weight whose place it takes."""
        name = output if own else self._names.fresh(output)
        self._nodes.append(Node(self._names.fresh(f"{name}/{op_type}"), op_type, "", inputs, (name,), attributes))
        return name
