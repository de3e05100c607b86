"""What the options of an ONNX Runtime session mean here.

Of ``providers``, one is ours: ``("ReconvExecutionProvider", {"tolerance": "0.1", "stream": "1"})``. Its options, words
or numbers:

    stream              1: every run is the next frame of one stream; 0 (the default): every run is dense and exact.
                        It has to be there, 1 or 0, when one of the options of a stream is
    tolerance           of the stream, in standard deviations; 0 by default
    profile             of the stream: the path of a tolerance profile
    refresh_every       of the stream: every so many runs one is dense
    audit_every         of the stream: at most every so many runs one checks itself, and the tolerance follows
    target              of those checks: the agreement to stay at
    dense               of the stream: "reconv" or "measured", as `reconv.engine.Model.stream` takes it
    kernels             "default", "measured" or a path, as `reconv.load` takes them
    memory_limit_bytes  of a dense run, as `reconv.load` takes it

Of the session options, ``intra_op_num_threads`` is the number of threads; the others are for ONNX Runtime's own
machinery and change nothing here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconv.engine.audit import TARGET
from reconv.engine.model import MOST_THREADS
from reconv.engine.plain import DenseChoice, check_dense
from reconv.errors import InputError

__all__ = ["CPU", "PROVIDER", "Providers", "check_dynamic", "chosen", "threads_of"]

PROVIDER, CPU = "ReconvExecutionProvider", "CPUExecutionProvider"
SILENT = frozenset({PROVIDER, CPU, "AzureExecutionProvider"})  # what onnxruntime's package for the CPU lists
YES, NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True)
class Providers:
    """Our provider's options, as numbers and words; ``given`` as they were written."""

    stream: bool = False
    tolerance: float | None = None
    profile: str | None = None
    refresh_every: int | None = None
    audit_every: int | None = None
    target: float = TARGET
    dense: DenseChoice = "reconv"
    kernels: str = "default"
    memory_limit_bytes: int | None = None
    given: Mapping[str, str] = field(default_factory=dict)


OPTIONS = tuple(name for name in Providers.__dataclass_fields__ if name != "given")
OF_A_STREAM = frozenset({"tolerance", "profile", "refresh_every", "audit_every", "target", "dense"})


def chosen(
    providers: Sequence[str | tuple[str, Mapping[str, Any]]] | None,
    provider_options: Sequence[Mapping[str, Any]] | None,
) -> Providers:
    """What a script asks for. Providers of other devices are not used, which a warning says once per session.

    Raises:
        InputError: an option is not known or not what it should be, the two lists do not fit together, or there are
            options of a stream and no ``stream``.
    """
    pairs = _pairs(providers, provider_options)
    if others := [name for name, _ in pairs if name not in SILENT]:
        warnings.warn(f"{', '.join(others)}: not used, reconv runs on the CPU", UserWarning, stacklevel=4)
    found = Providers()
    for name, options in pairs:
        if name == PROVIDER:
            found = _read(options)
    return found


def threads_of(options: Any) -> int | None:
    """How many threads a session of these ``SessionOptions`` has; None is as many as the process may use."""
    count = 0 if options is None else int(options.intra_op_num_threads)
    return min(count, MOST_THREADS) if count > 0 else None


def check_dynamic(options: Mapping[str, Any]) -> None:
    """Raises InputError: one is an option of ours, which a session has from the beginning."""
    if ours := [name for name in options if name in OPTIONS]:
        raise InputError(f"{PROVIDER}: {ours[0]} cannot change in a session; begin anew with set_providers")


def _pairs(providers: Any, provider_options: Any) -> list[tuple[str, Mapping[str, Any]]]:
    pairs: list[tuple[str, Mapping[str, Any]]] = []
    for entry in providers or ():
        if isinstance(entry, str):
            pairs.append((entry, {}))
        elif isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], Mapping):
            pairs.append((str(entry[0]), dict(entry[1])))
        else:
            raise InputError(f"a provider is a name, or a name with a dict of options; got {entry!r}")
    if provider_options is None:
        return pairs
    if len(provider_options) != len(pairs):
        raise InputError(f"{len(provider_options)} provider_options for {len(pairs)} providers; give one dict for each")
    if any(options for _, options in pairs):
        raise InputError("options are given in providers and in provider_options; use one of the two")
    return [(name, dict(options)) for (name, _), options in zip(pairs, provider_options, strict=True)]


def _read(options: Mapping[str, Any]) -> Providers:
    if unknown := [name for name in options if name not in OPTIONS]:
        raise InputError(f"{PROVIDER} has no option {unknown[0]!r}; there are {', '.join(OPTIONS)}")
    words = {name: str(value).strip() for name, value in options.items()}
    found = Providers(
        stream=_flag(words.get("stream", "0")),
        tolerance=_number(words, "tolerance", float),
        profile=words.get("profile") or None,
        refresh_every=_number(words, "refresh_every", int),
        audit_every=_number(words, "audit_every", int),
        target=_number({"target": str(TARGET), **words}, "target", float),
        dense=check_dense(words.get("dense", "reconv")),
        kernels=words.get("kernels", "default"),
        memory_limit_bytes=_number(words, "memory_limit_bytes", int),
        given=words,
    )
    if idle := [name for name in words if name in OF_A_STREAM and "stream" not in words]:
        raise InputError(
            f"{PROVIDER}: {idle[0]} is an option of a stream, and every run would be dense; "
            'add "stream": "1", or "0" for dense runs'
        )
    return found


def _flag(text: str) -> bool:
    if text.lower() in YES | NO:
        return text.lower() in YES
    raise InputError(f"{PROVIDER}: stream is {text!r}, expected 1 or 0")


def _number(words: Mapping[str, str], name: str, kind: Any) -> Any:
    if name not in words:
        return None
    try:
        return kind(words[name])
    except ValueError:
        raise InputError(f"{PROVIDER}: {name} is {words[name]!r}, expected a number") from None
