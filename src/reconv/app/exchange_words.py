"""What `reconv exchange` says, once for the terminal and the page: the verdict, the proof, and five tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from reconv.app.console import in_bytes, number
from reconv.app.grid import Grid
from reconv.exchange.found import Declined, Gain, Refused, Unproved
from reconv.exchange.rules import RULES
from reconv.optimize.exchange_report import Report

__all__ = [
    "bugs",
    "declined",
    "done",
    "explained",
    "proof",
    "refused",
    "setting",
    "sides",
    "unproved",
    "verdict",
]

T = TypeVar("T")
COSTS = {"measured": "measured milliseconds", "macs": "operations", "memory": "peak bytes of maps"}


def verdict(report: Report) -> str:
    """One sentence: whether anything pays, and what it is worth."""
    if report.proof is not None and not report.proof.holds and not report.applied:
        return f"FAULT: {report.reason}. The model stays as it is; please report this."
    if not report.applied:
        return f"Nothing pays: the model stays as it is ({report.reason})."
    swaps = sum(report.counts.values())
    done = f"{swaps} swap{'s' * (swaps != 1)} done"
    if report.whole is not None:
        whole = report.whole
        return (
            f"{done}: {whole.ratio:.3f} of the time (95 % interval {whole.low:.3f} to {whole.high:.3f}) "
            f"on {report.setting.target}."
        )
    before, after = _costs(report)
    unit = report.setting.unit
    return f"{done}: {_amount(before, unit)} {unit} become {_amount(after, unit)} ({_change(before, after)})."


def setting(report: Report) -> str:
    """What the costs are of."""
    made = report.setting
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in made.shapes.items())
    where = f" on {made.target}, {made.threads} thread{'s' * (made.threads != 1)}" if made.cost == "measured" else ""
    late = "" if report.complete else "; the time was up before the search was through"
    return f"cost: {COSTS[made.cost]}{where}; {shapes}{late}"


def proof(report: Report) -> str:
    """What was compared at the end."""
    if report.proof is None:
        return "The whole models were not compared: there is nothing to compare."
    worst = max(report.proof.differences.values(), default=0.0)
    if not report.proof.holds:
        return f"The whole models DIFFER, so nothing was done: {report.proof.reason}."
    count = len(report.proof.differences)
    return (
        f"Both models give the same result: the largest difference over {count} output{'s' * (count != 1)} is "
        f"{worst:.2g} of what rounding may do."
    )


def sides(report: Report) -> Grid:
    """Both models beside one another."""
    old, new = report.before, report.after
    rows = [
        ("nodes", str(old.nodes), str(new.nodes), _change(old.nodes, new.nodes)),
        *(
            (name, number(first), number(second), _change(first, second))
            for name, first, second in (
                ("multiply-adds", old.multiply_adds, new.multiply_adds),
                ("operations", old.operations, new.operations),
            )
        ),
        *(
            (name, in_bytes(first), in_bytes(second), _change(first, second))
            for name, first, second in (
                ("weights", old.weight_bytes, new.weight_bytes),
                ("peak of maps", old.peak_bytes, new.peak_bytes),
            )
        ),
    ]
    note = ""
    if (whole := report.whole) is not None:
        rows.append(
            (
                f"ms on {report.setting.target}",
                f"{whole.before_ms:.3f}",
                f"{whole.after_ms:.3f}",
                f"x{whole.ratio:.3f} ({whole.low:.3f} to {whole.high:.3f})",
            )
        )
        note = "Times are medians of turns taken in one run; the ratio is paired, with its 95 % interval."
        if not report.applied:
            note += " They are of the model that was tried, the other rows of the one that is kept."
    return Grid("before and after", ("", "before", "after", "change"), rows, frozenset({1, 2, 3}), note)


def done(report: Report) -> Grid:
    """Swaps that are in the result, those done together in one line, and what the part that differs cost."""
    rows, unit = [], report.setting.unit
    traded: Counter[str] = Counter()
    for rules, gains in _grouped(report.gains, lambda gain: gain.rules):
        for gain in gains:
            traded.update(
                {n: report.counts[n] for n in gain.rules} if gain.node == "" else dict.fromkeys(gain.rules, 1)
            )
        before, after = _sums(gains)
        amounts = (_amount(before, unit), _amount(after, unit), _change(before, after))
        one = gains[0].node == ""
        times = sum(report.counts[name] for name in rules) if one else len(gains)
        rows.append((_names(rules), str(times), *amounts))
    for name, count in sorted(report.counts.items(), key=lambda pair: -pair[1]):
        if (rest := count - traded[name]) > 0:
            rows.append((name, str(rest), "", "", "never more work"))
    return Grid(
        "done" if report.applied else "tried, and given up with the whole",
        ("swap", "times", f"before, {unit}", f"after, {unit}", "worth"),
        rows,
        frozenset({1, 2, 3, 4}),
        "Costs are of the parts that differ, neighbours included; what is never more work was done wherever it may be.",
    )


def declined(report: Report) -> Grid:
    """Swaps that may be done and do not pay."""
    rows, unit = [], report.setting.unit
    for (rules, reason, counted), group in _grouped(report.declined, lambda one: (one.rules, one.reason, one.unit)):
        amounts = [_amount(value, counted) + (f" {counted}" if counted != unit else "") for value in _sums(group)]
        rows.append((_names(rules), str(len(group)), *amounts, reason))
    head = ("swap", "times", f"before, {unit}", f"after, {unit}", "why")
    return Grid("allowed, and not worth it", head, rows, frozenset({1, 2, 3}))


def refused(report: Report) -> Grid:
    """Patterns whose swap would not keep the result, by rule and reason."""
    rows = []
    for (rule, kind), group in _grouped(report.refused, lambda one: (one.rule, one.reason.partition(":")[0])):
        reasons = {one.reason for one in group}
        rows.append((rule, str(len(group)), reasons.pop() if len(reasons) == 1 else kind, _places(group)))
    return Grid("refused", ("rule", "times", "why", "where"), rows, frozenset({1}))


def bugs(report: Report) -> Grid:
    """Swaps that failed their proof: none of them was done."""
    rows = [(bug.rule, bug.node, bug.reason) for bug in report.bugs]
    return Grid("FAILED THEIR PROOF (not done; please report them)", ("rule", "node", "what differs"), rows)


def unproved(report: Report) -> Grid:
    """Swaps that nothing is known against, but that could not be evaluated, by rule and reason."""
    rows = []
    for (rule, reason), group in _grouped(report.unproved, lambda one: (one.rule, one.reason)):
        rows.append((rule, str(len(group)), reason, _places(group)))
    return Grid("not proved, and not done", ("rule", "times", "why", "where"), rows, frozenset({1}))


def explained(report: Report) -> Grid:
    """What the rules are that the other tables name."""
    named = set(report.counts) | {refusal.rule for refusal in report.refused} | {bug.rule for bug in report.bugs}
    named |= {swap.rule for swap in report.unproved}
    named |= {name for swap in report.declined for name in swap.rules}
    rows = [(rule.name, rule.family, rule.swap) for rule in RULES if rule.name in named]
    return Grid("the rules", ("rule", "family", "swap"), rows)


def _costs(report: Report) -> tuple[float, float]:
    name = "peak_bytes" if report.setting.cost == "memory" else "operations"
    return float(getattr(report.before, name)), float(getattr(report.after, name))


def _amount(value: float, unit: str) -> str:
    """Without its unit: that stands in the head of the column."""
    return f"{value:.3f}" if unit == "ms" else number(value)


def _change(before: float, after: float) -> str:
    if before == after:
        return "same"
    if not before:
        return f"+{number(after)}"
    change = after / before - 1
    return f"{change:+.1%}" if abs(change) >= 0.0005 else "hardly"


def _sums(parts: Sequence[Gain] | Sequence[Declined]) -> tuple[float, float]:
    return sum(part.before for part in parts), sum(part.after for part in parts)


def _names(rules: Sequence[str]) -> str:
    return ", then ".join(rules)


def _places(group: Sequence[Refused] | Sequence[Unproved]) -> str:
    return group[0].node + (f" and {len(group) - 1} more" if len(group) > 1 else "")


def _grouped(items: Iterable[T], key: Callable[[T], Any]) -> list[tuple[Any, list[T]]]:
    """In the order in which the keys first come, the largest groups first."""
    found: dict[Any, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return sorted(found.items(), key=lambda group: -len(group[1]))
