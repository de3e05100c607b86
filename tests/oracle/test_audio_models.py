"""Real audio models over overlapping windows of a sound: a dense run equals ONNX Runtime without its optimisations, and
a stream equals the dense run bit for bit, whatever part of the model is in the tail."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import reconv

Array = np.ndarray[Any, Any]
Asset = Callable[[str], Path]

TOLERANCE = 1e-4  # of the largest value of an output; what the order of summation makes
# Behind the logarithm of a power that is nearly zero; ONNX Runtime's own optimisations make as much.
LOGARITHMIC = 1e-2
WINDOWS = 6


@dataclass(frozen=True)
class Case:
    """A model and the windows that it takes: ``samples`` of a sound, ``hop`` apart, in ``shape``.

    ``others``: further inputs. ``fed_back``: output -> input that takes it in the next step. ``engine``: the least
    share of the multiply-adds that the engine runs.
    """

    asset: str
    input: str
    rate: int
    samples: int
    hop: int
    shape: tuple[int, ...]
    others: Mapping[str, Array] = field(default_factory=dict)
    fed_back: Mapping[str, str] = field(default_factory=dict)
    engine: float = 0.0
    tolerance: float = TOLERANCE


CASES = [
    Case(
        "swift_f0", "audio", 16000, 8000, 2000, (1, -1),
        others={"fmin": np.array(50, np.float32), "fmax": np.array(1000, np.float32)}, engine=0.99,
    ),
    # all of it lies in the branches of an If
    Case(
        "silero_vad", "input", 16000, 576, 512, (1, -1),
        others={"state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16000, np.int64)},
        fed_back={"stateN": "state"},
    ),
    # scaled by its least and greatest value early on, which is in the tail with all that follows
    Case(
        "basic_pitch", "serving_default_input_2:0", 22050, 43844, 11025, (1, -1, 1), engine=0.07, tolerance=LOGARITHMIC
    ),
    Case("crepe_tiny", "", 16000, 1024, 160, (1, -1), engine=0.99),
]  # fmt: skip


def _sound(rate: int, samples: int) -> Array:
    """A gliding tone with overtones, loud and soft in turn, over a little noise."""
    seconds = np.arange(samples) / rate
    phase = 2 * np.pi * np.cumsum(220 + 60 * np.sin(2 * np.pi * 1.5 * seconds)) / rate
    tone = sum(np.sin(k * phase) / k for k in (1, 2, 3)) * (0.3 + 0.2 * np.sin(2 * np.pi * 2 * seconds))
    return np.asarray(tone + np.random.default_rng(2).normal(0, 0.005, samples), np.float32)


def _windows(case: Case, name: str) -> Iterator[dict[str, Array]]:
    """The inputs of each window; the last is the one before it again."""
    sound = _sound(case.rate, case.samples + WINDOWS * case.hop)
    for index in (*range(WINDOWS), WINDOWS - 1):
        window = sound[index * case.hop :][: case.samples]
        yield {name: np.ascontiguousarray(window.reshape(case.shape)), **case.others}


def _error(found: Array, expected: Array) -> float:
    """Largest difference, as a share of the largest expected value."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _same(a: Mapping[str, Array], b: Mapping[str, Array]) -> bool:
    return {name: value.tobytes() for name, value in a.items()} == {name: value.tobytes() for name, value in b.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.asset)
def test_windows_of_a_sound(case: Case, asset: Asset) -> None:
    path = asset(case.asset)
    model = reconv.load(path, threads=2)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options)
    stream = model.stream(never_slower=False)  # every window differs: it would run dense from the third on
    seen: list[dict[str, Array]] = []
    back: dict[str, Array] = {}
    for inputs in _windows(case, case.input or model.inputs[0].name):
        inputs.update(back)
        expected = dict(zip((o.name for o in session.get_outputs()), session.run(None, inputs), strict=True))
        dense, outputs = model.run(inputs), stream(inputs)
        for name, value in expected.items():
            assert _error(dense[name], value) <= case.tolerance, name
        assert _same(outputs, dense)
        back = {to: expected[name] for name, to in case.fed_back.items()}
        seen.append(outputs)
    assert not any(_same(a, b) for a, b in itertools.pairwise(seen[:WINDOWS])), "nothing moves"
    if not case.fed_back:
        assert stream.last.recomputed == 0
        assert stream.last.changed == ()
    assert model.placement().engine_share >= case.engine, str(model.placement())


def test_the_error_can_be_too_large() -> None:
    assert _error(np.array([1.0, 2.03]), np.array([1.0, 2.0])) > LOGARITHMIC > TOLERANCE
    assert not _same({"a": np.array([1.0])}, {"a": np.nextafter(np.array([1.0]), 2)})
