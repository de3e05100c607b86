"""The self-audit on a clip that goes from quiet to busy: a person at a webcam, then a street with 3 to 10 walkers.

Both parts are letterboxed to one size and joined. The stream starts at a tolerance that suits the quiet part; beside it
runs the same stream without audits. Agreement, shares and extra work are counts. Stretches are each part in halves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.clips import ClipInputs
from benchmarks.options import Options
from reconv.engine.model import Model, load
from reconv.engine.stream import Stream
from reconv.measure import Array
from reconv.recipes import Recipe

SIZE, TINY = (576, 768), (96, 128)
PARTS = (("quiet", "cap12", 0, None), ("busy", "vtest", 0, None))  # name, clip, first frame, frames
STARTS = (0.1, 0.15, 0.2, 0.3)
EVERY, TARGET, BUDGET = 10, 0.98, 0.05
ASKED = {"target": TARGET, "within": 0.02, "extra_work": BUDGET}


@dataclass
class Run:
    """One stream over the clip."""

    stream: Stream
    results: list[Any] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    tolerances: list[float] = field(default_factory=list)
    audited: list[int] = field(default_factory=list)

    def take(self, inputs: dict[str, Array], recipe: Recipe) -> None:
        self.tolerances.append(self.stream.tolerance)
        outputs = self.stream(inputs)
        self.audited += [len(self.results)] * self.stream.last.audited
        self.results.append(recipe.decode(outputs))
        self.shares.append(self.stream.last.recomputed)


def joined(options: Options, recipe_of: dict[str, ClipInputs]) -> Iterator[tuple[str, dict[str, Array]]]:
    """The parts one after the other: name of the part and inputs."""
    for name, _, first, count in PARTS:
        for inputs in recipe_of[name].frames(first, 12 if options.tiny else count):
            yield name, inputs


def _stretches(names: list[str]) -> dict[str, range]:
    found: dict[str, range] = {"all": range(1, len(names))}
    for name, *_ in PARTS:
        first, count = names.index(name), names.count(name)
        middle = first + count // 2
        found[f"{name}, first half"] = range(max(first, 1), middle)
        found[f"{name}, second half"] = range(middle, first + count)
    return found


def run(options: Options) -> dict[str, Any]:
    path, size = options.asset("yolox_nano"), TINY if options.tiny else SIZE
    clips = {name: ClipInputs(path, "yolox", options.asset(clip), size) for name, clip, *_ in PARTS}
    model: Model = load(path)
    starts = STARTS[:1] if options.tiny else STARTS
    recipe = clips[PARTS[0][0]].recipe
    runs = {
        (start, audited): Run(
            model.stream(
                start,
                audit_every=EVERY if audited else None,
                target=TARGET,
                agreement=recipe.audit,
                audit_budget=BUDGET,
            )
        )
        for start in starts
        for audited in (True, False)
    }
    dense: list[Any] = []
    names: list[str] = []
    for name, inputs in joined(options, clips):
        if len(names) % 100 == 0:
            options.say(f"audit: frame {len(names)}")
        names.append(name)
        dense.append(clips[name].recipe.decode(model.run(inputs)))
        for each in runs.values():
            each.take(inputs, clips[name].recipe)
    rows = [
        {
            "start": start,
            "audited": audited,
            "audits": len(each.audited),
            "at": each.audited,
            "extra_work": round(each.stream.audit.extra_work, 5) if each.stream.audit else 0.0,
            "stretches": [
                {
                    "stretch": words,
                    "frames": [part[0], part[-1]],
                    "share": round(sum(each.shares[i] for i in part) / len(part), 5),
                    "tolerance": round(sum(each.tolerances[i] for i in part) / len(part), 5),
                    "agreement": {
                        measure: round(value, 5)
                        for measure, value in recipe.agreement(
                            [each.results[i] for i in part], [dense[i] for i in part]
                        ).items()
                    },
                }
                for words, part in _stretches(names).items()
            ],
        }
        for (start, audited), each in runs.items()
    ]
    for each in runs.values():
        each.stream.close()
    return {"asked": ASKED, "frames": len(names), "every": EVERY, "rows": rows}
