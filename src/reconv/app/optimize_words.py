"""What `reconv optimize` says, once for the terminal and the page: the verdict, and three tables."""

from __future__ import annotations

from math import isfinite

from reconv.app.console import in_bytes
from reconv.app.grid import Grid
from reconv.optimize.limits import Evidence
from reconv.optimize.optimize_report import OptimizeReport

__all__ = ["limits", "sensitive", "setting", "tried", "verdict"]

SHOWN = 12  # layers in the table of the most sensitive ones
NAMES = {
    "max_degradation": "fall of the metric",
    "max_size_bytes": "size of the file",
    "max_latency_ms": "milliseconds",
    "max_memory_bytes": "memory",
}


def verdict(report: OptimizeReport) -> str:
    """One sentence: what is given, or which limit cannot be met and how close it came."""
    chosen = report.chosen.trial
    if report.met:
        pair = chosen.paired
        gain = "" if pair is None else f"{1 / max(pair.ratio, 1e-9):.2f}x as fast as the untouched model, "
        size = report.baseline.size_bytes / max(chosen.size_bytes, 1)
        return (
            f"{chosen.candidate.title} on {chosen.candidate.target}: {gain}{size:.2f}x smaller, "
            f"{report.setting.metric} {_metric(chosen.value)} ({_metric(report.baseline.value)} untouched). "
            "Every limit is kept."
        )
    parts = []
    for each in report.missed:
        close = report.closest.get(each.limit)
        best = "" if close is None else f", the best of any candidate {amount(each.limit, close)}"
        parts.append(
            f"{NAMES[each.limit]} of at most {amount(each.limit, each.allowed)} cannot be met: the nearest model has "
            f"{amount(each.limit, each.measured)}{_over(each)}{best}"
        )
    return "; ".join(parts) + "."


def setting(report: OptimizeReport) -> str:
    """What the figures are of."""
    made = report.setting
    fitted, judged, proved = made.samples
    threads = f"{made.threads} thread{'s' * (made.threads != 1)}"
    late = "" if report.complete else "; the time was up with candidates left to try"
    return (
        f"{made.metric} of {judged} samples, proved on {proved} others; methods were given {fitted}; "
        f"{', '.join(made.targets)}, {threads}; {len(report.trials)} trials in {report.seconds:.0f} s; "
        f"reordering: {report.baseline.exchanged}{late}"
    )


def limits(report: OptimizeReport) -> Grid:
    """Every limit with its evidence."""
    rows = [
        (
            NAMES[each.limit],
            amount(each.limit, each.allowed),
            amount(each.limit, each.measured),
            "kept" if each.met else f"MISSED{_over(each)}",
            each.how,
        )
        for each in report.chosen.evidence
    ]
    return Grid("limits", ("limit", "at most", "measured", "", "how it is known"), rows, frozenset({1, 2}))


def tried(report: OptimizeReport) -> Grid:
    """Measured candidates, the fastest first."""
    measured = sorted((t for t in report.trials if t.paired is not None), key=lambda t: t.figures.latency_ms)
    rows = [
        (
            trial.candidate.title,
            trial.candidate.target,
            _metric(trial.value),
            f"{trial.error:.3g}",
            f"{trial.figures.latency_ms:.3f}",
            "" if trial.paired is None else f"{trial.paired.ratio:.3f}",
            in_bytes(trial.size_bytes),
            "" if trial.memory_bytes is None else in_bytes(trial.memory_bytes),
        )
        for trial in measured
    ]
    head = ("candidate", "target", report.setting.metric, "error", "ms", "of the untouched time", "file", "memory")
    left = [trial for trial in report.trials if trial.failed]
    note = "error: of the raw outputs, as a share of their size."
    if left:
        note += f" {len(left)} could not be made or run, the first because: {left[0].failed}"
    return Grid("tried and measured", head, rows, frozenset(range(2, 8)), note)


def sensitive(report: OptimizeReport) -> Grid:
    """The layers that 8 bits cost most, and what they are now."""
    order = sorted(report.sensitivities, key=lambda each: -each.error)[:SHOWN]
    rows = [
        (each.layer, _metric(each.loss), f"{each.error:.3g}", report.precision.get(each.layer, "")) for each in order
    ]
    note = f"each alone in 8 bits; {len(report.sensitivities)} layers in all" if rows else ""
    return Grid("most sensitive layers", ("layer", "loss", "error", "in the result"), rows, frozenset({1, 2}), note)


def amount(limit: str, value: float | None) -> str:
    """A figure with its unit."""
    if value is None or not isfinite(value):
        return "unknown" if value is None else "no number"
    if limit == "max_degradation":
        return _metric(value)
    if limit == "max_latency_ms":
        return f"{value:.3f} ms" if value >= 0.001 else f"{value:.2g} ms"  # never 0 where it is not
    return in_bytes(value)


def _metric(value: float) -> str:
    return f"{value:.4f}" if isfinite(value) else "-"


def _over(each: Evidence) -> str:
    return f" ({each.over:+.1%})" if isfinite(each.over) and each.over else ""
