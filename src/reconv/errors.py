"""The error tree: everything that reconv raises on purpose, and what each one means.

::

    ReconvError                    catch this to catch all of them
    ├── ModelError (ValueError)    the model cannot be read, or is not a valid ONNX model
    ├── InputError (ValueError)    what was handed to a model, a stream or a recipe does not fit it
    ├── ProfileError (ValueError)  a tolerance or a profile file does not make sense for this model
    ├── SourceError (ValueError)   a video, image or array file cannot be read or written
    ├── CacheError (ValueError)    a cache, a policy or a trace is asked for what it cannot be
    ├── ClosedError (RuntimeError) a stream was used after close()
    ├── TailError (RuntimeError)   ONNX Runtime refused or failed in the part of a model that it runs
    └── MissingError (ImportError) an optional package is needed and not installed

Messages are one line: what, where, expected against got, and what to do. Errors of foreign libraries never reach
the user bare; they are the ``__cause__`` of one of these.
"""

from __future__ import annotations

__all__ = [
    "CacheError",
    "ClosedError",
    "InputError",
    "MissingError",
    "ModelError",
    "ProfileError",
    "ReconvError",
    "SourceError",
    "TailError",
    "one_line",
]


class ReconvError(Exception):
    """Root of the tree."""


class ModelError(ReconvError, ValueError):
    """The model cannot be read, or is not a valid ONNX model."""


class InputError(ReconvError, ValueError):
    """An input has the wrong name, type or shape."""


class ProfileError(ReconvError, ValueError):
    """A tolerance or a profile does not make sense, or does not belong to this model."""


class SourceError(ReconvError, ValueError):
    """A video, image or array file cannot be read or written."""


class CacheError(ReconvError, ValueError):
    """A cache, a policy or a trace is asked for what it cannot be."""


class ClosedError(ReconvError, RuntimeError):
    """A stream was used after it was closed."""


class TailError(ReconvError, RuntimeError):
    """ONNX Runtime refused or failed in the part of a model that it runs."""


class MissingError(ReconvError, ImportError):
    """An optional package is needed and not installed."""


def one_line(error: BaseException, limit: int = 300) -> str:
    """The message of a foreign error as one line of at most ``limit`` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
