"""docs/compression.md is kept true: the calls and commands of its table exist, and every method is in it."""

from __future__ import annotations

import re
from pathlib import Path

import reconv
from reconv.app import COMMANDS
from reconv.app.compress import WAYS
from reconv.compress import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "compression.md").read_text(encoding="utf-8")


def table() -> list[list[str]]:
    """The rows of the first table, without its head."""
    rows = re.search(r"^\| call \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert rows
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows.group().strip().splitlines()[2:]]


def test_calls_of_the_table_are_public_and_all_methods_are_there() -> None:
    named = {name for row in table() for name in re.findall(r"`(\w+)`", row[0])}
    assert METHODS.keys() <= named
    assert all(name in reconv.__all__ for name in named)


def test_commands_of_the_table_exist() -> None:
    for row in table():
        words = re.findall(r"`reconv ([^`]+)`", row[1])[0].split()
        assert words[0] in COMMANDS
        names = re.findall(r"`(\w+)`", row[0])
        assert words[0] != "compress" or set(names) <= WAYS.keys()
        assert words[0] == "compress" or words[0] in names


def test_headings_are_of_one_level_and_nothing_is_left_to_be_filled_in() -> None:
    headings = re.findall(r"^(#+) ", PAGE, re.MULTILINE)
    assert headings.count("#") == 1
    assert "<!--" not in PAGE
