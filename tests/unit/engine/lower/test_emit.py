"""The phases of a transposed convolution against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reconv.engine.lower.emit import phases


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(0, 3))
def test_phases_add_up_to_the_transposed_convolution(
    kernel: int, stride: int, pad: int, dilation: int, extra: int
) -> None:
    random = np.random.default_rng(kernel)
    x, weight = random.standard_normal(6), random.standard_normal(kernel)
    out = (len(x) - 1) * stride + dilation * (kernel - 1) + 1 - pad + extra
    expected = np.zeros(out)
    for i, value in enumerate(x):
        for k in range(kernel):
            o = stride * i + dilation * k - pad
            if 0 <= o < out:
                expected[o] += value * weight[k]
    found = np.full(out, np.nan)
    for phase in phases(kernel, stride, pad, dilation, out):
        for q, o in enumerate(range(phase.phase, out, stride)):
            reads = [(q - phase.pad + j * phase.dilation, weight[k]) for j, k in enumerate(phase.taps)]
            found[o] = sum(x[i] * w for i, w in reads if 0 <= i < len(x))
    np.testing.assert_allclose(found, expected, atol=1e-12)
