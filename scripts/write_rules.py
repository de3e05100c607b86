"""Writes the table of exchange rules in docs/exchange.md from the rules themselves.

    python scripts/write_rules.py

What a rule refuses is told in the words with which it refuses its own counter-examples, so that the table cannot say
what the rule does not do. A test compares the page with it.
"""

from __future__ import annotations

import re
from pathlib import Path

from reconv.exchange.rule import Refusal, Rule
from reconv.exchange.rules import RULES
from reconv.exchange.view import look

PAGE = Path(__file__).resolve().parents[1] / "docs" / "exchange.md"
BEGIN = "<!-- rules: written by scripts/write_rules.py from RULES -->\n"
END = "<!-- end of rules -->"


def reasons(rule: Rule) -> list[str]:
    """Why it refuses each of its counter-examples, each reason once."""
    found = []
    for part, example in rule.refused.items():
        view = look(example.graph())
        answers = [answer for node in view.graph.nodes if isinstance(answer := rule.match(view, node), Refusal)]
        found.append(next(answer.reason for answer in answers if part in answer.reason))
    return list(dict.fromkeys(found))


def table() -> str:
    """A row per rule, in the order in which they are tried."""
    rows = [
        f"| {rule.name} | {rule.family} | {rule.swap}{' *' if rule.simplifies else ''} | {'; '.join(reasons(rule))} |"
        for rule in RULES
    ]
    return "\n".join(["| rule | family | swap | refused when |", "| --- | --- | --- | --- |", *rows, ""])


def written(page: str) -> str:
    """The page with the table of today."""
    return re.sub(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", lambda _: table(), page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
