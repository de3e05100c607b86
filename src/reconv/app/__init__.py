"""The command line. One function per command; the only folder of reconv that prints."""

from reconv.app.cli import COMMANDS, main

__all__ = ["COMMANDS", "main"]
