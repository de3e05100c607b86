"""How much of each vision model runs in the engine and not in the tail, in multiply-adds."""

from __future__ import annotations

from typing import Any

from benchmarks.models import VISION
from benchmarks.options import Options
from reconv.engine.model import load

ASKED = {"engine_share": 0.99}


def run(options: Options) -> dict[str, Any]:
    rows = []
    for model in VISION:
        options.say(f"coverage: {model.title}")
        loaded = load(options.asset(model.asset))
        placement = loaded.placement({loaded.inputs[0].name: model.tiny if options.tiny else model.shape})
        rows.append(
            {
                "model": model.title,
                "nodes": len(placement),
                "tail_nodes": len(placement.tail),
                "tail_operators": sorted({node.op_type for node in placement.tail}),
                "multiply_adds": placement.multiply_adds,
                "engine_share": round(placement.engine_share, 6),
                "state_bytes": placement.state_bytes,
            }
        )
    return {"asked": ASKED, "rows": rows}
