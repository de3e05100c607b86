"""Hypothesis profiles of this folder: RECONV_HYPOTHESIS = ci (default), dev (a quick look) or long (hours of doubt)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SCALE = {"dev": 0.2, "ci": 1.0, "long": 40.0}[os.environ.get("RECONV_HYPOTHESIS", "ci")]


def examples(count: int) -> settings:
    """Settings of a test that takes `count` examples in continuous integration."""
    return settings(
        max_examples=max(5, round(count * SCALE)),
        deadline=None,
        derandomize=os.environ.get("RECONV_HYPOTHESIS", "ci") == "ci",
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
