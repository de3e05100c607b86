"""Files of arrays: .npy and .npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reconv.errors import SourceError, one_line
from reconv.recipes.sources.source import Source

__all__ = ["array_file"]


def array_file(path: Path) -> Source:
    """One frame per entry of the first axis: uint8 (N, H, W, 3) are pictures, anything else goes to the network as it
    is; several arrays of an .npz give frames by name. Raises SourceError."""
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: not an array file that can be read: {one_line(error)}") from error
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or 0 in counts:
        shapes = ", ".join(f"{name or 'array'} {array.shape}" for name, array in arrays.items()) or "nothing"
        raise SourceError(f"{path}: arrays need one first axis, that of the frames; it holds {shapes}")
    (count,) = counts
    if len(arrays) > 1:
        return Source(
            str(path), None, None, count, lambda: ({n: a[k] for n, a in arrays.items()} for k in range(count))
        )
    (array,) = arrays.values()
    pictures = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3
    return Source(str(path), array.shape[1:3] if pictures else None, None, count, lambda: iter(array))
