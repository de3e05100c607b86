"""Training in torch: a graph as a module, distillation, quantization-aware training, transfer, gradients.

In the order in which a model flows through: `operators` (a torch function for each operator; `windows`, `maths`,
`moves` and `fake` hold them), `weights` (which constants are trained), `codes` (those of 8 bits, as floats), `net` (the
graph as a module, and back), `batches` (samples as tensors), `course` and `loop` (seeded epochs with checkpoints),
`losses`, and what users call: `distil`, `qat`, `transfer`, `gradients`.

The only folder that imports torch, which is the extra ``train``. This file does not: `need_torch` tells who lacks it.
"""

from __future__ import annotations

from importlib.util import find_spec

from reconv.errors import MissingError

__all__ = ["need_torch"]


def need_torch() -> None:
    """Ask whether torch is installed.

    Raises:
        MissingError: it is not.
    """
    if find_spec("torch") is None:
        raise MissingError("training needs torch, which is not installed: pip install 'reconv[train]'")
