"""Steadiness of a stream: memory over 10,000 steps, bytes of state, and CPU seconds when fed at 10 frames a second.

Runs in a process of its own, so that nothing else that a benchmark did is counted.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import ClipInputs
from benchmarks.models import YOLOX
from benchmarks.options import Options
from reconv.engine.model import load
from reconv.measure import allowed_threads

STEPS = 10_000
FRAMES_PER_SECOND = 10
ASKED = {"growth_bytes": 1_000_000, "state_bytes": 95_000_000, "idle_cpu_share": 0.01}


def resident_bytes() -> int:
    """Memory of this process that is in RAM (Linux)."""
    fields = Path("/proc/self/statm").read_text(encoding="utf-8").split()
    return int(fields[1]) * 4096


def _steps(model: Path, video: Path, size: tuple[int, int], steps: int, paced_steps: int) -> dict[str, Any]:
    clip = ClipInputs(model, "yolox", video, size)
    frames = [dict(inputs) for inputs in clip.frames(100, min(40, steps))]
    threads = min(2, allowed_threads())
    loaded = load(model, threads=threads)
    shape = tuple(int(n) for n in frames[0][clip.input].shape)
    announced = loaded.placement({clip.input: shape}).state_bytes
    before = resident_bytes()
    stream = loaded.stream(tolerance=0.1)
    # There and back again, so that no step of the sequence is a cut.
    there_and_back = itertools.cycle(frames + frames[-2:0:-1])
    stream(next(there_and_back))
    grown_by_first = resident_bytes() - before
    marks = []
    for step in range(1, steps):
        stream(next(there_and_back))
        if step % max(steps // 20, 1) == 0:
            marks.append(resident_bytes())
    idle = _idle_cpu(stream, there_and_back, paced_steps)
    half = len(marks) // 2
    return {
        "threads": threads,
        "steps": steps,
        "announced_state_bytes": announced,
        "state_bytes": stream.state_bytes,
        "resident_after_first_step": grown_by_first,
        "growth_bytes": int(np.median(marks[half:]) - np.median(marks[:half])),
        **idle,
    }


def _idle_cpu(stream: Any, frames: Any, steps: int) -> dict[str, float]:
    """CPU seconds of the process while it waits for frames, as a share of those in its steps."""
    inputs = [next(frames) for _ in range(steps)]
    in_steps, begin, next_at = 0.0, time.process_time(), time.perf_counter()
    for each in inputs:
        time.sleep(max(0.0, next_at - time.perf_counter()))
        next_at += 1 / FRAMES_PER_SECOND
        start = time.process_time()
        stream(each)
        in_steps += time.process_time() - start
    total = time.process_time() - begin
    return {
        "paced_steps": steps,
        "cpu_seconds": round(total, 5),
        "cpu_seconds_in_steps": round(in_steps, 5),
        "idle_cpu_share": round((total - in_steps) / max(in_steps, 1e-9), 5),
    }


def run(options: Options) -> dict[str, Any]:
    steps, paced, size = (8, 3, (96, 128)) if options.tiny else (STEPS, 300, (576, 768))
    options.say(f"steady: {steps} steps")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        work = pool.submit(_steps, options.asset(YOLOX.asset), options.asset("vtest"), size, steps, paced)
        return {"asked": ASKED, **work.result()}
