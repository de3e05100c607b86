"""Errors of a session: ours, and ONNX Runtime's as well, so that a script's ``except`` clauses catch them.

What is raised below a session is of `reconv.errors`. A session raises it again as one that is of both kinds, with the
same message:

    input, name or option that does not fit    InputError or ProfileError, and ``InvalidArgument``
    no such file                               ModelError and ``NoSuchFile``
    not a readable model, or a folder          ModelError and ``InvalidProtobuf``
    a model that is not valid                  ModelError, ``InvalidGraph`` and ``Fail``: ONNX Runtime raises either
    ONNX Runtime failed                        TailError, and the kind that it raised
    what was bound does not fit                InputError, ``InvalidArgument`` and RuntimeError
    `RunOptions.terminate` is set              ReconvError and ``Fail``
"""


# mypy: allow-subclassing-any
# (ONNX Runtime has no types for its classes)

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from onnxruntime.capi import onnxruntime_pybind11_state as theirs

from reconv.errors import InputError, ModelError, ProfileError, ReconvError, TailError

__all__ = [
    "BindingError",
    "TerminatedError",
    "WrongSourceError",
    "bound_as_theirs",
    "check_file",
    "raised_as_theirs",
]


class InvalidArgumentError(InputError, theirs.InvalidArgument):
    """An input, an output's name or an option that does not fit."""


class WrongSourceError(InvalidArgumentError, TypeError):
    """What was given for a model is neither a path nor bytes."""


class BindingError(InvalidArgumentError, RuntimeError):
    """What was bound does not fit the model."""


class InvalidProfileError(ProfileError, theirs.InvalidArgument):
    """A tolerance or a profile that makes no sense, or is another model's."""


class MissingFileError(ModelError, theirs.NoSuchFile):
    """The model's file does not exist."""


class UnreadableError(ModelError, theirs.InvalidProtobuf):
    """The file, or the bytes, are not those of an ONNX model."""


class InvalidModelError(ModelError, theirs.InvalidGraph, theirs.Fail):
    """The model can be read and is not valid, or not supported."""


class TerminatedError(ReconvError, theirs.Fail):
    """The run options say that runs are to end."""


class TailFailedError(TailError, theirs.Fail):
    """ONNX Runtime failed in its part of the model."""


class TailStoppedError(TailError, theirs.RuntimeException):
    """A node of ONNX Runtime's part failed."""


class TailArgumentError(TailError, theirs.InvalidArgument):
    """A node of ONNX Runtime's part was given what it does not take."""


class TailInvalidError(TailError, theirs.InvalidGraph, theirs.Fail):
    """ONNX Runtime's part of the model is not valid to it."""


class TailMissingError(TailError, theirs.NotImplemented):
    """ONNX Runtime has no code for an operator of its part."""


TAILS: tuple[tuple[type[Exception], type[TailError]], ...] = (
    (theirs.RuntimeException, TailStoppedError),
    (theirs.InvalidArgument, TailArgumentError),
    (theirs.InvalidGraph, TailInvalidError),
    (theirs.NotImplemented, TailMissingError),
)


def check_file(path: str | os.PathLike[str]) -> None:
    """Raises ModelError: no such file, or a folder. Each is another kind of ONNX Runtime's."""
    if not os.path.exists(path):
        raise MissingFileError(f"{path} does not exist; expected an ONNX file")
    if os.path.isdir(path):
        raise UnreadableError(f"{path} is a folder; expected an ONNX file")


@contextmanager
def raised_as_theirs() -> Iterator[None]:
    """Raise errors of ours as ones that are ONNX Runtime's as well."""
    try:
        yield
    except ReconvError as error:
        kind = _kind(error)
        if isinstance(error, kind):
            raise
        raise kind(str(error)) from error


@contextmanager
def bound_as_theirs() -> Iterator[None]:
    """As `raised_as_theirs`, for a run of what was bound, where ONNX Runtime raises RuntimeErrors."""
    try:
        with raised_as_theirs():
            yield
    except InputError as error:
        if isinstance(error, BindingError):
            raise
        raise BindingError(str(error)) from error


def _kind(error: ReconvError) -> type[ReconvError]:
    """The class of both kinds for an error; its own where it is one, or corresponds to none of theirs."""
    if type(error).__module__ == __name__:
        return type(error)
    if isinstance(error, TailError):
        cause = error.__cause__
        return next((ours for kind, ours in TAILS if isinstance(cause, kind)), TailFailedError)
    if isinstance(error, ModelError):
        # a cause is what the protobuf package says of bytes, not what a check of ours did
        return UnreadableError if type(error.__cause__).__name__ == "DecodeError" else InvalidModelError
    if isinstance(error, ProfileError):
        return InvalidProfileError
    return InvalidArgumentError if isinstance(error, InputError) else type(error)
