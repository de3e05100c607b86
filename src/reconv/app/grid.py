"""A table as plain data, so that a terminal and a page show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

__all__ = ["Grid"]


@dataclass(frozen=True)
class Grid:
    """Cells as text. numbers: the columns that are set flush right, by their place. note: a sentence about the rows."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = field(default_factory=frozenset)
    note: str = ""

    def table(self, style: str | None = None) -> Table:
        """For a terminal; what is in the cells is text, never markup."""
        table = Table(title=Text(self.title), title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
        for place, name in enumerate(self.head):
            right = place in self.numbers
            table.add_column(Text(name), justify="right" if right else "left", overflow="fold", no_wrap=right)
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row), style=style)
        return table
