"""The engine: a graph becomes a native plan and a tail, and streams step over both.

In the order in which a model flows through: `inputs` (what the user handed over), `pixels` (frames of bytes), `batch`
(is it a loop over items), `lower` (graph to plan), `orders` and `quickest` (how its convolutions go through their
work), `compiled` (plan and tail for fixed sizes), `tail` (what ONNX Runtime runs), `shared` (outputs that are brought
up to date), `item` (state of one batch item, one step), `pace`, `glance` and `paced` (an item that is never much
slower than a dense run), `tolerance` (profiles), `habits`, `audit` and `relative_error` (a stream that checks
itself), `stream` and `model` (what the user holds), `tuning/` (a profile for an agreement that is asked for),
`placement`, `memory` and `overlay` (what happens where).
"""

from reconv.engine.audit import Audit
from reconv.engine.memory import LiveMap, MemoryPlan, MemoryStep
from reconv.engine.model import Model, load
from reconv.engine.pixels import PixelArithmetic
from reconv.engine.placement import Placed, Placement
from reconv.engine.stream import Step, Stream
from reconv.engine.tolerance import MapProfile, Profile

__all__ = [
    "Audit",
    "LiveMap",
    "MapProfile",
    "MemoryPlan",
    "MemoryStep",
    "Model",
    "PixelArithmetic",
    "Placed",
    "Placement",
    "Profile",
    "Step",
    "Stream",
    "load",
]
