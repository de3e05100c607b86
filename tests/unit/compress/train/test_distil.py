"""Students learn from teachers: classes, values, maps, through codes; and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from reconv.compress.train import losses
from reconv.compress.train.batches import Runner, check_samples
from reconv.compress.train.distil import Course, distil
from reconv.compress.train.net import Net
from reconv.compress.train.qat import is_quantized, train_quantized
from reconv.errors import InputError
from reconv.graph import Graph, check, parse
from reconv.optimize.values import RuntimeForward
from tests.unit.compress.train.nets import Array, blobs, by_runtime, classifier, quantized, right, tensors

COURSE = Course(epochs=6, batch=16, learning_rate=0.03, seed=1, threads=1)
SAMPLES, LABELS = blobs(96)
TEST, TEST_LABELS = blobs(200, seed=9)


@pytest.fixture(scope="module")
def teacher() -> Graph:
    """Taught by labels alone: itself as its teacher with no weight."""
    untaught = classifier(channels=8)
    return distil(untaught, untaught, SAMPLES, labels=LABELS, soft=0.0, course=COURSE).graph


def test_labels_alone_teach(teacher: Graph) -> None:
    assert right(classifier(channels=8), TEST, TEST_LABELS) < 0.7
    assert right(teacher, TEST, TEST_LABELS) > 0.95


def test_a_smaller_student_learns_from_answers_alone(teacher: Graph) -> None:
    student = classifier(seed=5, channels=4)
    found = distil(student, teacher, SAMPLES, course=Course(epochs=15, batch=16, learning_rate=0.05, threads=1))
    agreed = by_runtime(teacher, {"x": np.concatenate([s["x"] for s in TEST])})[0].argmax(-1)
    assert right(student, TEST, agreed) < 0.8
    assert right(found.graph, TEST, agreed) > 0.9
    check(found.graph)
    assert found.graph.nodes == student.nodes
    assert found.report.method == "distil"
    assert found.report.settings["kinds"] == {"logits": "classes"}
    assert found.report.notes[0].startswith("loss ")


def test_maps_of_other_sizes_are_pulled_together(teacher: Graph) -> None:
    student = classifier(seed=5, channels=4)
    course = Course(epochs=4, batch=16, learning_rate=0.02)
    with_maps = distil(student, teacher, SAMPLES, maps=(("k", "k"), ("r", "k")), course=course)
    assert set(with_maps.graph.constants) == set(student.constants)  # the adapters are gone
    assert with_maps.report.settings["maps"] == [["k", "k"], ["r", "k"]]
    with pytest.raises(InputError, match="no value 'nothing'"):
        distil(student, teacher, SAMPLES, maps=(("nothing", "k"),), course=course)
    with pytest.raises(InputError, match="the maps 'r' and 'f' have shapes"):
        distil(student, teacher, SAMPLES, maps=(("r", "f"),), course=course)


def detector(seed: int) -> Graph:
    """A map with channels of very different sizes."""
    random = np.random.default_rng(seed)
    weights = {
        "w": random.normal(0, 0.4, (6, 2, 3, 3)),
        "v": random.normal(0, 0.4, (2, 6, 1, 1)),
        "big": np.array([100, 0.1]).reshape(1, 2, 1, 1),
    }
    text = """d (float[n, 2, 8, 8] x) => (float[n, 2, 8, 8] boxes) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu (c) o = Conv (r, v) s = Sigmoid (o) boxes = Mul (s, big) }"""
    return parse(text, {name: array.astype(np.float32) for name, array in weights.items()})


def test_values_weigh_alike_whatever_their_units() -> None:
    student, teacher = detector(1), detector(2)
    found = distil(student, teacher, SAMPLES, course=Course(epochs=20, batch=16, learning_rate=0.05))
    feeds = {"x": np.concatenate([s["x"] for s in TEST[:50]])}
    wanted = by_runtime(teacher, feeds)[0]

    def errors(graph: Graph) -> Array:
        found: Array = np.square(by_runtime(graph, feeds)[0] - wanted).mean((0, 2, 3)) / wanted.var((0, 2, 3))
        return found

    assert (errors(student) > 0.8).all()
    assert (errors(found.graph) < 0.6 * errors(student)).all()  # both channels, though one is a thousand times as large


def test_losses_are_zero_for_equals_and_the_textbooks_else() -> None:
    teacher = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    assert float(losses.classes_loss(teacher, teacher, 4.0)) == pytest.approx(0, abs=1e-6)
    assert float(losses.values_loss(teacher, teacher)) == 0
    student = torch.zeros(2, 3)
    q = np.exp(teacher.numpy() / 2) / np.exp(teacher.numpy() / 2).sum(1, keepdims=True)
    assert float(losses.classes_loss(student, teacher, 2.0)) == pytest.approx(
        (q * np.log(q * 3)).sum() / 2 * 4, rel=1e-5
    )
    with pytest.raises(InputError, match="cannot be compared"):
        losses.values_loss(student, torch.zeros(2, 4))


# --- through codes


def test_a_quantized_student_learns_and_stays_quantized(teacher: Graph) -> None:
    floats = classifier(channels=8, norm=False, seed=3)
    taught = distil(floats, teacher, SAMPLES, course=COURSE).graph
    course = Course(epochs=6, batch=16, learning_rate=0.002, threads=1)
    found = train_quantized(taught, SAMPLES, RuntimeForward(1), teacher=teacher, course=course, calibration="minmax")
    assert not is_quantized(taught)
    assert is_quantized(found.graph)
    check(found.graph)
    assert [step.method for step in found.report.steps] == ["quantize", "distil"]
    kinds = {array.dtype.name for array in found.graph.constants.values()}
    assert {"int8", "int32"} <= kinds
    assert right(found.graph, TEST, TEST_LABELS) > max(0.9, right(taught, TEST, TEST_LABELS))
    feeds = {"x": np.concatenate([s["x"] for s in TEST])}
    with torch.no_grad():  # what was trained is what the file says
        by_torch = Net(found.graph).eval()(tensors(feeds))["logits"].numpy().argmax(-1)
    assert (by_torch == by_runtime(found.graph, feeds)[0].argmax(-1)).mean() > 0.99


def test_codes_without_a_teacher_or_a_runtime_are_refused(teacher: Graph) -> None:
    with pytest.raises(InputError, match="pass forward"):
        train_quantized(teacher, SAMPLES)


# --- resume, and what does not fit


def test_distillation_resumes_to_the_very_same_graph(teacher: Graph, tmp_path: Path) -> None:
    student = classifier(seed=5, channels=4)
    plain = Course(epochs=2, batch=16, learning_rate=0.02, hold_out=0.25, checkpoint_seconds=0)
    whole = distil(student, teacher, SAMPLES, maps=(("k", "k"),), course=plain).graph
    kept = Course(**{**plain.told(), "checkpoint": tmp_path / "c", "checkpoint_seconds": 0, "resume": True})

    def interrupt(progress: object) -> None:
        if getattr(progress, "step") == 5:  # noqa: B009 -- any object with a step
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(student, teacher, SAMPLES, maps=(("k", "k"),), course=kept, progress=interrupt)
    again = distil(student, teacher, SAMPLES, maps=(("k", "k"),), course=kept).graph
    for name, array in whole.constants.items():
        np.testing.assert_array_equal(again.constants[name], array)
    with pytest.raises(InputError, match="another training"):
        distil(student, teacher, SAMPLES, maps=(("k", "k"),), temperature=2.0, course=kept)


def test_samples_that_do_not_fit_are_told(teacher: Graph) -> None:
    with pytest.raises(InputError, match="no samples"):
        distil(teacher, teacher, [])
    with pytest.raises(InputError, match=r"sample 1 has float32 \(1, 3, 8, 8\) for the input x"):
        distil(teacher, teacher, [SAMPLES[0], {"x": np.zeros((1, 3, 8, 8), np.float32)}])
    with pytest.raises(InputError, match="sample 0 has float64"):
        check_samples(teacher, [{"x": np.zeros((1, 2, 8, 8))}])
    with pytest.raises(InputError, match="sample 0 lacks the input 'x'"):
        distil(teacher, teacher, [{"y": SAMPLES[0]["x"]}])
    with pytest.raises(InputError, match="expected one whole number for each of 96 samples"):
        distil(teacher, teacher, SAMPLES, labels=LABELS[:4])
    with pytest.raises(InputError, match="have other outputs"):
        distil(detector(1), teacher, SAMPLES)
    with pytest.raises(InputError, match="labels are used where"):
        distil(detector(1), detector(2), SAMPLES, labels=LABELS)


def test_a_model_with_a_fixed_batch_inside_runs_sample_by_sample() -> None:
    graph = parse(
        """f (float[1, 2, 8, 8] x) => (float[1, 3] y) {
            r = Reshape (x, to) p = ReduceMean <axes = [2], keepdims = 0> (r) y = Gemm (p, w) }""",
        {"to": np.array([1, 2, -1], np.int64), "w": np.random.default_rng(0).normal(0, 1, (2, 3)).astype(np.float32)},
    )
    runner = Runner(Net(graph).eval(), ["y"], SAMPLES)
    assert not runner.together
    assert Runner(Net(classifier()).eval(), ["logits"], SAMPLES).together
    with torch.no_grad():
        found = runner(SAMPLES, [3, 4])["y"].numpy()
    wanted = [by_runtime(graph, SAMPLES[row])[0] for row in (3, 4)]
    np.testing.assert_allclose(found, np.concatenate(wanted), atol=1e-5)


class _Off(Net):
    """A network whose batches are off by a share of the largest output."""

    share = 0.0

    def forward(self, feeds: Mapping[str, torch.Tensor], names: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        found = super().forward(feeds, names)
        several = len(next(iter(feeds.values()))) > 1
        return {name: v + self.share * float(v.abs().max()) for name, v in found.items()} if several else found


@pytest.mark.parametrize(
    ("make", "share", "together"),
    [(quantized, 0.02, True), (quantized, 0.3, False), (classifier, 0.0, True), (classifier, 0.02, False)],
)
def test_a_code_beside_a_tie_does_not_make_a_network_run_sample_by_sample(
    make: Callable[[], Graph], share: float, together: bool
) -> None:
    graph = make()
    net, random = _Off(graph).eval(), np.random.default_rng(0)
    net.share = share
    shape = [size for size in graph.inputs[0].shape[1:] if isinstance(size, int)]
    samples = [{graph.inputs[0].name: random.normal(0, 1, (1, *shape)).astype(np.float32)} for _ in range(4)]
    assert Runner(net, [graph.outputs[0].name], samples).together is together
