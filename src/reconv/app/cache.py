"""`reconv cache`: record requests of real runs, replay them through every policy, beside what no policy can beat."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from reconv.app.console import console, in_bytes, number, print_json
from reconv.cache import ADMISSIONS, POLICIES, WORKLOADS, Replay, Trace, generate, read_trace, replay, write_trace
from reconv.cache.curves import check, draw
from reconv.cache.replaying import BOUND
from reconv.cache.tracefile import check_target
from reconv.errors import InputError

__all__ = ["facts", "in_words", "replay_trace", "write_workload"]

CAPACITIES = "1%,2%,5%,10%,20%,50%"
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}  # of B


def replay_trace(
    trace: str = typer.Argument(
        ...,
        help=f"A .csv or .oracleGeneral file (also .zst), or a workload as in zipf:seed=3 ({', '.join(WORKLOADS)}).",
    ),
    *,
    policy: str = typer.Option(",".join(POLICIES), help="One or several, separated by commas."),
    capacity: str = typer.Option(
        CAPACITIES, help="One or several: 64MB, 1GiB, bytes, or a share of the trace's footprint such as 10%."
    ),
    admission: str = typer.Option("all", help=f"Who is taken in: {', '.join(ADMISSIONS)}."),
    picture: str | None = typer.Option(None, help="Draw the curves over the capacities: .png, .svg or .pdf."),
    json: bool = typer.Option(False, "--json", help="The figures as JSON on stdout."),
) -> None:
    """Replay requests through eviction policies and say what each would have saved."""
    if picture is not None:
        check(Path(picture))
    names = list(dict.fromkeys(name.strip() for name in policy.split(",")))
    names = [name for name in names if name != BOUND]  # the last line of every table
    if unknown := [name for name in names if name not in POLICIES]:
        raise InputError(f"no policy is called {unknown[0]!r}; there are {', '.join(POLICIES)}")
    found = open_trace(trace)
    capacities = parse_capacities(capacity, found.footprint_bytes)
    runs = {}
    with console(stderr=True).status("replaying ...", spinner="line"):
        for size in capacities:
            runs[size] = [_timed(found, name, size, admission) for name in [*names, BOUND]]
            if not json:
                console().print(_table(size, runs[size], found))
    if picture is not None:
        curves = {run.policy: [each[k][0] for each in runs.values()] for k, (run, _) in enumerate(runs[capacities[0]])}
        draw(
            curves, picture, f"{Path(trace).name}: {number(len(found))} requests for {in_bytes(found.footprint_bytes)}"
        )
    if json:
        print_json(
            {"trace": trace, **facts(found), "admission": admission, "capacities": list(map(_as_json, runs.values()))}
        )
        return
    console().print(f"{in_words(found)}; no cache and no policy is above the bound")


def write_workload(
    workload: str = typer.Argument(..., help=f"Such as zipf:objects=500,seed=3 ({', '.join(WORKLOADS)})."),
    *,
    output: str = typer.Option(..., "--output", "-o", help="A .csv or .oracleGeneral file (also .zst)."),
    json: bool = typer.Option(False, "--json", help="The summary as JSON on stdout."),
) -> None:
    """Write a generated workload as a trace."""
    check_target(output)
    trace = generate(workload)
    write_trace(trace, output)
    if json:
        print_json({"workload": workload, **facts(trace), "output": output})
    else:
        console().print(f"{output}: {in_words(trace)}")


def open_trace(text: str) -> Trace:
    """A file where there is one of this name, else a workload. Raises CacheError, InputError."""
    if Path(text).is_file():
        return read_trace(text)
    if text.partition(":")[0] in WORKLOADS:
        return generate(text)
    raise InputError(f"no file and no workload is called {text}; workloads are {', '.join(WORKLOADS)}")


def parse_capacities(text: str, footprint_bytes: int) -> list[int]:
    """ "64MB,10%" in bytes, in ascending order. Raises InputError."""
    return sorted({_capacity(part.strip(), footprint_bytes) for part in text.split(",")})


def _capacity(text: str, footprint_bytes: int) -> int:
    digits = text.rstrip("%kKmMgGiIbB")
    unit = text[len(digits) :].lower().removesuffix("b")
    try:
        value = float(digits) * (footprint_bytes / 100 if unit == "%" else UNITS[unit])
        if 1 <= value < float("inf"):
            return int(value)
        if unit == "%" and value > 0:
            return 1
    except (ValueError, KeyError):
        pass
    raise InputError(f"--capacity is bytes as in 64MB or 1GiB, or a share as in 10%; got {text!r}")


Run = tuple[Replay, float]


def _timed(trace: Trace, policy: str, capacity_bytes: int, admission: str) -> Run:
    """A replay and its requests per second."""
    start = time.perf_counter()
    found = replay(
        trace.keys, trace.sizes, trace.costs, policy=policy, capacity_bytes=capacity_bytes, admission=admission
    )
    return found, len(trace) / (time.perf_counter() - start)


def _table(capacity_bytes: int, runs: Sequence[Run], trace: Trace) -> Table:
    share = 100 * capacity_bytes / trace.footprint_bytes
    table = Table(title=f"{in_bytes(capacity_bytes)}, {share:.3g}% of the footprint", title_justify="left")
    table.add_column("policy")
    for name in ("hit ratio", "byte hit ratio", "seconds saved", "hits off bound", "seconds off bound", "requests/s"):
        table.add_column(name, justify="right")
    best = runs[-1][0]
    for run, speed in runs:
        table.add_row(*_cells(run, best, speed))
    return table


def _cells(run: Replay, bound: Replay, speed: float) -> Iterator[str]:
    yield "bound" if run is bound else run.policy
    yield f"{run.hit_ratio:.4f}"
    yield f"{run.byte_hit_ratio:.4f}"
    yield f"{run.share_of_seconds_saved:.4f}"
    yield "" if run is bound else f"{bound.hit_ratio - run.hit_ratio:.4f}"
    yield "" if run is bound else f"{bound.share_of_seconds_saved - run.share_of_seconds_saved:.4f}"
    yield "" if run is bound else number(speed)


def facts(trace: Trace) -> dict[str, Any]:
    return {
        "requests": len(trace),
        "keys": trace.distinct,
        "footprint_bytes": trace.footprint_bytes,
        "seconds": trace.seconds,
    }


def in_words(trace: Trace) -> str:
    found = f"{number(len(trace))} requests for {number(trace.distinct)} keys of {in_bytes(trace.footprint_bytes)}"
    return f"{found}, {trace.seconds:.4g} s to compute them all"


def _as_json(runs: Sequence[Run]) -> dict[str, Any]:
    *policies, (bound, _) = runs
    return {
        "capacity_bytes": bound.capacity_bytes,
        "bound": _figures(bound) | {"exact": bound.exact},
        "policies": [
            {"policy": run.policy, **_figures(run), "evictions": run.evictions, "requests_per_second": round(speed)}
            for run, speed in policies
        ],
    }


def _figures(run: Replay) -> dict[str, float]:
    return {
        "hit_ratio": run.hit_ratio,
        "byte_hit_ratio": run.byte_hit_ratio,
        "seconds_saved": run.seconds_saved,
        "share_of_seconds_saved": run.share_of_seconds_saved,
    }
