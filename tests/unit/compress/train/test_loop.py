"""The loop: the same result again, with and without an interrupt; early stop; full disks; clear refusals."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from reconv.compress.train import loop
from reconv.compress.train.loop import Course, Outcome, Progress, train
from reconv.errors import InputError, SourceError

COURSE = Course(epochs=3, batch=8, learning_rate=0.05, checkpoint_seconds=0, seed=3, hold_out=0.2)


class Line(nn.Module):
    """y = a x + b, and a batch norm whose statistics are a state of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.weight = nn.Parameter(torch.tensor([[0.1]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.norm(x) @ self.weight
        return found


XS = torch.linspace(-1, 1, 50)[:, None]


def loss_of(line: Line) -> loop.Loss:
    def loss(rows: loop.Rows, random: np.random.Generator) -> torch.Tensor:
        noise = torch.tensor(random.normal(0, 0.01, (len(rows), 1)), dtype=torch.float32)
        found: torch.Tensor = (line(XS[rows] + noise) - 3 * XS[rows]).square().mean()
        return found

    return loss


def run(course: Course, say: Any = None) -> tuple[dict[str, Any], Outcome]:
    line = Line()
    outcome = train(line, len(XS), loss_of(line), course, say=say)
    return {name: tensor.numpy().copy() for name, tensor in line.state_dict().items()}, outcome


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


class Interrupt:
    """Stops the training after a number of steps, as ctrl-C does."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, progress: Progress) -> None:
        if progress.step == self.at:
            raise KeyboardInterrupt


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, outcome = run(COURSE)
    assert same(first, run(COURSE)[0])
    assert not same(first, run(replace(COURSE, seed=4))[0])
    assert outcome.losses[-1] < outcome.losses[0]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("at", [1, 5, 7, 10, 12])  # 5 and 10 are ends of epochs
def test_an_interrupt_changes_nothing(at: int, optimizer: Any, tmp_path: Path) -> None:
    course = replace(COURSE, optimizer=optimizer)
    whole, outcome = run(course)
    kept = replace(course, checkpoint=tmp_path / "c.pt", resume=True)
    with pytest.raises(KeyboardInterrupt):
        run(kept, Interrupt(at))
    steps: list[int] = []
    resumed, again = run(kept, lambda progress: steps.append(progress.step))
    assert same(whole, resumed)
    assert again == outcome
    assert steps[0] == at + 1


def test_a_kill_between_checkpoints_costs_time_only(tmp_path: Path) -> None:
    """Nothing is written when the process dies; the run goes on from the end of the epoch before."""
    kept = replace(COURSE, checkpoint=tmp_path / "c.pt", checkpoint_seconds=1000, resume=True)
    line = Line()
    calls = 0

    def dying(rows: loop.Rows, random: np.random.Generator) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 9:  # the eighth step, after one judgement; inside of it, where no state is whole
            raise SystemExit
        return loss_of(line)(rows, random)

    with pytest.raises(SystemExit):
        train(line, len(XS), dying, kept)
    steps: list[int] = []
    resumed, _ = run(kept, lambda progress: steps.append(progress.step))
    assert steps[0] == 6
    assert same(run(COURSE)[0], resumed)


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    kept = replace(COURSE, checkpoint=tmp_path / "c.pt", resume=True)
    whole, _ = run(kept)
    steps: list[int] = []
    assert same(whole, run(kept, lambda progress: steps.append(progress.step))[0])
    assert steps == []


def test_a_full_disk_costs_the_checkpoint_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = replace(COURSE, checkpoint=tmp_path / "c.pt", resume=True)
    with pytest.raises(KeyboardInterrupt):
        run(kept, Interrupt(4))
    before = (tmp_path / "c.pt").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    notes: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result, outcome = run(kept, lambda progress: notes.append(progress.note))
    assert same(result, run(COURSE)[0])
    assert len(outcome.notes) == 1
    assert "No space left" in outcome.notes[0]
    assert [note for note in notes if note] == outcome.notes
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]
    assert (tmp_path / "c.pt").read_bytes() == before


def test_patience_ends_the_training_and_the_best_weights_stay() -> None:
    line = Line()
    judged = iter([3.0, 1.0, 2.0, 2.0, 0.5])
    weights: list[float] = []

    def judge(_: loop.Rows) -> float:
        weights.append(line.weight.item())
        return next(judged)

    course = replace(COURSE, epochs=5, patience=2)
    outcome = train(line, len(XS), loss_of(line), course, judge=judge)
    assert outcome.stopped
    assert outcome.best == 1
    assert outcome.judged == [3.0, 1.0, 2.0, 2.0]
    assert line.weight.item() == weights[1]


def test_the_held_out_part_is_never_trained_on() -> None:
    line = Line()
    seen: set[int] = set()
    held: set[int] = set()

    def loss(rows: loop.Rows, random: np.random.Generator) -> torch.Tensor:
        seen.update(rows.tolist())
        return loss_of(line)(rows, random)

    def judge(rows: loop.Rows) -> float:
        held.update(rows.tolist())
        return 0.0

    train(line, len(XS), loss, replace(COURSE, epochs=9), judge=judge)
    assert len(held) == 10
    assert not seen & held
    assert seen | held == set(range(50))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    kept = replace(COURSE, checkpoint=tmp_path / "c.pt", resume=True)
    run(kept)
    with pytest.raises(InputError, match="of another training"):
        run(replace(kept, learning_rate=0.1))
    (tmp_path / "c.pt").write_bytes(b"torn")
    with pytest.raises(SourceError, match=r"c\.pt is not a readable checkpoint"):
        run(kept)


def test_a_folder_that_is_not_there_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist: make it first"):
        run(replace(COURSE, checkpoint=tmp_path / "nowhere" / "c.pt"))


def test_a_loss_that_is_not_finite_is_told() -> None:
    line = Line()
    with pytest.raises(InputError, match="the loss is nan at step 1 of 15: try a lower learning_rate"):
        train(line, len(XS), lambda rows, _: line(XS[rows]).sum() * float("nan"), COURSE)


def test_threads_are_as_asked_inside_and_as_before_outside() -> None:
    line, inside = Line(), []

    def loss(rows: loop.Rows, random: np.random.Generator) -> torch.Tensor:
        inside.append(torch.get_num_threads())
        return loss_of(line)(rows, random)

    train(line, len(XS), loss, replace(COURSE, epochs=1, threads=2))
    assert set(inside) == {2}
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": -1}, "epochs is -1, expected a whole number"),
        ({"batch": 0}, "batch is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"hold_out": 1.0}, "hold_out is 1.0"),
        ({"patience": 2}, "patience needs samples to judge by"),
        ({"optimizer": "adam"}, "expected adamw or sgd"),
        ({"resume": True}, "resume needs the checkpoint"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Course(**settings)


def test_no_samples() -> None:
    with pytest.raises(InputError, match="no samples to train on"):
        train(Line(), 0, loss_of(Line()), COURSE)
    with pytest.raises(InputError, match="leaves nothing"):
        train(Line(), 1, loss_of(Line()), replace(COURSE, hold_out=0.9))


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_rates_end_near_nothing_and_never_pass_the_highest(schedule: Any) -> None:
    course = Course(schedule=schedule, learning_rate=0.5)
    rates = [course.rate(step, 100) for step in range(100)]
    assert max(rates) <= 0.5
    assert max(rates) > 0.499
    assert rates[-1] < 0.001
    assert (rates.index(max(rates)) == 0) == (schedule == "cosine")
