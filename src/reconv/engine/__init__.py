"""The engine: a graph becomes a native plan and a tail, and streams step over both.

In the order in which a model flows through: `inputs` (what the user handed over), `batch` (is it a loop over items),
`lower` (graph to plan), `compiled` (plan and tail for fixed sizes), `tail` (what ONNX Runtime runs), `item` (state of
one batch item, one step), `tolerance` (profiles), `stream` and `model` (what the user holds), `placement` and
`overlay` (what happened where).
"""

from reconv.engine.model import Model, load
from reconv.engine.placement import Placed, Placement
from reconv.engine.stream import Step, Stream
from reconv.engine.tolerance import MapProfile, Profile

__all__ = ["MapProfile", "Model", "Placed", "Placement", "Profile", "Step", "Stream", "load"]
