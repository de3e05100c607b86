"""What a stream recomputes, layer by layer, is what a dense simulation of the cutoff says: no more, and no less."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconv import _core, graph
from reconv.engine.lower import Lowered, lower
from tests.oracle.simulation import Network, Simulation

cv2 = pytest.importorskip("cv2")
Asset = Callable[[str], Path]
Array = np.ndarray[Any, Any]

SIZE = (192, 256)
FRAMES = 21
SHARE = 0.03  # the most that the shares of the whole network may differ by
LAYER = 0.03  # and those of a layer, in the mean over frames: pixels near the limit fall on either side
OUTPUT = 0.01  # mean difference of the last outputs over their mean; the tolerances below cost 0.06 and more


@pytest.fixture(scope="module")
def network(asset: Asset) -> Network:
    return Network(asset("yolox_nano"))


@pytest.fixture(scope="module")
def frames(asset: Asset) -> list[Array]:
    capture, found = cv2.VideoCapture(str(asset("vtest"))), []
    for index in range(100 + FRAMES):
        _, picture = capture.read()
        if index >= 100:
            small = cv2.resize(picture, SIZE[::-1])
            found.append(np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32))
    return found


@pytest.fixture(scope="module")
def lowered(asset: Asset) -> Lowered:
    return lower(graph.load(asset("yolox_nano")), {"images": (1, 3, *SIZE)})


def _engine(
    lowered: Lowered, frames: list[Array], tolerance: float
) -> tuple[list[float], dict[str, list[float]], Array]:
    """Of a stream, after its first frame: the share of each step; by convolution, its own; and the last output."""
    state = _core.State(lowered.plan, _core.Threads(1), False, tolerance)
    convs = {p.node.name: p.ops[0] for p in lowered.nodes if p.node.op_type == "Conv"}
    shares, layers = [], {name: list[float]() for name in convs}
    for frame in frames:
        state.step([frame])
        if frame is not frames[0]:
            shares.append(state.recomputed_macs / lowered.plan.macs)
            for name, op in convs.items():
                layers[name].append(float(state.todo(op).mean()))
    output = np.empty(lowered.outputs[0].shape, np.float32)
    state.read(0, output)
    return shares, layers, output


def _simulated(
    network: Network, frames: list[Array], tolerance: float, uncut: Collection[str] = ()
) -> tuple[list[float], dict[str, list[float]], Array]:
    """The same of the simulation."""
    simulation = Simulation(network, tolerance, uncut)
    output = simulation.step(frames[0])
    shares, layers = [], {name: list[float]() for name in simulation.total}
    for frame in frames[1:]:
        output = simulation.step(frame)
        shares.append(simulation.share)
        for name, spent in simulation.spent.items():
            layers[name].append(spent / simulation.total[name])
    return shares, layers, output


def _absorbed(lowered: Lowered) -> set[str]:
    """The values that streams do not store: results of depthwise convolutions done inside their readers."""
    held = {p.node.outputs[0]: p.out_map for p in lowered.nodes if p.out_map is not None}
    return {name for name, x in held.items() if not lowered.plan.stored(x)}


def _error(output: Array, expected: Array) -> float:
    return float(np.abs(output - expected).mean() / np.abs(expected).mean())


def _farthest(layers: dict[str, list[float]], others: dict[str, list[float]]) -> float:
    assert layers.keys() == others.keys()
    return max(abs(float(np.mean(layers[name]) - np.mean(others[name]))) for name in layers)


@pytest.mark.parametrize("tolerance", [0.0, 0.05, 0.1])
def test_shares_are_those_of_the_simulation(
    network: Network, frames: list[Array], lowered: Lowered, tolerance: float
) -> None:
    shares, layers, output = _engine(lowered, frames, tolerance)
    expected, expected_layers, expected_output = _simulated(network, frames, tolerance, _absorbed(lowered))
    assert len(shares) == FRAMES - 1
    assert np.abs(np.subtract(shares, expected)).max() <= SHARE
    assert len(layers) == 113
    assert _farthest(layers, expected_layers) <= LAYER
    assert _error(output, expected_output) <= OUTPUT


@pytest.mark.parametrize("tolerance", [0.0, 0.05, 0.1])
def test_absorbing_costs_little_reuse(
    network: Network, frames: list[Array], lowered: Lowered, tolerance: float
) -> None:
    """The rule itself cuts every convolution."""
    shares, _, _ = _engine(lowered, frames, tolerance)
    expected, _, _ = _simulated(network, frames, tolerance)
    assert abs(np.mean(shares) - np.mean(expected)) <= SHARE


def test_the_comparison_sees_another_tolerance(network: Network, frames: list[Array], lowered: Lowered) -> None:
    shares, layers, output = _engine(lowered, frames[:6], 0.1)
    expected, expected_layers, expected_output = _simulated(network, frames[:6], 0.12, _absorbed(lowered))
    assert np.abs(np.subtract(shares, expected)).max() > SHARE
    assert _farthest(layers, expected_layers) > LAYER
    assert _error(output, expected_output) > OUTPUT
