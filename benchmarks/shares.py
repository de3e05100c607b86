"""The recomputed share and the agreement beside an independent simulation of the same rule.

The simulation ran every convolution of YOLOX-Nano over the whole map in PyTorch, kept each pixel only where it moved by
more than the tolerance, and counted the multiply-adds that a pixel-sparse engine would have spent. It shares no code
with the engine: where the two differ by more than a little, one of them is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.clips import ClipInputs
from benchmarks.options import Options
from reconv.engine.model import load

ASKED = {"difference": 0.03}


@dataclass(frozen=True)
class Simulated:
    """Frames `skip` to `skip + 42` of a clip; the first is dense and not counted."""

    clip: str
    size: tuple[int, int]
    skip: int
    tolerance: float
    share: float


SIMULATED = (
    Simulated("vtest", (576, 768), 100, 0.0, 0.902),
    Simulated("vtest", (576, 768), 100, 0.05, 0.497),
    Simulated("vtest", (576, 768), 100, 0.1, 0.262),
    Simulated("vtest", (576, 768), 100, 0.15, 0.184),
    Simulated("vtest", (576, 768), 600, 0.1, 0.357),
    Simulated("cap12", (480, 640), 60, 0.1, 0.075),
    Simulated("cap12", (480, 640), 60, 0.2, 0.027),
)
FRAMES = 43


def run(options: Options) -> dict[str, Any]:
    path = options.asset("yolox_nano")
    model = load(path)
    rows = []
    for case in SIMULATED[:1] if options.tiny else SIMULATED:
        options.say(f"shares: {case.clip} from frame {case.skip}, tolerance {case.tolerance}")
        clip = ClipInputs(path, "yolox", options.asset(case.clip), (96, 128) if options.tiny else case.size)
        shares, results, dense = [], [], []
        with model.stream(tolerance=case.tolerance, never_slower=False) as stream:
            for inputs in clip.frames(case.skip, 3 if options.tiny else FRAMES):
                results.append(clip.recipe.decode(stream(inputs)))
                dense.append(clip.recipe.decode(model.run(inputs)))
                shares.append(stream.last.recomputed)
        rows.append(
            {
                "clip": case.clip,
                "frames": [case.skip, case.skip + len(shares) - 1],
                "tolerance": case.tolerance,
                "share": round(sum(shares[1:]) / (len(shares) - 1), 5),
                "simulated": case.share,
                "agreement": {k: round(v, 5) for k, v in clip.recipe.agreement(results[1:], dense[1:]).items()},
            }
        )
    return {"asked": ASKED, "rows": rows}
