"""Measuring: peers on the same work, taking turns; what costs nothing beside them; the machine it was done on."""

from __future__ import annotations

from reconv.measure.baselines import gate_schedule, held, hold_schedule, thumbnail
from reconv.measure.clip import BASELINES, Clip, Row, watch
from reconv.measure.environment import environment
from reconv.measure.output_error import OutputError
from reconv.measure.peers import PEERS, Array, Arrays, Job, Peer, Runner
from reconv.measure.protocol import Contestant, ContestantError, Pace, allowed_threads, take_turns
from reconv.measure.times import Ratio, Times, median_interval

__all__ = [
    "BASELINES",
    "PEERS",
    "Array",
    "Arrays",
    "Clip",
    "Contestant",
    "ContestantError",
    "Job",
    "OutputError",
    "Pace",
    "Peer",
    "Ratio",
    "Row",
    "Runner",
    "Times",
    "allowed_threads",
    "environment",
    "gate_schedule",
    "held",
    "hold_schedule",
    "median_interval",
    "take_turns",
    "thumbnail",
    "watch",
]
