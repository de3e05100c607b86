"""Compression: a smaller and faster graph for a measured loss; standard ONNX in, standard ONNX out.

One file or folder per method, and `result` with what all of them give. `METHODS` is the table that a search goes
through. Methods see graphs and, where they need values, are handed a `forward.Forward` that runs them; what is for
users, who have files, is `reconv.optimize.compressing`.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconv.compress.combine import DISTIL_QUANTIZE, PRUNE_DISTIL_QUANTIZE, PRUNE_QUANTIZE
from reconv.compress.depth import DROP_BLOCKS
from reconv.compress.lowrank import FACTORIZE
from reconv.compress.prune import PRUNE
from reconv.compress.quantizing import QUANTIZE
from reconv.compress.result import Compressed, LayerReport, Method, Report, SizeReport
from reconv.compress.share import SHARE_WEIGHTS
from reconv.compress.sparse import SPARSIFY
from reconv.compress.spatial import SHRINK_INPUT
from reconv.compress.stride import EARLIER_STRIDE

__all__ = ["METHODS", "Compressed", "LayerReport", "Method", "Report", "SizeReport"]

METHODS: Mapping[str, Method] = {
    "quantize": QUANTIZE,
    "prune": PRUNE,
    "prune_quantize": PRUNE_QUANTIZE,
    "drop_blocks": DROP_BLOCKS,
    "factorize": FACTORIZE,
    "shrink_input": SHRINK_INPUT,
    "earlier_stride": EARLIER_STRIDE,
    "share_weights": SHARE_WEIGHTS,
    "sparsify": SPARSIFY,
    "distil_quantize": DISTIL_QUANTIZE,
    "prune_distil_quantize": PRUNE_DISTIL_QUANTIZE,
}
