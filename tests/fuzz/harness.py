"""Gives cases to worker processes one at a time: what a worker dies of, or never comes back from, is known by its case.

A worker (see `worker`) reads the number of a case from its standard input and answers with one line of JSON. It is
started again after it died or was ended.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["Outcome", "survey"]

ROOT = Path(__file__).parents[2]
IMPORTS = 60.0  # seconds that the first case of a process may take longer


@dataclass(frozen=True)
class Outcome:
    """What came of a case. ``verdict``: a worker's own word, or "crash" or "hang"."""

    index: int
    verdict: str
    said: str

    def __str__(self) -> str:
        return f"case {self.index}: {self.verdict}: {self.said}"


class _Worker:
    def __init__(self, command: Sequence[str]) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the worker
        path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )

    def ask(self, index: int, seconds: float) -> tuple[Outcome, bool]:
        """The outcome of a case, and whether the worker lives on."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(b"%d\n" % index)
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], seconds)
            if not ready:
                return Outcome(index, "hang", f"no answer within {seconds} s: {self.end()}"), False
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            code = self._process.wait()
            died = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Outcome(index, "crash", f"{died}: {self.end()}"), False
        answer = json.loads(line)
        return Outcome(index, answer["verdict"], answer["said"]), True

    def end(self) -> str:
        """End the process; the last of what it wrote to its standard error."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")
        self._errors.close()
        return said[-3000:]


def survey(arguments: Sequence[str], cases: Iterable[int], workers: int, seconds: float) -> list[Outcome]:
    """The outcomes of the cases, in order.

    Args:
        arguments: of Python, to start a worker.
        cases: their numbers.
        workers: how many processes at a time.
        seconds: within which a case has to be answered. The first of a process also waits for its imports.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in cases:
        waiting.put(index)
    found: list[Outcome] = []

    def work() -> None:
        worker, fresh = None, True
        while True:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                break
            if worker is None:
                worker, fresh = _Worker([sys.executable, *arguments]), True
            outcome, lives = worker.ask(index, seconds + IMPORTS * fresh)
            fresh = False
            found.append(outcome)
            if not lives:
                worker = None
        if worker is not None:
            worker.end()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found, key=lambda outcome: outcome.index)
