"""The rules, in the order in which they are tried. A rule is one file and one line here."""

from __future__ import annotations

from reconv.exchange.rule import Rule
from reconv.exchange.rules import pool_before_conv1x1

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (pool_before_conv1x1.RULE,)
