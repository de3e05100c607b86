"""Samples as batches of tensors, and networks that run them: together where that gives the same, else one by one.

Many files fix a batch of 1 somewhere inside (a Reshape to (1, -1)). Whether this one does is tried once, on two
samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from reconv.compress.forward import Feeds
from reconv.compress.train.net import Net
from reconv.errors import InputError, ModelError
from reconv.graph import Graph

__all__ = ["Runner", "check_samples", "digest_of", "stacked"]

# how far a batch may be from its samples one by one, in shares of the largest output: sums in another order, and with
# codes a few that came to lie on the other side of a tie for it
_ROUNDED, _ROUNDED_TO_CODES = 1e-3, 0.1

Tensor = torch.Tensor


def check_samples(graph: Graph, samples: Sequence[Feeds]) -> None:
    """Raises InputError: there are no samples, or one lacks an input, or has another type or other sizes than it."""
    if not len(samples):
        raise InputError("there are no samples: pass inputs as the model will meet them")
    for index, sample in enumerate(samples):
        for info in graph.inputs:
            if info.name not in sample:
                wanted = ", ".join(str(i) for i in graph.inputs)
                raise InputError(f"sample {index} lacks the input {info.name!r}; the model wants {wanted}")
            array = sample[info.name]
            shape, batch = np.shape(array), 0 if len(info.shape) else -1
            fits = len(shape) == len(info.shape) and all(
                not isinstance(wanted, int) or wanted == size or axis == batch
                for axis, (wanted, size) in enumerate(zip(info.shape, shape, strict=False))
            )
            if (info.has_rank and not fits) or np.asarray(array).dtype != info.dtype:
                got = f"{np.asarray(array).dtype} {shape}"
                raise InputError(f"sample {index} has {got} for the input {info}")


def stacked(samples: Sequence[Feeds], rows: Iterable[int]) -> dict[str, Tensor] | None:
    """The samples of these rows as one batch, maps with their channels last in memory; None where sizes differ."""
    chosen = [samples[int(row)] for row in rows]
    batch = {}
    for name in chosen[0]:
        arrays = [sample[name] for sample in chosen]
        if len({array.shape[1:] for array in arrays}) > 1 or not arrays[0].ndim:
            return None
        batch[name] = _tensor(np.concatenate(arrays))
    return batch


def digest_of(samples: Sequence[Feeds], labels: Iterable[object] | None = None) -> str:
    """A name for these samples, of the first, the last and eight between; and of all labels."""
    state = hashlib.sha256(str(len(samples)).encode())
    for row in sorted({int(row) for row in np.linspace(0, len(samples) - 1, 10)}):
        for name, array in sorted(samples[row].items()):
            state.update(f"{name} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    if labels is not None:
        state.update(np.asarray(labels).tobytes())
    return state.hexdigest()


class Runner:
    """A network on batches of samples."""

    def __init__(self, net: Net, outputs: Sequence[str], samples: Sequence[Feeds]) -> None:
        """Raises ModelError where the network runs on no sample, InputError where it has no such value."""
        self.net, self.outputs = net, list(outputs)
        self.together = self._tried(samples)
        if not self.together:
            net.freeze_norms()  # statistics of a single sample are none

    def _tried(self, samples: Sequence[Feeds]) -> bool:
        was = self.net.training
        self.net.eval()
        try:
            with torch.no_grad():
                single = [self._one(samples[row]) for row in (0, len(samples) - 1)]
                batch = stacked(samples, (0, len(samples) - 1))
                if batch is None:
                    return len({tuple(v.shape for v in _tensors(s).values()) for s in samples}) == 1
                try:
                    both = self.net(batch, self.outputs)
                except ModelError:
                    return False
        finally:
            self.net.train(was)
        slack = _ROUNDED_TO_CODES if self.net.coded else _ROUNDED
        for name in self.outputs:
            apart = [one[name] for one in single]
            if not apart[0].ndim or both[name].shape != torch.cat(apart).shape:
                return False
            scale = float(torch.cat(apart).abs().max()) or 1.0
            if not torch.allclose(both[name] / scale, torch.cat(apart) / scale, atol=slack):
                return False
        return True

    def _one(self, sample: Feeds) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.net(_tensors(sample), self.outputs)
        return found

    def __call__(self, samples: Sequence[Feeds], rows: Iterable[int]) -> dict[str, Tensor]:
        """The values for these rows, along the first axis."""
        rows = [int(row) for row in rows]
        batch = stacked(samples, rows) if self.together else None
        if batch is not None:
            return self.on(batch)
        each = [self._one(samples[row]) for row in rows]
        return {name: torch.cat([one[name] for one in each]) for name in self.outputs}

    def on(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values for a batch that is made already."""
        found: dict[str, Tensor] = self.net(batch, self.outputs)
        return found


def _tensors(sample: Feeds) -> dict[str, Tensor]:
    return {name: _tensor(array) for name, array in sample.items()}


def _tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
    tensor = torch.tensor(np.asarray(array))
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
