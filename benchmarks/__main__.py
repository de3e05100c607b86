"""Runs the benchmarks, writes one JSON per suite, and docs/benchmarks.md and the table of README.md out of them.

python -m benchmarks                 all suites (an idle machine, two hours)
python -m benchmarks dense busy      these
python -m benchmarks exchange --threads 1    at this number of threads alone
python -m benchmarks exchange --model densenet121    this model alone; the rows of the others stay as they are
python -m benchmarks --report        no measurements: write the pages anew from the JSON that is there
python -m benchmarks --tiny --results out/    see that all of it runs; the figures mean nothing
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import SUITES
from benchmarks.options import Options
from benchmarks.report import write_pages
from reconv.measure import environment
from scripts.assets import ASSETS, AssetError, fetch, folder

ROOT = Path(__file__).parents[1]


def asset(name: str) -> Path:
    """Path of an asset, fetched when it is not here."""
    for _ in fetch([name]):
        pass
    return folder() / ASSETS[name].file


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """New figures with those rows of the old ones that were not measured again."""
    lists = [key for key, value in new.items() if isinstance(value, list)]
    told = {key: {_about(row) for row in new[key]} for key in lists}
    return new | {key: [row for row in old.get(key, []) if _about(row) not in told[key]] + new[key] for key in lists}


def _about(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in ("model", "target", "threads", "network"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(SUITES)}; none means all")
    parser.add_argument("--tiny", action="store_true", help="small sizes and few frames; needs --results elsewhere")
    parser.add_argument("--threads", type=int, help="measure at this number of threads alone")
    parser.add_argument("--model", help="measure models alone whose name begins so; only for exchange and compression")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the pages")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the JSON")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.suites if name not in SUITES]:
        parser.error(f"no suite is called {', '.join(unknown)}; there are {', '.join(SUITES)}")
    own_results = options.results.resolve() == (ROOT / "benchmarks" / "results").resolve()
    if options.tiny and own_results:
        parser.error("figures of --tiny mean nothing: name another folder with --results")
    options.results.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    told = Options(options.tiny, asset, say, options.threads, options.model)
    if options.model and options.suites not in (["exchange"], ["compression"]):
        parser.error("--model is for the suites exchange and compression, one at a time")
    for name in [] if options.report else options.suites or SUITES:
        try:
            measured = SUITES[name](told)
        except AssetError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        written = options.results / f"{name}.json"
        if options.model and written.exists():
            measured = merged(json.loads(written.read_text(encoding="utf-8")), measured)
        made = {"suite": name, "date": datetime.date.today().isoformat(), "environment": environment()}
        text = json.dumps({**made, **measured}, indent=1)
        written.write_text(text + "\n", encoding="utf-8")
    # Tiny figures go beside their JSON: the pages of the manual hold measurements only.
    page, readme = (
        (ROOT / "docs/benchmarks.md", ROOT / "README.md") if own_results else (options.results / "page.md", None)
    )
    write_pages(options.results, page, readme)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
