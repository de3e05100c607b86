"""reconv runs convolutional networks over streams and recomputes only what changed.

    import reconv
    model = reconv.load("detector.onnx")
    outputs = model.run({"images": x})              # dense, as ONNX Runtime would give
    stream = model.stream(tolerance=0.1)            # 0: bit for bit equal to model.run
    for x in frames:
        outputs = stream({"images": x})

This is the public door: what is listed here is public, and nothing else.
"""

from reconv._version import __version__
from reconv.engine import MapProfile, Model, Placed, Placement, Profile, Step, Stream, load
from reconv.errors import (
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

__all__ = [
    "ClosedError",
    "InputError",
    "MapProfile",
    "MissingError",
    "Model",
    "ModelError",
    "Placed",
    "Placement",
    "Profile",
    "ProfileError",
    "ReconvError",
    "SourceError",
    "Step",
    "Stream",
    "TailError",
    "TensorInfo",
    "__version__",
    "load",
]
