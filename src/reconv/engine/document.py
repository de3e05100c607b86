"""Reading the JSON files of the engine, each of which names its format: tolerance profiles, kernel profiles."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconv.errors import ProfileError

__all__ = ["read_document"]


def read_document(
    source: Mapping[str, Any] | str | os.PathLike[str], name: str, kind: str, expected: str
) -> tuple[str, Mapping[str, Any]]:
    """What messages call the document, and its content: of a file, or given as it would stand there.

    Args:
        source: a path, or what the file's JSON holds.
        name: of such a document, in messages ("profile").
        kind: in words ("a tolerance profile").
        expected: its ``format``.

    Raises:
        ProfileError: no such file, not JSON, or another format.
    """
    where = f"the {name}" if isinstance(source, Mapping) else f"{name} {os.fspath(source)}"
    if not isinstance(source, Mapping):
        try:
            source = json.loads(Path(source).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ProfileError(f"{where} cannot be read: {error}") from error
    if not isinstance(source, Mapping) or source.get("format") != expected:
        raise ProfileError(f'{where} is not {kind}: expected "format": "{expected}"')
    return where, source
