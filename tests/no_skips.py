"""pytest plugin: in continuous integration (CI is set) a test or a test file that skips itself fails.

On a developer's machine a test may do without what is not there: a clip that cannot be fetched, a library of an extra.
In continuous integration the same skip would hide for months that nothing is tested. An expected failure stays one.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


def forbidden() -> bool:
    return os.environ.get("CI", "") not in {"", "0", "false"}


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    if forbidden() and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which continuous integration does not allow: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail(report)
    return report
