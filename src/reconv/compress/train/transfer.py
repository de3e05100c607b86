"""Transfer: a new head learns on features of a frozen backbone, which are computed once per sample.

    features = reconv.Features(model, pictures, cache, at="pooled")
    ours = transfer(new_head((1280,), 5), features, backbone=graph, at="pooled", course=Course(epochs=30))

The head is a graph of its own; the result is backbone and head in one model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from reconv.compress.result import Compressed, Report
from reconv.compress.train import losses
from reconv.compress.train.batches import digest_of
from reconv.compress.train.distil import outcome_notes
from reconv.compress.train.loop import Course, Rows, Say, train
from reconv.compress.train.net import Net
from reconv.errors import InputError
from reconv.graph import Graph, parse
from reconv.graph.join import join

__all__ = ["FeatureSamples", "new_head", "transfer"]

Array: TypeAlias = np.ndarray[Any, Any]
Maps: TypeAlias = "Array | Mapping[str, Array]"


class FeatureSamples(Protocol):
    """What `reconv.reuse.Features` is, or a list of pairs: features without a batch axis, and a label."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


def new_head(shape: Sequence[int], classes: int, *, opset: int = 17, seed: int = 0) -> Graph:
    """A fully connected layer from ``features`` of this shape (without the batch axis; maps are averaged first) to
    ``logits``; weights are drawn as torch does. ``opset`` is the backbone's.

    Raises:
        InputError: sizes or classes that make no layer.
    """
    if classes < 2 or not shape or any(size < 1 for size in shape):
        raise InputError(f"no head gives {classes} classes from values of shape {tuple(shape)}")
    bound = 1 / np.sqrt(shape[0])
    random = np.random.default_rng(seed)
    weights = {
        "weight": random.uniform(-bound, bound, (classes, shape[0])).astype(np.float32),
        "bias": random.uniform(-bound, bound, classes).astype(np.float32),
    }
    sizes = ", ".join(map(str, shape))
    pooled = "p = GlobalAveragePool (features) f = Flatten (p)" if len(shape) > 1 else "f = Identity (features)"
    text = f"head (float[batch, {sizes}] features) => (float[batch, {classes}] logits) "
    text += f"{{ {pooled} logits = Gemm <transB = 1> (f, weight, bias) }}"
    return parse(text, weights, opset)


def transfer(
    head: Graph,
    features: FeatureSamples,
    *,
    backbone: Graph | None = None,
    at: str | Mapping[str, str] | None = None,
    course: Course | None = None,
    loss: Callable[[Mapping[str, torch.Tensor], Array], torch.Tensor] | None = None,
    progress: Say | None = None,
) -> Compressed:
    """The head with weights learnt on features, behind the backbone if there is one.

    Args:
        head: takes the features.
        features: features and label of a sample by its place; each is asked for once per epoch. Features are an array,
            or a dict of them by value.
        backbone: the graph that makes the features; its opset is the head's.
        at: the value of the backbone that the head's only input is, or value -> input of the head for each; None: they
            have the same names.
        course: how long and how fast; None is `Course()`.
        loss: (outputs of the head by name, labels stacked) -> a number as a tensor. None: the cross-entropy, with
            whole numbers as labels.
        progress: called after every step.

    Raises:
        InputError: no samples, features that the head does not take, or what `loop.train` refuses.
        ModelError: the head cannot be trained, or not be joined to the backbone.
    """
    course = course or Course()
    if not len(features):
        raise InputError("there are no samples: pass pairs of features and label")
    net = Net(head)
    inputs = [info.name for info in head.inputs]
    joined = {at: inputs[0]} if isinstance(at, str) else dict(at) if at is not None else {name: name for name in inputs}

    def batch_of(rows: Rows) -> tuple[dict[str, torch.Tensor], Array]:
        pairs = [features[int(row)] for row in rows]
        try:
            maps = [_by_value(found, list(joined)) for found, _ in pairs]
            feeds = {name: torch.tensor(np.stack([each[value] for each in maps])) for value, name in joined.items()}
        except (KeyError, ValueError) as error:
            names = ", ".join(str(info) for info in head.inputs)
            raise InputError(f"the features do not fit the head, which wants {names}: {error}") from error
        return feeds, np.asarray([label for _, label in pairs])

    def step_loss(rows: Rows, _: np.random.Generator) -> torch.Tensor:
        feeds, labels = batch_of(rows)
        outputs = net(feeds)
        if loss is not None:
            return loss(outputs, labels)
        if len(outputs) != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                "without a loss the head has one output of classes, and labels are whole numbers: pass loss"
            )
        return losses.labels_loss(next(iter(outputs.values())), torch.from_numpy(labels.astype(np.int64)))

    feeds, labels = batch_of(np.arange(min(len(features), 8)))
    about = digest_of([{name: value.numpy() for name, value in feeds.items()}], labels)
    outcome = train(net, len(features), step_loss, course, say=progress, about=about)
    taught = net.graph()
    result = taught if backbone is None else join(backbone, taught, joined)
    told = {"samples": len(features), "at": joined, **course.told()}
    report = Report.of("transfer", backbone or head, result, settings=told, notes=outcome_notes(outcome))
    return Compressed(result, report)


def _by_value(found: Any, values: Sequence[str]) -> Mapping[str, Array]:
    """Raises KeyError where a single array stands for several values."""
    if isinstance(found, Mapping):
        return found
    if len(values) != 1:
        raise KeyError(values[0])
    return {values[0]: np.asarray(found)}
