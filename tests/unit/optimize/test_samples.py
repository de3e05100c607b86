"""Samples: folders, files, iterables, how they are dealt, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from reconv.errors import InputError, SourceError
from reconv.graph import Graph, load
from reconv.optimize.samples import Samples, open_samples, spread
from tests.unit.optimize.nets import classifier, pictures

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return classifier()


def picture(path: Path, value: int, height: int = 16, width: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))


def test_a_folder_of_pictures(graph: Graph, tmp_path: Path) -> None:
    for number in (10, 2, 1):
        picture(tmp_path / f"{number}.png", number)
    found = open_samples(tmp_path, graph)
    assert (len(found), found.labels, found.ordered) == (3, None, False)
    assert [float(feeds["x"].max()) for feeds in found] == [np.float32(n / 255) for n in (1, 2, 10)]
    assert found.shapes == {"x": (1, 3, 16, 16)}


def test_sub_folders_are_classes(graph: Graph, tmp_path: Path) -> None:
    for name, count in (("cat", 2), ("dog", 3), (".hidden", 1)):
        for number in range(count):
            picture(tmp_path / name / f"{number}.png", 9)
    (tmp_path / "empty").mkdir()
    found = open_samples(tmp_path, graph)
    assert (found.labels, found.classes) == ((0, 0, 1, 1, 1), ("cat", "dog"))


def test_sub_folders_that_are_numbers_are_the_classes_themselves(graph: Graph, tmp_path: Path) -> None:
    for name in ("3", "1"):
        picture(tmp_path / name / "a.png", 9)
    assert open_samples(tmp_path, graph).labels == (1, 3)


def test_an_npz_with_labels(graph: Graph, tmp_path: Path) -> None:
    arrays = np.concatenate([each["x"] for each in pictures(4)])
    np.savez(tmp_path / "a.npz", x=arrays, labels=np.array([2, 0, 1, 3]))
    found = open_samples(tmp_path / "a.npz", graph)
    assert found.labels == (2, 0, 1, 3)
    assert np.array_equal(found[2]["x"], arrays[2:3])
    np.save(tmp_path / "b.npy", arrays)
    assert np.array_equal(open_samples(tmp_path / "b.npy", graph)[3]["x"], arrays[3:])


def test_pictures_in_an_array_file_go_through_the_recipe(graph: Graph, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.full((3, 16, 16, 3), 51, np.uint8))
    assert float(open_samples(tmp_path / "p.npy", graph)[0]["x"].mean()) == pytest.approx(0.2)


def test_a_video_is_a_clip(asset: Callable[[str], Path]) -> None:
    net = load(asset("yolox_nano"))
    found = open_samples(asset("carphone"), net, recipe="yolox", size=(96, 128), limit=6)
    assert (len(found), found.ordered, found.recipe) == (6, True, "yolox")
    assert found.shapes == {"images": (1, 3, 96, 128)}
    assert found.decoder(0) is not None
    first, last = found.split(0.5, 0.5)
    assert np.array_equal(first[0]["images"], found[0]["images"])
    assert np.array_equal(last[0]["images"], found[3]["images"])


def test_iterables_of_arrays_dicts_and_pairs(graph: Graph) -> None:
    frames = pictures(3)
    assert np.array_equal(open_samples(frames, graph)[1]["x"], frames[1]["x"])
    bare = open_samples((f["x"][0] for f in frames), graph)  # without the batch axis
    assert np.array_equal(bare[2]["x"], frames[2]["x"])
    assert open_samples([(f["x"], i) for i, f in enumerate(frames)], graph).labels == (0, 1, 2)
    assert open_samples(frames, graph, labels=[3, 2, 1]).labels == (3, 2, 1)
    assert len(open_samples(frames, graph, limit=2)) == 2


def test_parts_share_no_sample_and_hold_every_class(graph: Graph) -> None:
    frames = pictures(30)
    labelled = open_samples(frames, graph, labels=[i % 3 for i in range(30)])
    parts = labelled.split(0.4, 0.3, 0.3)
    assert [len(part) for part in parts] == [12, 9, 9]
    for part in parts:
        assert part.labels is not None
        assert sorted(set(part.labels)) == [0, 1, 2]
        assert max(part.labels.count(c) for c in range(3)) - min(part.labels.count(c) for c in range(3)) <= 1
    seen = [feeds["x"].tobytes() for part in parts for feeds in part]
    assert len(set(seen)) == 30
    assert [len(p) for p in open_samples(frames[:3], graph).split(0.4, 0.3, 0.3)] == [1, 1, 1]
    assert [len(p) for p in open_samples(frames[:2], graph).split(0.4, 0.3, 0.3)] == [2, 2, 2]


def refused(graph: Graph, source: Any, match: str, error: type[Exception] = InputError, **options: Any) -> None:
    with pytest.raises(error, match=match) as caught:
        open_samples(source, graph, **options)
    assert "\n" not in str(caught.value)


def test_what_is_refused(graph: Graph, tmp_path: Path) -> None:
    refused(graph, [], "no samples")
    (tmp_path / "empty").mkdir()
    refused(graph, tmp_path / "empty", "no samples; it holds no pictures")
    refused(graph, tmp_path / "none", "no such file", SourceError)
    refused(graph, "0", "cannot come from a camera", SourceError)
    refused(graph, [np.zeros((1, 3, 8, 8), np.float32)], r"sample 0: input 'x' has shape \(1, 3, 8, 8\), expected")
    refused(graph, [np.zeros((1, 3, 16, 16))], "sample 0: input 'x' has type float64, expected float32")
    refused(graph, [{"z": np.zeros((1, 3, 16, 16), np.float32)}], "no input 'z'")
    refused(graph, 5, "expected a path or an iterable")
    refused(graph, pictures(2), "no recipe is called 'cake'", recipe="cake")
    refused(graph, pictures(2), "2 samples, but 1 labels", labels=[0])
    refused(graph, pictures(2), "expected the number of a class", labels=["cat", "dog"])
    refused(graph, [(pictures(1)[0]["x"], 0), pictures(1)[0]["x"]], "1 of 2 samples have a label")
    refused(graph, pictures(2), "limit is 0", limit=0)
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    refused(graph, tmp_path / "bad.npz", "not an array file", SourceError)
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut" / "a.png").write_bytes(b"no picture")
    refused(graph, tmp_path / "shut", "not a picture", SourceError)


def test_samples_of_different_shapes_are_refused() -> None:
    net = classifier()
    free = load(_free(net))
    frames = [np.zeros((1, 3, 16, 16), np.float32), np.zeros((1, 3, 16, 24), np.float32)]
    refused(free, frames, "sample 1: samples have different shapes")


def _free(net: Graph) -> Any:
    from reconv.graph import to_onnx

    model = to_onnx(net)
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    return model


def test_frames_are_taken_evenly_whether_or_not_their_number_is_known() -> None:
    for count, most in ((795, 500), (10, 4), (3, 8), (1000, 1)):
        known = spread(iter(range(count)), count, most)
        unknown = spread(iter(range(count)), None, most)
        assert len(known) == len(unknown) == min(count, most)
        for found in (known, unknown):
            assert found[0] == 0
            steps = np.diff([*found, count])
            assert steps.max() <= 2 * count / min(count, most) + 1  # nowhere a long way without one


def test_samples_that_are_not_finite_are_refused(graph: Graph) -> None:
    spoilt = np.zeros((3, 16, 16), np.float32)
    spoilt[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="sample 1: 'x' holds values that are not finite"):
        open_samples([np.zeros_like(spoilt), spoilt], graph)


def test_samples_are_a_sequence(graph: Graph) -> None:
    found = open_samples(pictures(5), graph)
    assert isinstance(found[1:3], Samples)
    assert len(found[1:3]) == 2
    assert len(list(found)) == 5
    assert found.most(10) is found


def test_samples_that_are_open_take_labels_but_no_recipe(graph: Graph) -> None:
    found = open_samples(pictures(3), graph)
    assert open_samples(found, graph, labels=[0, 1, 2]).labels == (0, 1, 2)
    assert open_samples(found, graph).labels is None
    for told in ({"recipe": "raw"}, {"size": (16, 16)}):
        with pytest.raises(InputError, match="are open already"):
            open_samples(found, graph, **told)
    with pytest.raises(InputError, match="3 samples, but 2 labels"):
        open_samples(found, graph, labels=[0, 1])
