"""Structured pruning on the ONNX graph: whole channels, with everything that shares them.

`channels` and `table` find which channels can only go together, `groups` lists what may go, `importance` says what is
missed least, `choose` how many go, `cut` makes the smaller graph, and `prune` is the door.
"""

from __future__ import annotations

from reconv.compress.prune.groups import Group, groups
from reconv.compress.prune.prune import PRUNE, Prune, prune

__all__ = ["Group", "PRUNE", "Prune", "groups", "prune"]
