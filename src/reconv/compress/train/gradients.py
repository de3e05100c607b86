"""Gradients of a loss by every weight of a graph, batch by batch: what importance by Taylor expansion asks for.

Molchanov et al., Importance Estimation for Neural Network Pruning (2019): what a channel is worth is the square of the
sum of weight times gradient over it, averaged over batches. One mean gradient over all samples would be near zero in a
trained network; that is why they come batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from reconv.compress.forward import Array, Feeds
from reconv.compress.train import losses
from reconv.compress.train.batches import Runner, check_samples
from reconv.compress.train.loop import limited_threads
from reconv.compress.train.net import Net
from reconv.errors import InputError
from reconv.graph import Graph

__all__ = ["OutputLoss", "gradients"]

OutputLoss: TypeAlias = Callable[[Mapping[str, torch.Tensor], "np.ndarray[Any, Any]"], torch.Tensor]


def gradients(
    graph: Graph,
    samples: Sequence[Feeds],
    loss: OutputLoss | None = None,
    *,
    labels: Sequence[int] | np.ndarray[Any, Any] | None = None,
    batch: int = 16,
    threads: int | None = None,
) -> Iterator[dict[str, Array]]:
    """For every batch the gradient by each weight, by the name of its constant and in its shape, float32.

    Args:
        graph: its batch norms normalise by their statistics.
        samples: the model's inputs, each with a batch axis of 1.
        loss: (outputs by name, rows of the samples) -> a number as a tensor. None: for an output of classes the
            cross-entropy with the labels, or without labels with the model's own answer, else half the mean square.
        labels: a class for each sample.

    Raises:
        InputError: no samples, or samples that do not fit.
        ModelError: an operator has no gradient here.
    """
    check_samples(graph, samples)
    names = [info.name for info in graph.outputs]
    targets = None if labels is None else np.asarray(labels, np.int64)
    if targets is not None and targets.shape != (len(samples),):
        raise InputError(f"labels have the shape {targets.shape}, expected one for each of {len(samples)} samples")
    net = Net(graph, norm="frozen")
    runner = Runner(net, [losses.logits_of(graph, name) if loss is None else name for name in names], samples)
    for begin in range(0, len(samples), batch):
        rows = np.arange(begin, min(begin + batch, len(samples)))
        with limited_threads(threads):
            net.zero_grad(set_to_none=True)
            found = runner(samples, rows.tolist())
            value = (
                _default(graph, dict(zip(names, found.values(), strict=True)), rows, targets)
                if loss is None
                else loss(found, rows)
            )
            value.backward()  # type: ignore[no-untyped-call]
        yield net.gradients()


def _default(
    graph: Graph, outputs: Mapping[str, torch.Tensor], rows: np.ndarray[Any, Any], targets: np.ndarray[Any, Any] | None
) -> torch.Tensor:
    kinds = losses.kinds_of(graph, {name: value.ndim for name, value in outputs.items()})
    total = torch.zeros(())
    for name, value in outputs.items():
        if kinds[name] == "values":
            total = total + value.square().mean() / 2
        else:
            wanted = value.detach().argmax(-1) if targets is None else torch.from_numpy(targets[rows])
            total = total + losses.labels_loss(value, wanted)
    return total
