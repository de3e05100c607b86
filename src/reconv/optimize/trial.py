"""A candidate of the search, and its trial: made, judged on held-out samples by the target itself, and measured there.

A candidate is data: the methods that are applied one after the other with their settings, and the target. So it can be
made again from the journal, and its key there is its own text.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from reconv.compress.forward import Forward
from reconv.compress.result import Method, plain
from reconv.errors import ReconvError, one_line
from reconv.graph import Graph, to_onnx
from reconv.measure import PEERS, Job, Runner
from reconv.optimize.footprint import footprint
from reconv.optimize.journal import Journal
from reconv.optimize.limits import Figures
from reconv.optimize.measured import Paired, paired, peer_of, settle_seconds
from reconv.optimize.metric import Judge
from reconv.optimize.samples import Samples

__all__ = ["Bench", "Candidate", "Step", "Trial"]

Array = np.ndarray[Any, Any]
BUILT = 3  # graphs that are kept, since the next candidate often goes on from one of them
FEWEST = 8  # samples that a method is given where it is tried on a part
CONFIRMATIONS = 3  # of what is about to be given
SECONDS = 0.8  # of the paired measurement of one candidate


@dataclass(frozen=True)
class Step:
    """One method of METHODS with its settings."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"method": self.method, "settings": plain(self.settings)}


@dataclass(frozen=True)
class Candidate:
    """steps: none is the model that the search began with. part: the share of the judge's samples that it is tried on;
    below 1 nothing is measured but the loss."""

    steps: tuple[Step, ...]
    target: str
    part: float = 1.0

    @property
    def key(self) -> str:
        """The same for the same candidate, in any process."""
        return json.dumps([[s.to_json() for s in self.steps], self.target, self.part], sort_keys=True)

    @property
    def title(self) -> str:
        """For tables."""
        return ", then ".join(_words(step) for step in self.steps) or "as it is"

    def to_json(self) -> dict[str, Any]:
        return {"steps": [step.to_json() for step in self.steps], "target": self.target}


@dataclass(frozen=True)
class Trial:
    """What became of a candidate. value, loss, error: `reconv.optimize.metric.Verdict`; paired: beside the original on
    the same target, None where the loss alone was asked for; failed: why there is nothing of all that, or ""."""

    candidate: Candidate
    value: float
    loss: float
    error: float
    size_bytes: int
    paired: Paired | None
    memory_bytes: int | None
    seconds: float
    failed: str = ""

    @property
    def figures(self) -> Figures:
        latency = float("inf") if self.paired is None else self.paired.after_ms
        return Figures(self.loss, self.size_bytes, latency, self.memory_bytes)

    def to_json(self) -> dict[str, Any]:
        """Plain values; None where a number is not finite."""
        return plain(  # type: ignore[no-any-return]
            {
                **self.candidate.to_json(),
                "title": self.candidate.title,
                "value": self.value,
                "loss": self.loss,
                "error": self.error,
                "size_bytes": self.size_bytes,
                "paired": None if self.paired is None else self.paired.to_json(),
                "memory_bytes": self.memory_bytes,
                "seconds": self.seconds,
                "failed": self.failed,
            }
        )


class Bench:
    """Makes, judges and measures candidates; what the journal knows is not done again. Close it."""

    def __init__(
        self,
        base: Graph,
        original: Graph,
        fit: Samples,
        judge: Judge,
        *,
        methods: Mapping[str, Method],
        forward: Forward,
        threads: int,
        memory: bool,
        journal: Journal,
        say: Callable[[str], None],
    ) -> None:
        """
        Args:
            base: what candidates are made of.
            original: what they are measured beside.
            fit: samples that methods are given.
            judge: over samples that no method has seen.
            memory: whether memory is measured.
        """
        self._base, self._original, self._fit, self._judge = base, original, fit, judge
        self._methods, self._forward, self._threads, self._memory = methods, forward, threads, memory
        self._journal, self._say = journal, say
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        self._beside: dict[str, Runner] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._shapes = judge.samples.shapes
        self._frame = dict(judge.samples[0])

    def close(self) -> None:
        """Close the runtimes that are open."""
        for runner in self._beside.values():
            runner.close()
        self._beside.clear()
        self._folder.cleanup()

    def graph(self, steps: Sequence[Step], part: float = 1.0) -> Graph:
        """The model after these steps, methods being given this share of their samples.

        Raises:
            ReconvError: a method cannot be applied.
        """
        if not steps:
            return self._base
        key = Candidate(tuple(steps), "", part).key
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        before = self.graph(steps[:-1], part)
        method = self._methods[steps[-1].method]
        fit = self._fit.most(max(FEWEST, round(part * len(self._fit))))
        made = method.apply(before, fit, self._forward, **steps[-1].settings).graph
        self._graphs[key] = made
        while len(self._graphs) > BUILT:
            self._graphs.popitem(last=False)
        return made

    def trial(self, candidate: Candidate) -> Trial:
        """Try a candidate, or take its trial from the journal."""
        judge = self._judge if candidate.part == 1 else self._judge.some(candidate.part)
        return self._known("trial", candidate, judge, 1)

    def proof(self, candidate: Candidate, judge: Judge) -> Trial:
        """The same over other samples, measured several times with sessions of their own: where a session's memory
        happens to lie makes it some percent faster or slower, and a search finds what was lucky."""
        return self._known("proof", candidate, judge, CONFIRMATIONS)

    def _known(self, kind: str, candidate: Candidate, judge: Judge, times: int) -> Trial:
        key = f"{kind} {candidate.key}"
        if key not in self._journal:
            self._say(f"{candidate.title}, on {candidate.target}")
            self._journal.add(key, self._tried(candidate, judge, times))
        found = dict(self._journal[key])
        pair = found.pop("paired")
        return Trial(candidate, paired=None if pair is None else Paired(**pair), **found)

    def _tried(self, candidate: Candidate, judge: Judge, times: int) -> dict[str, Any]:
        start = time.perf_counter()
        found: dict[str, Any] = {"value": float("-inf"), "loss": float("inf"), "error": float("inf"), "size_bytes": 0}
        found |= {"paired": None, "memory_bytes": None, "failed": ""}
        try:
            found |= self._measured(candidate, judge, times)
        except Exception as error:
            foreign = type(error).__module__.startswith(("onnxruntime", "openvino")) or type(error) is RuntimeError
            if not isinstance(error, ReconvError) and not foreign:
                raise
            found["failed"] = one_line(error)
        return found | {"seconds": round(time.perf_counter() - start, 3)}

    def _measured(self, candidate: Candidate, judge: Judge, times: int) -> dict[str, Any]:
        data = to_onnx(self.graph(candidate.steps, candidate.part)).SerializeToString()
        path = Path(self._folder.name) / "candidate.onnx"
        path.write_bytes(data)
        job = Job(str(path), self._shapes, self._threads)
        peer = peer_of(candidate.target)
        found: dict[str, Any] = {"size_bytes": len(data)}
        pairs = []
        for again in range(times):
            with closing(PEERS[peer].open(job)) as runner:
                if again == 0:
                    verdict = judge(runner(dict(feeds)) for feeds in judge.samples)
                    found |= {"value": verdict.value, "loss": verdict.loss, "error": verdict.error}
                if candidate.part < 1:
                    return found
                if times > 1:
                    self._forget(candidate.target)
                pairs.append(self._paired(self._runner(candidate.target), runner))
        middle = sorted(pairs, key=lambda pair: pair.ratio)[len(pairs) // 2]
        widest = replace(middle, low=min(pair.low for pair in pairs), high=max(pair.high for pair in pairs))
        found["paired"] = widest.to_json()
        if self._memory:
            found["memory_bytes"] = footprint(peer, job, self._frame)
        return found

    def _paired(self, first: Runner, second: Runner) -> Paired:
        settle = settle_seconds(self._threads)
        return paired(lambda: first(self._frame), lambda: second(self._frame), SECONDS, settle)

    def _forget(self, target: str) -> None:
        """The next measurement opens the original anew."""
        if target in self._beside:
            self._beside.pop(target).close()

    def _runner(self, target: str) -> Runner:
        """The original on a target."""
        if target not in self._beside:
            path = Path(self._folder.name) / "original.onnx"
            path.write_bytes(to_onnx(self._original).SerializeToString())
            self._beside[target] = PEERS[peer_of(target)].open(Job(str(path), self._shapes, self._threads))
        return self._beside[target]


def _words(step: Step) -> str:
    """A method and those of its settings that say most."""
    said = []
    for name, value in step.settings.items():
        if name == "exclude":
            said.append(f"{len(value)} layers float" if value else "all layers")
        elif name in ("only", "ratios", "target") or value is None:
            continue
        elif isinstance(value, bool):
            said.append(name.replace("_", " ") if value else f"no {name.replace('_', ' ')}")
        else:
            said.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" if name else str(value))
    return f"{step.method} ({', '.join(said)})" if said else step.method
