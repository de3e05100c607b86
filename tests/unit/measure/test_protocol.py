"""Taking turns: every contestant sees every frame in order, in a process of its own; failures are one clear line."""

from __future__ import annotations

import numpy as np
import pytest

from reconv.errors import InputError
from reconv.measure import Contestant, ContestantError, Pace, allowed_threads, take_turns
from reconv.measure.peers import Array
from tests.contract.tiny_model import frame, save_tiny_model

QUICK = Pace(warmup_frames=2, turn_frames=2, settle_seconds=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))


def test_all_frames_reach_all_contestants(model: str) -> None:
    contestants = [
        Contestant("plain", "onnxruntime-plain", model, 1),
        Contestant("stream", "reconv-stream", model, 1, tolerance=0.0),
    ]
    seen: dict[str, list[int]] = {"plain": [], "stream": []}
    answers: dict[str, list[Array]] = {"plain": [], "stream": []}

    def note(name: str, index: int, outputs: dict[str, Array]) -> None:
        seen[name].append(index)
        answers[name].append(outputs["y"])

    times = take_turns(contestants, ({"x": frame(index)} for index in range(6)), QUICK, note)
    assert seen == {"plain": list(range(6)), "stream": list(range(6))}
    np.testing.assert_allclose(np.stack(answers["stream"]), np.stack(answers["plain"]), rtol=0, atol=1e-5)
    assert times["plain"].turns == times["stream"].turns == (2, 2, 1)
    assert len(times["plain"].seconds) == 5
    assert (times["plain"].seconds > 0).all()
    assert (times["plain"].recomputed == 1).all()
    assert (times["stream"].recomputed < 1).all()
    assert (times["stream"].cpu_seconds >= 0).all()


def test_a_failing_contestant_is_one_line(model: str) -> None:
    frames = [{"x": frame(0)}, {"x": frame(1)}, {"x": frame(1, 9, 9)[:, :2]}]
    with pytest.raises(ContestantError, match=r"^plain: [^\n]+$"):
        take_turns([Contestant("plain", "onnxruntime-plain", model, 1)], frames, QUICK)


def test_a_model_that_is_not_there_is_one_line() -> None:
    contestant = Contestant("plain", "onnxruntime-plain", "nowhere.onnx", 1)
    with pytest.raises(ContestantError, match=r"nowhere\.onnx"):
        take_turns([contestant], [{"x": frame(0)}] * 2, QUICK)


def test_what_does_not_fit_is_refused(model: str) -> None:
    contestant = Contestant("a", "reconv", model, 1)
    with pytest.raises(InputError, match="names must differ"):
        take_turns([contestant, contestant], [{"x": frame(0)}], QUICK)
    with pytest.raises(InputError, match="no frames"):
        take_turns([contestant], [], QUICK)
    with pytest.raises(InputError, match="one frame only"):
        take_turns([Contestant("a", "onnxruntime", model, 1)], [{"x": frame(0)}], QUICK)
    with pytest.raises(InputError, match="no peer is called 'fastest'"):
        Contestant("a", "fastest", model, 1)
    with pytest.raises(InputError, match=f"may use 1 to {allowed_threads()}"):
        Contestant("a", "reconv", model, allowed_threads() + 1)
