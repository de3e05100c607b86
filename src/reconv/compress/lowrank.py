"""Low rank: a layer into two or three thin ones, where that takes fewer multiply-adds.

- A fully connected layer or 1x1 convolution W (outs x ins) becomes U (V x): the singular value decomposition, cut off.
- A kxk convolution becomes 1x1 (ins to r), kxk (r to s), 1x1 (s to outs): Tucker's decomposition of both channel axes
  (Kim et al. 2016), by higher-order orthogonal iteration (De Lathauwer et al. 2000) from the singular vectors of the
  two unfoldings. A factor that does not pay is left out.

With samples the directions that are kept are those of the real activations instead of those of the weights (Zhang et
al. 2016): outputs are projected on their own principal components, which is the best that any factors of that rank do
in least squares, inputs on the directions in which their covariance and the weights are large; the mean of what is
left out goes into the bias. Where pixels were few beside channels (a classifier's last layer sees one per sample), the
weights still count.

How many are kept: ``energy`` (a share of the squares, the same in all layers, so that those that can be cut are cut
most), or ``ratio`` (each layer may take that share of its multiply-adds; the energies of its two axes are then alike).
Layers that would not get cheaper stay as they are. Grouped and transposed convolutions stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reconv.compress.factor import Factors, Layer, Moments, factorized, layer_of
from reconv.compress.forward import values_of
from reconv.compress.result import Compressed, Entry, LayerReport, Report
from reconv.compress.weights import Weight, chosen, relative_error
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, Names, Node, Rewrite, rewritten

if TYPE_CHECKING:
    from reconv.compress.forward import Feeds, Forward

__all__ = ["FACTORIZE", "factorize"]

Array = np.ndarray[Any, Any]


def factorize(
    graph: Graph,
    *,
    ratio: float | None = None,
    energy: float | None = None,
    samples: Sequence[Feeds] = (),
    forward: Forward | None = None,
    multiple: int = 8,
    exclude: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Compressed:
    """Put thin layers in the place of thick ones.

    Args:
        graph: a float model with its batch norm folded.
        ratio: the share of its multiply-adds that a layer may take, between 0 and 1; 0.5 where neither is given.
        energy: instead of it, the share of the squares that each axis keeps, between 0 and 1.
        samples: inputs; with them the activations decide which directions are kept.
        forward: runs the graph on the samples.
        multiple: kept channels are a multiple of it where the layer is large enough.
        exclude, only: names of nodes.

    Raises:
        InputError: both or senseless shares, an unknown name, samples that do not fit or without a forward.
        ModelError: the graph is quantized, or no layer gets cheaper.
    """
    if ratio is not None and energy is not None:
        raise InputError("give ratio or energy, not both: either tells how many directions are kept")
    share = energy if energy is not None else 0.5 if ratio is None else ratio
    if not 0 < share < 1:
        raise InputError(f"{'energy' if energy is not None else 'ratio'} is a share between 0 and 1; got {share}")
    if multiple < 1:
        raise InputError(f"multiple is a number of channels from 1 up; got {multiple}")
    if len(samples) and forward is None:
        raise InputError("samples are given and nothing that runs the graph on them")
    layers = _layers(graph, chosen(graph, exclude, only))
    moments = _moments(graph, layers, samples, forward) if len(samples) and forward is not None else {}
    names, constants = Names(graph), dict[str, Array]()
    taken, after, told = list[Node](), list[Node](), list[LayerReport]()
    for layer in layers:
        found = factorized(
            layer,
            ratio=share if energy is None else None,
            energy=energy,
            multiple=multiple,
            moments=moments.get(layer.node.name),
        )
        if found is None:
            continue
        nodes, new = _written(layer, found, names)
        taken.append(layer.node)
        after += nodes
        constants |= new
        told.append(_told(layer, found))
    if not told:
        raise ModelError("no layer gets cheaper at that share: ask for a smaller ratio or energy")
    made = rewritten(graph, Rewrite(tuple(taken), tuple(after), constants))
    settings = {"energy": energy} if energy is not None else {"ratio": share}
    settings |= {"multiple": multiple, "samples": len(samples)}
    notes = [f"{len(told)} of {len(layers)} layers are thinner"]
    return Compressed(made, Report.of("factorize", graph, made, settings=settings, layers=told, notes=notes))


def _call(graph: Graph, samples: Sequence[Feeds], forward: Forward, **settings: Any) -> Compressed:
    return factorize(graph, samples=samples, forward=forward, **settings)


def _settings(graph: Graph) -> Iterator[Mapping[str, Any]]:
    del graph
    yield from ({"energy": energy} for energy in (0.999, 0.997, 0.99, 0.97, 0.93, 0.85, 0.7))


FACTORIZE = Entry("factorize", frozenset({"samples"}), _call, _settings)
"""`factorize` on activations as a method that a search may try."""


def _layers(graph: Graph, weights: Sequence[Weight]) -> list[Layer]:
    found = []
    for weight in weights:
        for node in weight.nodes:
            layer = layer_of(graph, node)
            if layer is not None:
                found.append(layer)
    return found


def _moments(graph: Graph, layers: Sequence[Layer], samples: Sequence[Feeds], forward: Forward) -> dict[str, Moments]:
    """Per layer, over all samples. The mean counts as 0 where the layer has no bias to put it in: MatMul."""
    sums: dict[str, list[Any]] = {}
    names = [layer.node.inputs[0] for layer in layers] + [n.node.outputs[0] for n in layers if not n.flat]
    for values in values_of(forward, graph, names, samples):
        for layer in layers:
            new: list[Any] = []
            for name in (layer.node.inputs[0], *(() if layer.flat else layer.node.outputs)):
                rows = np.moveaxis(values[name], layer.axis, -1).reshape(-1, values[name].shape[layer.axis])
                rows = rows.astype(np.float64)
                new += [len(rows), rows.sum(axis=0), rows.T @ rows]
            old = sums.get(layer.node.name)
            sums[layer.node.name] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]
    return {layer.node.name: _moments_of(layer, sums[layer.node.name]) for layer in layers}


def _moments_of(layer: Layer, sums: Sequence[Any]) -> Moments:
    """Of (pixels, sums, sums of products) of the inputs, and of the outputs where the layer is not flat."""
    means, products = [], []
    for count, first, second in zip(sums[::3], sums[1::3], sums[2::3], strict=True):
        means.append(first / count if layer.node.op_type != "MatMul" else np.zeros_like(first))
        products.append(second / count)
    power = float(np.trace(products[0])) / len(products[0])
    if not layer.flat:
        return Moments(products[0], sums[0], power, means[1], products[1] - np.outer(means[1], means[1]), sums[3])
    mean = layer.kernel[:, :, 0] @ means[0]
    mean = mean if layer.bias is None else mean + layer.bias
    return Moments(products[0] - np.outer(means[0], means[0]), sums[0], power, mean, None, sums[0])


def _written(layer: Layer, factors: Factors, names: Names) -> tuple[list[Node], dict[str, Array]]:
    """The thin nodes of a layer, in order, and their constants."""
    node, constants = layer.node, dict[str, Array]()
    x, nodes = node.inputs[0], list[Node]()
    for place, part in enumerate(factors.parts, 1):
        last = place == len(factors.parts)
        y = node.outputs[0] if last else names.fresh(f"{node.outputs[0]}/thin")
        inputs = [x, names.fresh(f"{layer.weight_name}/{part.role}")]
        constants[inputs[1]] = np.ascontiguousarray(part.weight, np.float32)
        if last and factors.bias is not None:
            inputs.append(names.fresh(f"{layer.weight_name}/bias"))
            constants[inputs[2]] = factors.bias.astype(np.float32)
        name = names.fresh(f"{node.name}/{part.role}")
        nodes.append(Node(name, part.op_type, "", tuple(inputs), (y,), part.attributes))
        x = y
    return nodes, constants


def _told(layer: Layer, factors: Factors) -> LayerReport:
    error = relative_error(layer.kernel, factors.whole)
    facts = {"ranks": list(factors.ranks), "multiply_adds": factors.cost / layer.cost, "weight_error": error}
    return LayerReport(layer.node.name, facts)
