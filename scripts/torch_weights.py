"""Reads the tensors of a PyTorch state dict without PyTorch: both file formats of `torch.save`, nothing but numpy.

A state dict is a pickle whose tensors point at raw storages: in the zip format (since 1.6) they are members
`data/<key>`; in the older one they follow the pickles, each after its element count. Only the handful of names that a
plain state dict needs may be looked up, so that a file can neither run code nor smuggle objects in.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_STORAGES = {
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "DoubleStorage": np.float64,
    "LongStorage": np.int64,
}


class _Storage:
    """A flat buffer that is filled once its bytes are known; tensors are cut out of it afterwards."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self.dtype = np.dtype(dtype)
        self.data = np.zeros(0, dtype)


class _Tensor:
    """A view on a storage, not yet readable: (offset, sizes, strides) in elements."""

    def __init__(
        self, storage: _Storage, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...], *_: Any
    ) -> None:
        self.storage, self.offset, self.sizes, self.strides = storage, offset, sizes, strides

    def array(self) -> np.ndarray:
        item = self.storage.dtype.itemsize
        start = self.storage.data[self.offset :]
        return np.lib.stride_tricks.as_strided(start, self.sizes, tuple(s * item for s in self.strides)).copy()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase, persistent: Callable[[Any], Any]) -> None:
        super().__init__(file)
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state dict")

    def persistent_load(self, pid: Any) -> Any:
        return self._persistent(pid)


def load(path: Path) -> dict[str, np.ndarray]:
    """The state dict in `path`: tensor name -> array. Raises pickle.UnpicklingError for anything but plain tensors."""
    state = _load_zip(path) if zipfile.is_zipfile(path) else _load_old(path)
    return {name: tensor.array() for name, tensor in state.items()}


def _load_zip(path: Path) -> Mapping[str, _Tensor]:
    with zipfile.ZipFile(path) as archive:
        root = next(n for n in archive.namelist() if n.endswith("/data.pkl")).removesuffix("data.pkl")

        def persistent(pid: Any) -> _Storage:
            _, dtype, key, _, _ = pid
            storage = _Storage(dtype)
            storage.data = np.frombuffer(archive.read(f"{root}data/{key}"), dtype)
            return storage

        with archive.open(f"{root}data.pkl") as file:
            state: Mapping[str, _Tensor] = _Unpickler(io.BytesIO(file.read()), persistent).load()
        return state


def _load_old(path: Path) -> Mapping[str, _Tensor]:
    storages: dict[str, _Storage] = {}

    def persistent(pid: Any) -> _Storage:
        _, dtype, key, _, _, _ = pid
        return storages.setdefault(key, _Storage(dtype))

    with path.open("rb") as file:
        for _ in range(3):  # magic number, protocol version, byte order and sizes of the writing machine
            _Unpickler(file, persistent).load()
        state: Mapping[str, _Tensor] = _Unpickler(file, persistent).load()
        for key in _Unpickler(file, persistent).load():
            count = int(np.frombuffer(file.read(8), np.int64)[0])
            dtype = storages[key].dtype
            storages[key].data = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return state
