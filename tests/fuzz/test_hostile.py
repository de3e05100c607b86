"""Models written on purpose: an error that says what is wrong, or the right result (see `tests.fuzz.hostile`)."""

from __future__ import annotations

import re

import numpy as np
import pytest

import reconv
from tests.fuzz.harness import Outcome, survey
from tests.fuzz.hostile import CASES, Case
from tests.fuzz.test_damaged_files import SECONDS, bad, workers
from tests.fuzz.worker import same
from tests.unit.small import cnn, frame

VALUES = (np.nan, np.inf, -np.inf, np.float32(3e38))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Outcome, Outcome | None]]:
    """What came of each case, and of those that ran what ONNX Runtime says of the result."""
    folder = tmp_path_factory.mktemp("hostile")
    arguments = ["hostile", "0", str(folder)]
    found = survey(["-m", "tests.fuzz.worker", "ours", *arguments], range(len(CASES)), workers(), SECONDS)
    ran = [outcome.index for outcome in found if outcome.verdict == "ran"]
    compared = survey(["-m", "tests.fuzz.worker", "peer", *arguments], ran, workers(), SECONDS)
    beside = {outcome.index: outcome for outcome in compared}
    return {CASES[outcome.index].name: (outcome, beside.get(outcome.index)) for outcome in found}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_of_it(case: Case, outcomes: dict[str, tuple[Outcome, Outcome | None]]) -> None:
    found, compared = outcomes[case.name]
    assert bad([found], "ours") == ""
    assert compared is None or bad([compared], "peer") == ""
    said = "ran" if found.verdict == "ran" else found.said.partition("] ")[2]
    assert re.match(case.comes, said), said


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_frames_with_what_is_no_number(value: float, tail: bool, tolerance: float) -> None:
    """The result of such a frame is the dense run's; the next frames are as if it had not been."""
    model = reconv.load(cnn(tail=tail), threads=1)
    frames = [frame(seed=0) for _ in range(5)]
    for x in frames[1:]:
        x[0, 1, 3, 4] += 1
    frames[2][0, :, 10, 11] = value
    frames[3][0, 2, 0, 0] = value
    with model.stream(tolerance=tolerance) as stream, model.stream(tolerance=tolerance) as first:
        for x in (frames[2], frames[2], frames[0], frames[1]):  # also as the first of a stream
            assert tolerance or all(same(a, b) for a, b in zip(first(x).values(), model.run(x).values(), strict=True))
            first(x)
        for x in frames:
            found, dense = stream(x), model.run(x)
            finite = np.isfinite(x).all() and np.abs(x).max() < 1e30
            for name in dense:
                assert np.array_equal(np.isnan(found[name]), np.isnan(dense[name]))
                assert not finite or np.isfinite(found[name]).all()
                assert tolerance or same(found[name], dense[name])
        assert not stream.last.dense


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"z": frame()}, "no input 'z'"),
        ({}, "'x' is missing"),
        ({"x": frame().astype(np.float64)}, "has type float64, expected float32"),
        ({"x": frame()[0]}, "has shape"),
        ({"x": frame()[:, :2]}, "has shape"),
        ({"x": frame()[:, :, :0]}, "without elements"),
        ({"x": "a picture"}, "has type"),
        ({"x": [[1, 2], [3]]}, "input 'x'"),
        ({"x": None}, "has type"),
        ({1: frame()}, "no input 1"),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, object], said: str) -> None:
    model = reconv.load(cnn(), threads=1)
    x = frame()
    stream = model.stream()
    expected = stream(x)
    with pytest.raises(reconv.InputError, match=said):
        model.run(inputs)  # type: ignore[arg-type]
    with pytest.raises(reconv.InputError, match=said):
        stream(inputs)  # type: ignore[arg-type]
    assert same(stream(x)["y"], expected["y"])
    assert stream.last.recomputed == 0
