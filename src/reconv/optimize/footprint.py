"""How much memory a runtime takes for a model: a process of its own opens it and runs it, and says how far it grew.

Growth is the peak of resident memory (Linux: VmHWM, reset through /proc/self/clear_refs) over what there was once the
runtime's library was loaded. It holds everything: the weights as the runtime packs them, its copies while it opens the
model, maps and scratch.
"""

from __future__ import annotations

import importlib
import multiprocessing
import re
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from reconv.errors import InputError, ReconvError, one_line
from reconv.measure import PEERS, Job

__all__ = ["FootprintError", "footprint"]

Array = np.ndarray[Any, Any]
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RUNS = 3


class FootprintError(ReconvError):
    """The runtime does not run the model."""


def footprint(peer: str, job: Job, feeds: Mapping[str, Array]) -> int:
    """Bytes by which a fresh process grows at the most while it opens the job's model and runs these inputs.

    Raises:
        InputError: this system does not tell (it is not Linux).
        FootprintError: the runtime does not run the model.
    """
    if not (STATUS.exists() and RESET.exists()):
        raise InputError("a limit on memory needs Linux, which tells how far a process grew; leave max_memory out")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_grow, args=(theirs, peer, job, dict(feeds)), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        answer = "its process ended"
    finally:
        ours.close()
        process.join(timeout=10)
        if process.is_alive():
            process.terminate()
            process.join()
    if isinstance(answer, int):
        return answer
    raise FootprintError(f"{peer}: {answer}")


def _grow(pipe: Connection, peer: str, job: Job, feeds: Mapping[str, Array]) -> None:
    """The process's whole life."""
    try:
        importlib.import_module("reconv.engine" if peer.startswith("reconv") else PEERS[peer].library)
        RESET.write_text("5", encoding="ascii")
        before = _resident("VmRSS")
        runner = PEERS[peer].open(job)
        for _ in range(RUNS):
            runner(feeds)
        pipe.send(max(_resident("VmHWM") - before, 0))
        runner.close()
    except KeyboardInterrupt:
        return
    except Exception as error:  # the parent raises it in one line
        pipe.send(f"{type(error).__name__}: {one_line(error)}")


def _resident(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
