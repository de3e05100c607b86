"""The table of commands, and the way from a command line to an exit code.

A user's mistake is one line on stderr and exit code 2; Ctrl-C ends with 130.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from reconv._version import __version__
from reconv.app.bench import bench
from reconv.app.cache import replay_trace, write_workload
from reconv.app.cache_record import record
from reconv.app.compress import compress
from reconv.app.demo import demo
from reconv.app.distill import distill
from reconv.app.exchange import exchange
from reconv.app.inspect import inspect
from reconv.app.optimize import optimize
from reconv.app.prune import prune
from reconv.app.quantize import quantize
from reconv.app.run import run
from reconv.app.tune import tune
from reconv.errors import ReconvError, one_line

__all__ = ["COMMANDS", "main"]

Command = Callable[..., Any]
COMMANDS: dict[str, Command | dict[str, Command]] = {  # commands of its own make a group, which needs a line in GROUPS
    "run": run,
    "bench": bench,
    "tune": tune,
    "inspect": inspect,
    "exchange": exchange,
    "quantize": quantize,
    "prune": prune,
    "distill": distill,
    "compress": compress,
    "optimize": optimize,
    "demo": demo,
    "cache": {"record": record, "replay": replay_trace, "workload": write_workload},
}
GROUPS = {"cache": "Record and replay what caches are asked for."}

MISTAKE, STOPPED = 2, 130
# Typer's own mistakes (an unknown option, a missing argument). Its versions differ in whether they bring click along or
# import it, so the class is found from a public one.
UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"reconv {__version__}")
        raise typer.Exit


def _options(
    _version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Say the version and end."
    ),
) -> None:
    """Runs convolutional networks over streams and recomputes only what changed."""


def _build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_options)
    for name, command in COMMANDS.items():
        if isinstance(command, dict):
            group = typer.Typer(no_args_is_help=True, help=GROUPS[name])
            for part, function in command.items():
                group.command(part)(function)
            app.add_typer(group, name=name)
        else:
            app.command(name)(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (None: that of the process) and returns the exit code."""
    command = typer.main.get_command(_build())
    try:
        code = command.main(
            args=None if arguments is None else list(arguments), prog_name="reconv", standalone_mode=False
        )
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # `reconv` alone: the message is the help
            print(error.format_message())
            return MISTAKE
        return _mistake(f"{error.format_message()} (see reconv --help)")
    except ReconvError as error:
        return _mistake(one_line(error, 1000))
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # the reader of our stdout has gone, as in `reconv inspect m.onnx | head`
        sys.stderr.close()
        return 1
    except OSError as error:  # a disk that is full, say
        return _mistake(one_line(error))
    return code if isinstance(code, int) else 0


def _mistake(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return MISTAKE
