"""How far raw outputs are from dense ones, beside a frozen first answer's distance.

    error = mean |ours - dense| / mean |frozen - dense|        over all frames and values

On a clip where the answer hardly changes, everything agrees, a frozen answer too; this tells them apart. 0 is equal,
1 is as bad as never looking again. Needs dense outputs of the same frames, in order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reconv.measure.peers import Array


class OutputError:
    """Sums over frames; `add` is called once per frame with the dense outputs and ours."""

    def __init__(self) -> None:
        self._frozen: dict[str, Array] = {}
        self._ours = self._still = 0.0
        self._values = 0
        self.largest = 0.0

    def add(self, dense: Mapping[str, Array], ours: Mapping[str, Array]) -> None:
        """Raises ValueError when the outputs differ in name or shape."""
        if dense.keys() != ours.keys():
            raise ValueError(f"outputs {sorted(ours)} beside {sorted(dense)}")
        if not self._frozen:
            self._frozen = {name: array.copy() for name, array in dense.items()}
        for name, right in dense.items():
            if right.shape != ours[name].shape:
                raise ValueError(f"output {name}: {ours[name].shape} beside {right.shape}")
            off = np.subtract(ours[name], right, dtype=np.float64)
            still = np.subtract(self._frozen[name], right, dtype=np.float64)
            self._ours += float(np.abs(off).sum())
            self._still += float(np.abs(still).sum())
            self._values += right.size
            self.largest = max(self.largest, float(np.abs(off).max(initial=0.0)))

    @property
    def mean(self) -> float:
        """Mean absolute difference from the dense values."""
        return self._ours / max(self._values, 1)

    @property
    def of_frozen(self) -> float:
        """Our error as a share of the frozen answer's; infinite where the frozen answer is right and ours is not."""
        if self._still == 0:
            return 0.0 if self._ours == 0 else float("inf")
        return self._ours / self._still
