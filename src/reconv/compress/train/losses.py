"""What a student is pulled towards: the teacher's classes, its values, its maps, and the labels.

Classes: Hinton et al., Distilling the Knowledge in a Neural Network (2015): the divergence of the student's
probabilities from the teacher's, both softened by a temperature T, times T² so that its gradients keep their size.
Values (maps, boxes, scores) and intermediate maps (Romero et al., FitNets, 2015): squared errors, in units of the
variance that each channel has in the teacher, so that pixels of a box and its probabilities weigh alike.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

from reconv.errors import InputError
from reconv.graph import Graph

__all__ = ["Adapter", "Kind", "channel_axis", "classes_loss", "kinds_of", "labels_loss", "logits_of", "values_loss"]

Tensor = torch.Tensor
Kind: TypeAlias = Literal["classes", "values"]


def logits_of(graph: Graph, output: str) -> str:
    """The value before the softmax, where an output is one: its differences are the logarithms' differences."""
    for node in graph.nodes:
        if output in node.outputs and node.op_type == "Softmax":
            return node.inputs[0]
    return output


def kinds_of(graph: Graph, ranks: dict[str, int]) -> dict[str, Kind]:
    """How each output is compared: (samples, classes) as classes, unless a sigmoid makes each a yes or no by itself."""
    makers = {name: node.op_type for node in graph.nodes for name in node.outputs}
    return {
        name: "classes" if rank == 2 and makers.get(name) not in ("Sigmoid", "HardSigmoid", "Tanh") else "values"
        for name, rank in ranks.items()
    }


def classes_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Of logits (samples, classes); the mean over the samples."""
    log_p = F.log_softmax(student.float() / temperature, -1)
    log_q = F.log_softmax(teacher.float() / temperature, -1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * temperature**2


def labels_loss(student: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(student.float(), labels)


def values_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared error in units of the variance of each channel; a channel that does not vary counts by the
    variance of the whole."""
    s, t = student.float(), teacher.float()
    if s.shape != t.shape:
        raise InputError(f"student and teacher give {tuple(s.shape)} and {tuple(t.shape)}: these cannot be compared")
    if t.ndim < 2:
        return F.mse_loss(s, t) / t.var(unbiased=False).clamp_min(1e-12)
    others = [axis for axis in range(t.ndim) if axis != channel_axis(t)]
    whole = t.var(unbiased=False).clamp_min(1e-12)
    each = t.var(others, unbiased=False)
    return ((s - t).square().mean(others) / torch.where(each > 1e-4 * whole, each, whole)).mean()


def channel_axis(value: Tensor) -> int:
    """1 for maps; of (samples, boxes, numbers) or its transpose the shorter of the two, of (samples, numbers) 1."""
    return 2 if value.ndim == 3 and value.shape[2] < value.shape[1] else 1


class Adapter(nn.Module):
    """A 1x1 convolution from the channels of a student's map to those of the teacher's; thrown away afterwards."""

    def __init__(self, channels: int, wanted: int, generator: torch.Generator) -> None:
        super().__init__()
        weight = torch.randn((wanted, channels), generator=generator) / channels**0.5
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("oc,nc...->no...", self.weight, x.float())
