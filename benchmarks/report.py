"""The pages made of the results: docs/benchmarks.md, and the summary between two marks in README.md.

A section is a function from one suite's JSON to lines; a suite without results is named as not measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.clip_tables import CLIP_HEAD, agreement_words, clip_rows
from benchmarks.report_audit import audit
from benchmarks.report_byte_frames import byte_frames
from benchmarks.report_caches import caching, policies
from benchmarks.report_exchange import exchange
from benchmarks.report_hard import hard
from benchmarks.report_int8 import agreement, compression, int8, int8_streams, optimize, sweeps
from benchmarks.report_memory import memory
from benchmarks.report_orders import orders
from benchmarks.report_recipes import recipes
from benchmarks.report_tune import tune
from benchmarks.tables import table

Suite = Mapping[str, Any]

INTRODUCTION = """\
# Benchmarks
Written by `make bench` out of `benchmarks/results/*.json`; do not edit. Contestants take turns on the same frames, each
in a process of its own; the first frame warms up. Ratios of one run can be compared, milliseconds of two machines
cannot. "Best rival" is the fastest dense runtime of the table in any precision. Reuse has three numbers, which go
together: time over the best rival's, share of the multiply-adds, agreement with dense inference. Frame holding (dense
inference on some frames, its answer held in between) and a motion gate (dense inference when enough pixels changed)
cost nothing to build; their time is their share of the best rival's. CPU ms are those of the whole process per frame,
spinning threads included.

Hard scenes, frames of bytes, sweeps and the MobileNet on Fashion-MNIST are of today's code. Audits, tuning and recipes
are of before steps with lists were divided into larger pieces, a tenth less time on two threads, and before the search
for factors went on for a third round. The other tables about 8 bits and compression are of today's code, but for
`optimize`, which ran before parts of models were opened without being written first and before its sweep ran variants
side by side. The busy and the quiet scene, shares, overhead and steady are of before all that, before streams ran dense
where most is stale and before profiles were chosen by probing groups of maps. Dense, memory, loop orders and
DenseNet-121's reordering were measured before 8-bit maps came to share the code of convolutions (the kernels for floats
are the same) and before a team's threads kept off their caller's processor, which makes runs after a pause quicker; the
other rows of reordering before threads went through bands side by side and shared smaller ops, with one process for
each file instead of three; all other sections before loop orders and planned memory. Coverage, overhead and steady are
also of before poolings came under the cutoff.
While the quiet scene was measured, the machine was not idle all the time: its milliseconds may be a little high.
"""
BEGIN, END = "<!-- summary: written by `make bench` from benchmarks/results -->", "<!-- end of summary -->"


def environment_line(suite: Suite) -> str:
    facts = dict(suite["environment"])
    cpu, cpus, isa = facts.pop("cpu"), facts.pop("cpus"), facts.pop("instruction_set")
    versions = ", ".join(f"{name} {value}" for name, value in facts.items())
    return f"*{suite['date']}; {cpu}, {cpus} CPUs, our kernels {isa}; {versions}*"


def coverage(suite: Suite) -> list[str]:
    rows = [
        [
            row["model"],
            f"{row['multiply_adds'] / 1e6:.0f}",
            f"{row['engine_share']:.2%}",
            f"{row['tail_nodes']} of {row['nodes']}"
            + (f" ({', '.join(row['tail_operators'])})" * bool(row["tail_nodes"])),
            f"{row['state_bytes'] / 1e6:.1f}",
        ]
        for row in suite["rows"]
    ]
    head = ["model", "million multiply-adds", "in the engine", "nodes in the tail", "MB of state per stream"]
    return ["## What runs in the engine", f"Asked for: {suite['asked']['engine_share']:.0%}.", "", *table(head, rows)]


def dense(suite: Suite) -> list[str]:
    lines = ["## Dense", "Time over ONNX Runtime's: median over turns, quartiles in brackets.", ""]
    peers = list(dict.fromkeys(row["peer"] for row in suite["rows"]))
    for summary in suite["summary"]:
        rows: dict[str, list[str]] = {}
        for row in suite["rows"]:
            if row["threads"] == summary["threads"]:
                over = row["over_onnxruntime"]
                entry = f"{over['median']:.2f} ({over['low']:.2f}-{over['high']:.2f}), {row['ms']['p50']:.2f} ms"
                rows.setdefault(row["model"], []).append(entry + f" {row['precision']}")
        lines += [f"### {summary['threads']} thread(s)", ""]
        lines += table(["model", *peers], ([model, *entries] for model, entries in rows.items()))
        asked = suite["asked"]
        lines.append(
            f"Ours over ONNX Runtime: geometric mean {summary['geometric_mean']:.3f} (asked for: "
            f"{asked['geometric_mean']}), largest {summary['largest']:.3f} (asked for: {asked['largest']})."
        )
        lines.append("")
    return lines


def _tuning(tuned: Suite) -> str:
    factors = [entry["factor"] for entry in tuned["factors"]] or [1.0]
    return (
        f"Profile chosen on the first {tuned['frames']} frames, the others are judged: tolerance {tuned['tolerance']} "
        f"with factors {min(factors):g} to {max(factors):g} for {len(factors)} groups of maps "
        f"(one tolerance for all maps: {tuned['single']['tolerance']})."
    )


def busy(suite: Suite) -> list[str]:
    asked = suite["asked"]
    lines = ["## Busy scene: YOLOX-Nano 576x768 over vtest.avi", _tuning(suite["tuned"])]
    lines += [
        f"Asked for: F1@0.75 {asked['f1@0.75']}, time over the best rival {asked['over_best']}, "
        f"F1@0.75 above frame holding at the same time {asked['above_holding']}.",
        "",
    ]
    for run in suite["runs"]:
        rows = clip_rows(run["rows"])
        for key, words in (("same_time", "at our time per frame"), ("same_work", "at our share of the work")):
            rows += [[f"{row[0]}, {words}", *row[1:]] for row in clip_rows(run[key])]
        lines += [f"### {run['threads']} thread(s)", "", *table(CLIP_HEAD, rows)]
    return lines


def quiet(suite: Suite) -> list[str]:
    asked = suite["asked"]
    lines = ["## Quiet scene: YOLOX-Nano 480x640 over the webcam clip cap12", _tuning(suite["tuned"])]
    lines += [
        f"Asked for: time over the best rival {asked['over_best']}, error of raw outputs {asked['error_of_frozen']} "
        "of a frozen first answer's.",
        "",
    ]
    for run in suite["runs"]:
        lines += [f"### {run['threads']} thread(s)", "", *table(CLIP_HEAD, clip_rows(run["rows"]))]
    return lines


def shares(suite: Suite) -> list[str]:
    lines = ["## Shares beside a simulation: YOLOX-Nano"]
    lines += [f"Asked for: recomputed within {suite['asked']['difference']} of the simulated share.", ""]
    rows = [
        [
            f"{row['clip']}, {row['frames'][0]} to {row['frames'][1]}",
            f"{row['tolerance']:g}",
            f"{row['share']:.3f}",
            f"{row['simulated']:.3f}",
            agreement_words(row),
        ]
        for row in suite["rows"]
    ]
    return lines + table(["clip, frames", "tolerance", "recomputed", "simulated", "agreement"], rows)


def overhead(suite: Suite) -> list[str]:
    asked = suite["asked"]
    lines = ["## Overhead: YOLOX-Nano 576x768, a part of the frame changing", "Time over ONNX Runtime's dense time."]
    lines += [f"Asked for: {asked['per_share']} · share + {asked['fixed']:.2f}; unchanged {asked['unchanged']}.", ""]
    rows = [
        [
            str(row["threads"]),
            f"{row['square']:.2%}",
            f"{row['recomputed']:.4f}",
            f"{row['over_onnxruntime']:.4f}",
            f"{asked['per_share'] * row['recomputed'] + asked['fixed']:.4f}"
            if row["square"]
            else str(asked["unchanged"]),
        ]
        for row in suite["squares"]
    ]
    lines += table(["threads", "pixels that change", "recomputed", "time over ONNX Runtime", "asked for"], rows)
    lines += ["### bikes.mp4 288x640: cuts and a moving camera", ""]
    rows = [
        [
            str(row["threads"]),
            str(row["tolerance"]),
            f"{row['recomputed']:.3f}",
            f"{row['over_onnxruntime']:.3f}",
            str(asked["bikes"]),
        ]
        for row in suite["bikes"]
    ]
    return lines + table(["threads", "tolerance", "recomputed", "time over ONNX Runtime", "asked for"], rows)


def steady(suite: Suite) -> list[str]:
    asked = suite["asked"]
    rows = [
        ["bytes of state, announced", str(suite["announced_state_bytes"]), str(asked["state_bytes"])],
        ["bytes of state, allocated", str(suite["state_bytes"]), "the same"],
        ["resident bytes after the first step", str(suite["resident_after_first_step"]), "-"],
        [f"growth in bytes over {suite['steps']} steps", str(suite["growth_bytes"]), str(asked["growth_bytes"])],
        [
            "CPU seconds outside steps, at 10 frames a second, over those in steps",
            str(suite["idle_cpu_share"]),
            str(asked["idle_cpu_share"]),
        ],
    ]
    head = ["", "measured", "at most"]
    return [f"## Steady: YOLOX-Nano 576x768, {suite['threads']} thread(s)", "", *table(head, rows)]


SECTIONS: Mapping[str, Callable[[Suite], list[str]]] = {
    "coverage": coverage,
    "dense": dense,
    "busy": busy,
    "quiet": quiet,
    "shares": shares,
    "overhead": overhead,
    "hard": hard,
    "audit": audit,
    "steady": steady,
    "caching": caching,
    "policies": policies,
    "exchange": exchange,
    "orders": orders,
    "memory": memory,
    "int8": int8,
    "agreement": agreement,
    "compression": compression,
    "optimize": optimize,
    "int8_streams": int8_streams,
    "sweeps": sweeps,
    "tune": tune,
    "recipes": recipes,
    "byte_frames": byte_frames,
}


def page(results: Mapping[str, Suite]) -> str:
    """docs/benchmarks.md."""
    lines = [INTRODUCTION]
    for name, section in SECTIONS.items():
        if name in results:
            head, *rest = section(results[name])
            lines += [head, environment_line(results[name]), "", *rest]
        else:
            lines += [f"## {name}", "Not measured yet.", ""]
    return "\n".join(lines).rstrip() + "\n"


def summary(results: Mapping[str, Suite]) -> str:
    """The README's table: one line per scene and number of threads; "" when nothing was measured."""
    rows = []
    for name, scene in (("busy", "a street, 3 to 10 walkers"), ("quiet", "a webcam, one person")):
        for run in results[name]["runs"] if name in results else []:
            ours = next(row for row in run["rows"] if row["name"] == "reconv-stream")
            best = next(row for row in run["rows"] if row["name"] == run["best"])
            agreement = agreement_words(ours)
            rows.append(
                [
                    scene,
                    str(run["threads"]),
                    f"{1 / ours['over_best']:.1f}x {best['title']} ({best['precision']})",
                    f"{ours['share']:.3f}",
                    agreement,
                    "-" if ours["error_of_frozen"] is None else f"{ours['error_of_frozen']:.2f}",
                ]
            )
    if not rows:
        return ""
    head = ["YOLOX-Nano on", "threads", "speed", "recomputed", "agreement", "error, of a frozen answer's"]
    machine = environment_line(next(results[name] for name in ("busy", "quiet") if name in results))
    return "\n".join([*table(head, rows), machine])


def write_pages(folder: Path, benchmarks_page: Path, readme: Path | None) -> None:
    """Writes the page, and the README's part between the marks, from the JSON in `folder`."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    benchmarks_page.write_text(page(results), encoding="utf-8")
    if readme is not None:
        before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"{readme}: the marks {BEGIN} and {END} are missing")
        text = summary(results)
        readme.write_text(f"{before}{BEGIN}\n{text}{chr(10) * bool(text)}{END}{after}", encoding="utf-8")
