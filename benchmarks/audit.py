"""The self-audit on clips that go from quiet to busy: a person at a webcam, then much that moves.

Two clips are letterboxed to one size and joined. The stream starts at a tolerance that suits the quiet part; beside it
runs the same stream without audits. Agreement, shares and extra work are counts. Stretches are each part in halves.

The constants of audits were chosen on the first of `JOINS`; the clips of the others had no part in it, but for one:
that audits never go beyond the tolerance that was given was set after all three had been seen. The outputs of an
audited frame are the dense ones, so its agreement is 1: the agreement is told with these frames and without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.clips import ClipInputs
from benchmarks.options import Options
from reconv.engine.model import Model, load
from reconv.engine.stream import Stream
from reconv.measure import Array
from reconv.recipes import Recipe

SIZE, TINY = (576, 768), (96, 128)
PARTS = ("quiet", "busy")
STARTS = (0.1, 0.15, 0.2, 0.3)
EVERY, TARGET, BUDGET = 10, 0.98, 0.05
ASKED = {"target": TARGET, "within": 0.02, "extra_work": BUDGET}


@dataclass(frozen=True)
class Join:
    """Two clips, the quiet one first; `frames` of each at most. developed: the audit's constants were chosen on it."""

    clips: tuple[str, str]
    developed: bool
    frames: int | None = None


JOINS = (
    Join(("cap12", "vtest"), developed=True),
    Join(("cap13", "bikes"), developed=False),  # hand-held, with cuts: most of it is computed anew
    Join(("franck", "megamind"), developed=False, frames=400),  # a film: much moves, much stays
)


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


def joined(join: Join, clips: dict[str, ClipInputs], tiny: bool) -> Iterator[tuple[str, dict[str, Array]]]:
    """The parts one after the other: name of the part and inputs."""
    for name in PARTS:
        for inputs in clips[name].frames(count=12 if tiny else join.frames):
            yield name, inputs


def _stretches(names: list[str]) -> dict[str, range]:
    found: dict[str, range] = {"all": range(1, len(names))}
    for name in PARTS:
        first, count = names.index(name), names.count(name)
        middle = first + count // 2
        found[f"{name}, first half"] = range(max(first, 1), middle)
        found[f"{name}, second half"] = range(middle, first + count)
    return found


def stretch(words: str, part: range, run: Run, dense: list[Any], recipe: Recipe) -> dict[str, Any]:
    """What a run gave on some of its frames; `unaudited` is the agreement without the frames that were audited, None
    where nothing is left."""
    audited = set(run.audited)
    others = [place for place in part if place not in audited]

    def agreement(places: Sequence[int]) -> dict[str, float]:
        found = recipe.agreement([run.results[i] for i in places], [dense[i] for i in places])
        return {measure: round(value, 5) for measure, value in found.items()}

    return {
        "stretch": words,
        "frames": [part[0], part[-1]],
        "share": round(sum(run.shares[i] for i in part) / len(part), 5),
        "tolerance": round(sum(run.tolerances[i] for i in part) / len(part), 5),
        "agreement": agreement(part),
        "unaudited": agreement(others) if others else None,
    }


def run(options: Options) -> dict[str, Any]:
    return {"asked": ASKED, "every": EVERY, "joins": [_join(join, options) for join in JOINS]}


def _join(join: Join, options: Options) -> dict[str, Any]:
    path, size = options.asset("yolox_nano"), TINY if options.tiny else SIZE
    clips = {
        name: ClipInputs(path, "yolox", options.asset(clip), size) for name, clip in zip(PARTS, join.clips, strict=True)
    }
    title = " and then ".join(join.clips)
    model: Model = load(path)
    starts = STARTS[:1] if options.tiny else STARTS
    recipe = clips[PARTS[0]].recipe
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
    for name, inputs in joined(join, clips, options.tiny):
        if len(names) % 100 == 0:
            options.say(f"audit: {title}, frame {len(names)}")
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
            "stretches": [stretch(words, part, each, dense, recipe) for words, part in _stretches(names).items()],
        }
        for (start, audited), each in runs.items()
    ]
    for each in runs.values():
        each.stream.close()
    return {"clips": list(join.clips), "developed": join.developed, "frames": len(names), "rows": rows}
