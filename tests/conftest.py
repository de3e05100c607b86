"""What all tests share: assets by name, fetched when they are not here yet (`scripts/assets.py`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from scripts.assets import ASSETS, AssetError, fetch, folder
from tests.no_skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["asset", "pytest_make_collect_report", "pytest_runtest_makereport"]


@cache
def _fetched(name: str) -> tuple[Path, str]:
    """The path of an asset, and why it cannot be had ("" when it can)."""
    path = folder() / ASSETS[name].file
    try:
        for _ in fetch([name]):
            pass
    except AssetError as error:
        return path, str(error)
    return path, ""


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    """asset(name) -> path. Skips with the reason when it cannot be had, a failure in continuous integration."""

    def find(name: str) -> Path:
        path, reason = _fetched(name)
        if reason:
            pytest.skip(f"asset {name}: {reason}")
        return path

    return find
