"""The journal of a search: every result on disk as soon as it is there; an interrupt loses only what was running.

A text file of lines, only ever added to: ``digest of the rest, a space, JSON, end of line``. The first line says what
the search is (its models, samples, limits and settings, by digest); a line that is torn or damaged counts as if it had
never been written, and a torn end is cut off before the next line is added. A line is written by one call and synced;
where the disk takes only part of it, what it took is cut off again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconv.errors import InputError, SourceError, one_line

__all__ = ["FORMAT", "Journal"]

FORMAT = "reconv search 1"


class Journal(Mapping[str, Any]):
    """Results by key. Without a path they are kept in memory alone."""

    def __init__(self, path: str | os.PathLike[str] | None = None, about: str = "") -> None:
        """Open or begin one.

        Args:
            path: of the file; None: nothing is written.
            about: what the search is, a digest; a journal of another search is not gone on with.

        Raises:
            InputError: the file is a journal of another search, or none at all.
            SourceError: it cannot be read or written.
        """
        self._path = None if path is None else Path(path)
        self._known: dict[str, Any] = {}
        if self._path is None:
            return
        if self._path.is_dir():
            raise InputError(f"the journal {path} is a folder; name a file")
        if not self._path.parent.is_dir():
            raise InputError(f"the journal {path} cannot be written: the folder {self._path.parent} does not exist")
        head = {"format": FORMAT, "about": about}
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            lines = list(_lines(whole))
            if not lines and not _line(head).startswith(data):
                raise InputError(f"{path} is not the journal of a search; name another file")
            if lines and lines[0] != head:
                raise InputError(
                    f"{path} is the journal of another search (another model, other samples, limits or settings): "
                    "name another file, or remove it"
                )
            if len(whole) != len(data):
                os.truncate(self._path, len(whole))
        except OSError as error:
            raise SourceError(f"the journal {path} cannot be read: {error.strerror or one_line(error)}") from error
        if lines:
            self._known = {line["key"]: line["value"] for line in lines[1:] if "key" in line}
        else:
            self._write(head)

    @property
    def path(self) -> Path | None:
        """Of the file; None where nothing is written."""
        return self._path

    def __getitem__(self, key: str) -> Any:
        return self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, key: str, value: Any) -> Any:
        """Keep a result (what JSON can say) and give it as it will be read again.

        Raises:
            SourceError: it cannot be written; the file is as it was before.
        """
        line = {"key": key, "value": value}
        if self._path is not None:
            self._write(line)
        self._known[key] = json.loads(json.dumps(value))
        return self._known[key]

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._path is not None
        data = _line(line)
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                size = os.fstat(file).st_size
                try:
                    if os.write(file, data) != len(data):
                        raise OSError(
                            errno.ENOSPC, os.strerror(errno.ENOSPC)
                        )  # a disk that is full takes a part, and says nothing
                    os.fsync(file)
                except BaseException:
                    with suppress(OSError):
                        os.ftruncate(file, size)
                    raise
            finally:
                os.close(file)
        except OSError as error:
            reason = error.strerror or one_line(error)
            raise SourceError(
                f"the journal {self._path} cannot be written: {reason}; what it holds is kept: make room, "
                "and the same call goes on from there"
            ) from error


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode()


def _line(content: Any) -> bytes:
    text = json.dumps(content, separators=(",", ":")).encode()
    return _digest(text) + b" " + text + b"\n"


def _lines(data: bytes) -> Iterator[Any]:
    for line in data.splitlines():
        digest, _, text = line.partition(b" ")
        if digest == _digest(text):
            yield json.loads(text)
