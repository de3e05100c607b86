"""What `reconv.optimize` found, tried and proved: data for tables, JSON and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconv.compress.result import plain
from reconv.optimize.limits import Evidence, Limits
from reconv.optimize.sensitivity import Sensitivity
from reconv.optimize.trial import Candidate, Trial

__all__ = ["Baseline", "OptimizeReport", "OptimizeSetting", "Proved"]


@dataclass(frozen=True)
class OptimizeSetting:
    """What was asked for. samples: how many methods were given, candidates were judged by, the result was proved by;
    shared: whether there were too few to keep these apart."""

    targets: tuple[str, ...]
    limits: Limits
    metric: str
    samples: tuple[int, int, int]
    shared: bool
    threads: int
    seconds: float
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Baseline:
    """The untouched model. value: of the metric on the samples of the proof; exchanged: what reordering did first."""

    value: float
    size_bytes: int
    exchanged: str


@dataclass(frozen=True)
class Proved:
    """A finalist on the samples of the proof, measured again. evidence: for every limit."""

    trial: Trial
    evidence: tuple[Evidence, ...]

    @property
    def met(self) -> bool:
        """Whether every limit is kept."""
        return all(each.met for each in self.evidence)


@dataclass(frozen=True)
class OptimizeReport:
    """One search.

    proved: the finalists, the chosen one last; closest: for each limit that the chosen one misses, the best figure of
    any candidate, whatever else that one misses; precision: layer -> "int8" or "float32" in the result; seconds: that
    trials took, those that the journal knew included; complete: False where the time was up.
    """

    setting: OptimizeSetting
    baseline: Baseline
    sensitivities: tuple[Sensitivity, ...]
    trials: tuple[Trial, ...]
    turns: Mapping[str, int]
    proved: tuple[Proved, ...]
    closest: Mapping[str, float]
    precision: Mapping[str, str]
    seconds: float
    complete: bool
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> Proved:
        """What is given: the first finalist that keeps every limit, or the one that came nearest."""
        return self.proved[-1]

    @property
    def met(self) -> bool:
        """Whether every limit is kept."""
        return self.chosen.met

    @property
    def missed(self) -> tuple[Evidence, ...]:
        """The limits that cannot be met, as far as the search got."""
        return tuple(each for each in self.chosen.evidence if not each.met)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``; None where a number is not finite."""
        setting, baseline = self.setting, self.baseline
        found = {
            "targets": setting.targets,
            "limits": setting.limits.to_json(),
            "metric": setting.metric,
            "samples": dict(zip(("fitted", "judged", "proved"), setting.samples, strict=True)),
            "samples_shared": setting.shared,
            "threads": setting.threads,
            "shapes": setting.shapes,
            "original": {"value": baseline.value, "size_bytes": baseline.size_bytes, "exchanged": baseline.exchanged},
            "met": self.met,
            "chosen": self.chosen.trial.to_json(),
            "evidence": [each.to_json() for each in self.chosen.evidence],
            "closest": self.closest,
            "finalists": [{"title": p.trial.candidate.title, "met": p.met} for p in self.proved],
            "precision": self.precision,
            "sensitivities": [{"layer": s.layer, "loss": s.loss, "error": s.error} for s in self.sensitivities],
            "trials": [trial.to_json() for trial in self.trials],
            "turns": self.turns,
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
            "notes": self.notes,
        }
        return plain(found)  # type: ignore[no-any-return]


def frontier(trials: Sequence[Trial]) -> list[Trial]:
    """The measured trials that no other beats in both time and loss, by time."""
    measured = sorted((t for t in trials if t.paired is not None), key=lambda t: (t.figures.latency_ms, t.loss))
    found: list[Trial] = []
    for trial in measured:
        if not found or trial.loss < found[-1].loss:
            found.append(trial)
    return found


def profile_of(candidate: Candidate, precision: Mapping[str, str], model: str, threads: int) -> dict[str, Any]:
    """How the result was made and is to be run, as a file that may be kept beside it."""
    return {
        "format": "reconv optimize profile 1",
        "model": model,
        "target": candidate.target,
        "threads": threads,
        "steps": [step.to_json() for step in candidate.steps],
        "precision": dict(precision),
    }
