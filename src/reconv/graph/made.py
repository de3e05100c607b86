"""What whoever makes a model of another gives: its graph, as standard ONNX and as a file."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconv.graph.graph import Graph
from reconv.graph.write import save, to_onnx

__all__ = ["Made", "write_whole"]


@dataclass(frozen=True, eq=False)
class Made:
    """A model that was made. ``model``: an ``onnx.ModelProto``, made anew each time it is asked for."""

    graph: Graph

    @property
    def model(self) -> Any:
        return to_onnx(self.graph)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model; weights go into a file beside it where one file cannot hold them (2 GB).

        Raises:
            ModelError: the folder does not exist, or the file cannot be written.
        """
        save(self.graph, path)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that readers find all of it, or what was there before, and on a full disk nothing is lost.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:  # an interrupt too leaves no half of a file behind
            Path(file.name).unlink(missing_ok=True)
            raise
