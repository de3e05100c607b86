"""How far two float32 results of the same formula may be apart, by the reason why they differ.

exact              the same operations in the same order: equal bits (a NaN equals a NaN)
float32_reordered  sums in another order, fused multiply-adds, other approximations of elementary functions: a share of
                   what the largest term of the sum could contribute
float16            every value rounded to float16 on the way through a network: some 64 of its steps of the largest
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tolerance:
    """Passes where |got - expected| <= absolute + relative * |expected| + scaled * scale; scale is the test's: the sum
    of the magnitudes of all terms, or the largest magnitude of a map."""

    name: str
    relative: float = 0.0
    absolute: float = 0.0
    scaled: float = 0.0

    def check(self, got: NDArray[np.float32], expected: NDArray[Any], what: str, scale: Any = 0.0) -> None:
        """AssertionError where the arrays differ; values that are not finite must be the same ones."""
        assert got.shape == expected.shape, f"{what}: shape {got.shape} instead of {expected.shape}"
        with np.errstate(over="ignore"):
            single = expected.astype(np.float32)  # where the reference leaves float32's range, so may the result
        finite = np.isfinite(single)
        wrong = ~finite & ~((got == single) | (np.isnan(got) & np.isnan(single)))
        allowed = self.absolute + self.relative * np.abs(np.where(finite, expected, 0)) + self.scaled * scale
        error = np.abs(np.where(finite, got, 0).astype(np.float64) - np.where(finite, expected, 0))
        wrong |= ~(error <= allowed)  # a NaN is never within
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            raise AssertionError(
                f"{what} ({self.name}): {wrong.sum()} of {wrong.size} values differ, first at {at}: "
                f"{got[at]} instead of {expected[at]}"
            )


EXACT = Tolerance("exact")
FLOAT32_REORDERED = Tolerance("float32_reordered", relative=2e-6, absolute=1e-35, scaled=2e-6)
FLOAT16 = Tolerance("float16", relative=2.0**-10, absolute=2.0**-24, scaled=2.0**-5)
