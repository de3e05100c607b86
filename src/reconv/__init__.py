"""reconv runs convolutional networks without recomputing what is already known.

    import reconv
    model = reconv.load("detector.onnx")
    outputs = model.run({"images": x})              # dense, as ONNX Runtime would give
    stream = model.stream(tolerance=0.1)            # 0: bit for bit equal to model.run
    for x in frames:
        outputs = stream({"images": x})

    cache = reconv.Cache(200_000_000)               # bytes; `reconv.cache` has policies, tiers and replay
    fast = reconv.cached(model, cache)              # fast.run(...): what was asked for before is not computed again

    small = reconv.quantize("detector.onnx", "pictures/", recipe="yolox")   # and prune, distill, optimize, ...
    small.save("small.onnx")                        # its size, speed and loss, measured: small.report

    session = reconv.InferenceSession("detector.onnx")  # for scripts that were written for onnxruntime

This is the public door: what is listed here is public, and nothing else; and the names of onnxruntime's own that such
scripts find in its module.
"""

from typing import TYPE_CHECKING, Any

from reconv._version import __version__
from reconv.cache import Cache, CacheStats
from reconv.cache.tiers import DiskTier, RedisTier
from reconv.compress.result import Compressed
from reconv.engine import Audit, MapProfile, Model, PixelArithmetic, Placed, Placement, Profile, Step, Stream, load
from reconv.engine.tuning import Tuned
from reconv.errors import (
    CacheError,
    ClosedError,
    InputError,
    MissingError,
    ModelError,
    ProfileError,
    ReconvError,
    SourceError,
    TailError,
)
from reconv.graph import TensorInfo
from reconv.optimize.compressing import (
    distil_quantize,
    distill,
    drop_blocks,
    earlier_stride,
    factorize,
    prune,
    prune_distil_quantize,
    prune_quantize,
    quantize,
    share_weights,
    shrink_input,
    sparsify,
)
from reconv.optimize.exchange import Exchanged, exchange
from reconv.optimize.limits import Limits
from reconv.optimize.optimize import Optimized, optimize
from reconv.optimize.tune import tune
from reconv.recipes import Recipe
from reconv.reuse.cached import Cached, cached
from reconv.reuse.features import Features
from reconv.reuse.prefix import Cut, SharedPrefix
from reconv.reuse.states import StreamPool
from reconv.session import NAMES, InferenceSession, look_up

__all__ = [
    "Audit",
    "Cache",
    "CacheError",
    "CacheStats",
    "Cached",
    "ClosedError",
    "Compressed",
    "Cut",
    "DiskTier",
    "Exchanged",
    "Features",
    "InferenceSession",
    "InputError",
    "Limits",
    "MapProfile",
    "MissingError",
    "Model",
    "ModelError",
    "Optimized",
    "PixelArithmetic",
    "Placed",
    "Placement",
    "Profile",
    "ProfileError",
    "Recipe",
    "ReconvError",
    "RedisTier",
    "SharedPrefix",
    "SourceError",
    "Step",
    "Stream",
    "StreamPool",
    "TailError",
    "TensorInfo",
    "Tuned",
    "__version__",
    "cached",
    "distil_quantize",
    "distill",
    "drop_blocks",
    "earlier_stride",
    "exchange",
    "factorize",
    "load",
    "optimize",
    "prune",
    "prune_distil_quantize",
    "prune_quantize",
    "quantize",
    "share_weights",
    "shrink_input",
    "sparsify",
    "tune",
]

if not TYPE_CHECKING:  # else a misspelt name of ours would pass for one of these

    def __getattr__(name: str) -> Any:
        if name in NAMES:
            return look_up(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
