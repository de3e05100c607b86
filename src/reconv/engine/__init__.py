"""The engine: a graph becomes a native plan and a tail, and streams step over both.

In the order in which a model flows through: `inputs` (what the user handed over), `batch` (is it a loop over items),
`lower` (graph to plan), `orders` and `quickest` (how its convolutions go through their work), `compiled` (plan and tail
for fixed sizes), `tail` (what ONNX Runtime runs), `item` (state of one batch item, one step), `tolerance` (profiles),
`stream` and `model` (what the user holds), `placement`, `memory` and `overlay` (what happens where).
"""

from reconv.engine.memory import LiveMap, MemoryPlan, MemoryStep
from reconv.engine.model import Model, load
from reconv.engine.placement import Placed, Placement
from reconv.engine.stream import Step, Stream
from reconv.engine.tolerance import MapProfile, Profile

__all__ = [
    "LiveMap",
    "MapProfile",
    "MemoryPlan",
    "MemoryStep",
    "Model",
    "Placed",
    "Placement",
    "Profile",
    "Step",
    "Stream",
    "load",
]
