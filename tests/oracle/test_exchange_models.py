"""Real models under the rules: what comes out is valid, gives the same result, and ONNX Runtime, OpenVINO and the
engine all take it.

Two ways through each model: the search by operations, which does what pays; and a walk that does whatever may be done,
by chance, so that rules meet in orders that no search would choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest

import reconv
from reconv.exchange.proof import prove
from reconv.exchange.rules import RULES
from reconv.exchange.view import View, look, look_again
from reconv.graph import Rewrite, load, save
from reconv.optimize.whole import prove_whole

Array = np.ndarray[Any, Any]
Asset = Callable[[str], Path]
STEPS = 12  # of a walk


@dataclass(frozen=True)
class Case:
    """One model at a size at which it is quick; drawn input has this scale and mean. nothing: no rule pays; more:
    inputs of one number."""

    asset: str
    shape: tuple[int, ...]
    scale: float = 1.0
    mean: float = 0.0
    nothing: bool = False
    more: Mapping[str, float] = field(default_factory=dict)


CASES = [
    Case("yolox_nano", (1, 3, 96, 128), 50, 114),
    Case("yolov8n_nudenet", (1, 3, 96, 128), 0.2, 0.5),
    Case("ppocr_det", (1, 3, 96, 128)),
    Case("open_nsfw", (1, 224, 224, 3), 50),
    Case("centerface_clean", (1, 3, 96, 128), 50, 114),
    Case("mobilenet_v2", (1, 3, 96, 128), nothing=True),
    Case("mobilenet_v2_bn", (1, 3, 96, 128)),
    Case("efficientnet_lite0", (1, 3, 96, 128), nothing=True),
    Case("waifu2x", (1, 3, 48, 64), 0.2, 0.5),
    Case("crepe_tiny", (1, 1024), 0.1),
    Case("swift_f0", (1, 8000), 0.1, more={"fmin": 46.875, "fmax": 2093.75}),
    Case("basic_pitch", (1, 43844, 1), 0.1),
]
IDS = [case.asset for case in CASES]


def _frame(case: Case, name: str) -> dict[str, Array]:
    noise = np.random.default_rng(3).standard_normal(case.shape) * case.scale + case.mean
    return {name: noise.astype(np.float32), **{key: np.array(n, np.float32) for key, n in case.more.items()}}


def _shapes(frame: dict[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in frame.items()}


def _taken_everywhere(path: Path, frame: dict[str, Array], expected: dict[str, Array]) -> None:
    """The file is valid, and OpenVINO in float32 and the engine give what ONNX Runtime gave for the untouched model."""
    onnx.checker.check_model(path, full_check=True)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    there = compiled(frame)
    ours = reconv.load(path).run(frame)
    for output in compiled.outputs:
        name = next(n for n in expected if n in output.get_names())
        scale = max(float(np.abs(expected[name]).max()), 1e-3)
        for found in (there[output], ours[name]):
            assert found.shape == expected[name].shape
            assert float(np.abs(found - expected[name]).max()) <= 2e-3 * scale


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_search_keeps_the_result(case: Case, asset: Asset, tmp_path: Path) -> None:
    path = asset(case.asset)
    graph = load(path)
    name = graph.inputs[0].name
    frame = _frame(case, name)
    found = reconv.exchange(path, cost="macs", threads=1, shapes=_shapes(frame), samples=[frame])
    assert found.report.bugs == ()
    assert found.report.applied is not case.nothing
    assert found.report.after.operations <= found.report.before.operations
    out = tmp_path / "out.onnx"
    found.save(out)
    _taken_everywhere(out, frame, _plain(path, frame))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_walk_keeps_the_result(case: Case, asset: Asset, tmp_path: Path) -> None:
    path = asset(case.asset)
    graph = load(path)
    name = graph.inputs[0].name
    frame = _frame(case, name)
    view = look(graph, _shapes(frame))
    random = np.random.default_rng(len(case.asset))
    fired = 0
    for _ in range(STEPS):
        found = list(_firings(view))
        if not found:
            break
        rewrite = found[int(random.integers(len(found)))]
        assert prove(view, rewrite).holds
        view = look_again(view, rewrite)
        fired += 1
    assert fired or case.nothing
    proof = prove_whole(graph, view.graph, [frame], _shapes(frame))
    assert proof.holds, proof.reason
    out = tmp_path / "out.onnx"
    save(view.graph, out)
    _taken_everywhere(out, frame, _plain(path, frame))


def _firings(view: View) -> list[Rewrite]:
    answers = (rule.match(view, node) for rule in RULES for node in view.graph.nodes)
    return [answer for answer in answers if isinstance(answer, Rewrite)]


def _plain(path: Path, frame: dict[str, Array]) -> dict[str, Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, frame), strict=True))
