"""What the commands of single methods share: the call with its status line, and the report as tables or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rich.text import Text

from reconv.app.console import console, in_bytes, parse_size, print_json
from reconv.app.grid import Grid
from reconv.app.opened import check_targets
from reconv.compress.result import PACKER, Compressed, Report, plain
from reconv.graph import load
from reconv.graph.external import external_files
from reconv.optimize.samples import Samples, open_samples

__all__ = ["DATA", "EXCLUDE", "METRIC", "OUTPUT", "answer", "layers", "opened", "sides", "tell"]

DATA = "Samples: a folder of pictures, with or without a sub-folder per class, an .npz or .npy, a video."
METRIC = "agreement, top1 or top1_agreement. Default: top1 with labels, else agreement with the untouched model."
OUTPUT = "The ONNX file to write. Without it only the report is made."
EXCLUDE = "A layer that stays as it is, by the name of its node; may be repeated."
SHOWN = 12  # layers of a table on the terminal; JSON has all
Say = Callable[[str], None]


def answer(
    model: str, output: str | None, read: tuple[str | None, ...], json: bool, call: Callable[[Say], Compressed]
) -> None:
    """Check the files, call, save, and tell. ``read``: what the command reads beside the model.

    Raises:
        InputError: the output would overwrite what is read; whatever the call raises.
    """
    check_targets({"--output": output}, (model, *external_files(model), *read))
    with console(stderr=True).status("looking at the model ...", spinner="line") as status:
        result = call(lambda what: status.update(Text(f"{what} ...")))
    tell(model, output, json, result)


def opened(model: str, data: str | None, recipe: str | None, size: str | None, limit: int | None) -> Samples | None:
    """The samples that were asked for, if any. Raises InputError, SourceError, ModelError, MissingError."""
    wanted = parse_size(size)
    return None if data is None else open_samples(data, load(model), recipe=recipe, size=wanted, limit=limit)


def tell(model: str, output: str | None, json: bool, result: Compressed) -> None:
    """Save the model and print its report."""
    if output is not None:
        result.save(output)
    if json:
        print_json({"model": model, "output": output, **result.report.to_json()})
        return
    talk = console()
    for grid in (*(layers(report) for report in (result.report, *result.report.steps)), sides(result.report)):
        if grid.rows:
            talk.print(grid.table())
            talk.print(grid.note + "\n" if grid.note else "", markup=False)
    for note in _notes(result.report):
        talk.print(note, markup=False)
    talk.print(
        f"{output}: written" if output else "nothing written: --output takes the ONNX file to write", markup=False
    )


def layers(report: Report) -> Grid:
    """What was done, layer by layer."""
    keys = list(dict.fromkeys(key for layer in report.layers for key in layer.facts))
    rows = [(layer.name, *(_cell(layer.facts.get(key)) for key in keys)) for layer in report.layers[:SHOWN]]
    more = len(report.layers) - len(rows)
    note = f"and {more} more layers (--json has all)" if more else ""
    return Grid(report.method, ("layer", *(key.replace("_", " ") for key in keys)), rows, note=note)


def sides(report: Report) -> Grid:
    """Both models beside one another: bytes, milliseconds, the metric."""
    old, new = report.before, report.after
    rows = [("file", in_bytes(old.file), in_bytes(new.file), f"x{new.file / max(old.file, 1):.3f}")]
    if old.packed and new.packed:
        rows.append(
            (f"packed, {PACKER}", in_bytes(old.packed), in_bytes(new.packed), f"x{new.packed / old.packed:.3f}")
        )
    found = report.measured or {}
    if "paired" in found:
        pair = found["paired"]
        interval = f"x{pair['ratio']:.3f} ({pair['low']:.3f} to {pair['high']:.3f})"
        rows.append((f"ms on {found['target']}", f"{pair['before_ms']:.3f}", f"{pair['after_ms']:.3f}", interval))
    if "load_ms" in found:
        first, second = found["load_ms"]["before"], found["load_ms"]["after"]
        rows.append(("ms to load", f"{first:.1f}", f"{second:.1f}", f"x{second / max(first, 1e-9):.2f}"))
    if "metric" in found:
        loss = f"loss {found['loss']:.4g}"
        rows.append((found["metric"], f"{found['value_before']:.4g}", f"{found['value']:.4g}", loss))
        rows.append(("error of the outputs", "", f"{found['output_error']:.4g}", f"over {found['samples']} samples"))
    note = "Times are medians of turns taken in one run; the ratio is paired, with its 95 % interval." if found else ""
    return Grid("before and after", ("", "before", "after", "change"), rows, frozenset({1, 2, 3}), note)


def _notes(report: Report) -> Iterator[str]:
    for each in (*report.steps, report):
        yield from (f"{each.method}: {note}" for note in each.notes)


def _cell(value: Any) -> str:
    value = plain(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(_cell(item) for item in value[:6]) + (" ..." if len(value) > 6 else "")
    return "" if value is None else str(value)
