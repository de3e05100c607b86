"""What is held has an error of its own, the one that a frozen answer is measured by."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.holding import held_errors, held_rows
from reconv.measure import Array, Clip, Contestant, OutputError, Times

FRAMES = [{"x": np.full((1, 1, 4, 4), value, np.float32)} for value in (0.0, 1.0, 2.0, 3.0)]


class Doubles:
    """A model whose outputs are twice its inputs."""

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        return {"y": inputs["x"] * 2}


def test_errors_of_held_outputs() -> None:
    schedules = {
        ("a", "hold"): np.array([True, False, True, False]),  # off by 0, 2, 0, 2 where frozen is by 0, 2, 4, 6
        ("a", "gate"): np.array([True, True, True, True]),
        ("b", "hold"): np.array([True, False, False, False]),
    }
    found = held_errors(Doubles(), FRAMES, schedules)
    assert found[("a", "hold")] == pytest.approx(4 / 12)
    assert found[("a", "gate")] == 0
    assert found[("b", "hold")] == pytest.approx(1)


def test_rows_have_the_errors_of_their_own_schedules() -> None:
    times = Times(np.ones(3), np.ones(3), (3,), np.ones(1))
    clip = Clip(
        {"onnxruntime": Contestant("onnxruntime", "onnxruntime", "m.onnx", 1)},
        "onnxruntime",
        {"onnxruntime": times},
        {"onnxruntime": [0, 1, 2, 3]},
        {"onnxruntime": OutputError()},
        [frame["x"] for frame in FRAMES],
    )

    def agree(results: object, dense: object) -> dict[str, float]:
        return {"equal": float(np.mean(np.equal(results, dense)))}  # type: ignore[call-overload]

    found = held_rows(clip, agree, {"little": 1e-9, "half": 0.5, "more than all": 1.4}, Doubles(), FRAMES)
    holding = {key: rows[0] for key, rows in found.items()}
    assert [row["name"] for row in found["half"]] == ["hold", "gate"]
    assert {key: row["error_of_frozen"] for key, row in holding.items()} == {
        "little": 1.0,
        "half": pytest.approx(4 / 12, abs=1e-5),
        "more than all": 0.0,
    }
    assert {key: row["agreement"]["equal"] for key, row in holding.items()} == {
        "little": 0.0,
        "half": pytest.approx(1 / 3, abs=1e-5),
        "more than all": 1.0,
    }
