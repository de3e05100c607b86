"""Features for training: computed once per sample, right whatever the disk does, in the order of the seed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconv.cache.store import Cache
from reconv.cache.tiers import DiskTier
from reconv.engine import load
from reconv.errors import CacheError, InputError
from reconv.reuse import keys
from reconv.reuse.features import Features
from reconv.reuse.prefix import SharedPrefix
from tests.unit.reuse.stemmed import stemmed
from tests.unit.small import frame, text

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).parents[3]


def pictures(count: int = 5) -> list[tuple[Array, int]]:
    return [(frame(16, 16, seed=i)[0], i % 3) for i in range(count)]


def cache() -> Cache:
    return Cache(10_000_000)


def expected(samples: list[tuple[Array, int]], at: str = "f", **model: Any) -> list[Array]:
    """By a plain run of a model that gives the value as its output."""
    alone = load(stemmed(0, outputs=("y", at), **model), threads=1)
    return [alone.run(item[np.newaxis])[at][0] for item, _ in samples]


def same(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted)
    for (maps, _), other in zip(found, wanted, strict=True):
        assert maps.tobytes() == other.tobytes()
        assert maps.shape == other.shape


def test_from_the_second_epoch_on_the_frozen_part_does_not_run() -> None:
    samples = pictures()
    features = Features(stemmed(), samples, cache(), at="f", threads=1)
    for epoch in range(3):
        found = list(features)
        same(found, expected(samples))
        assert [label for _, label in found] == [0, 1, 2, 0, 1], epoch
        assert features.runs == 5


@pytest.mark.parametrize("at", ["f", "r2", "c1", None])
def test_any_value_can_be_given(at: str | None) -> None:
    samples = pictures(2)
    found = list(Features(stemmed(), samples, cache(), at=at, threads=1))
    same(found, expected(samples, at or "y"))


def test_several_values_come_by_name() -> None:
    samples = pictures(3)
    features = Features(stemmed(), samples, cache(), at=["y", "r1"], batch=2, threads=1)
    for maps, labels in [next(iter(features)), next(iter(features))]:
        assert isinstance(maps, dict)
        assert list(maps) == ["y", "r1"]
        np.testing.assert_array_equal(maps["r1"], expected(samples, "r1")[:2])
        np.testing.assert_array_equal(maps["y"], expected(samples, "y")[:2])
        np.testing.assert_array_equal(labels, [0, 1])
    assert features.runs == 2


def test_batches_are_stacked_and_the_last_one_is_what_is_left() -> None:
    samples = pictures()
    steps = list(Features(stemmed(), samples, cache(), at="f", batch=2, threads=1))
    assert [maps.shape for maps, _ in steps] == [(2, 8), (2, 8), (1, 8)]
    assert [labels.tolist() for _, labels in steps] == [[0, 1], [2, 0], [1]]
    np.testing.assert_array_equal(np.concatenate([maps for maps, _ in steps]), expected(samples))


@pytest.mark.parametrize(
    ("labels", "stacked"),
    [
        ([np.zeros(2), np.ones(2)], True),
        (["cat", "elephant"], True),
        ([1, 2.5], True),
        ([None, 3], False),
        ([np.zeros(2), np.zeros(3)], False),
        ([{"box": 1}, {"box": 2}], False),
    ],
)
def test_labels_of_a_batch_are_stacked_where_they_can_be(labels: list[Any], stacked: bool) -> None:
    samples = [(frame(16, 16)[0], label) for label in labels]
    ((_, found),) = Features(stemmed(), samples, cache(), at="f", batch=2, threads=1)
    assert isinstance(found, np.ndarray) == stacked
    assert all(np.array_equal(a, b) for a, b in zip(found, labels, strict=True))


def test_items_come_with_or_without_a_batch_axis_as_dicts_and_as_functions() -> None:
    x = frame(16, 16)
    items: list[Any] = [x, x[0], {"x": x}, {"x": x[0]}, lambda: x, lambda: {"x": x[0]}, np.asfortranarray(x)]
    features = Features(stemmed(), [(item, 0) for item in items], cache(), at="f", threads=1)
    same(list(features), expected([(x[0], 0)]) * len(items))
    assert features.runs == 1


def test_inputs_that_the_frozen_part_does_not_read_may_be_left_out_or_not() -> None:
    model = text("""g (float[1,3,8,8] x, float[1,3,8,8] z) => (float[1,3,8,8] y) {
        a = Sigmoid(x)
        y = Mul(a, z)
    }""")
    x, z = frame(8, 8, seed=1)[0], frame(8, 8, seed=2)[0]
    features = Features(model, [(x, 0), ({"x": x, "z": z}, 0)], cache(), at="a", threads=1)
    assert len(list(features)) == 2
    assert features.runs == 1
    with pytest.raises(InputError, match=r"sample 0 is one array: the frozen part has the inputs 'x', 'z'"):
        list(Features(model, [(x, 0)], cache(), threads=1))


class TestKeys:
    def test_another_weight_before_the_cut_is_another_entry_and_one_behind_it_is_not(self) -> None:
        held, samples = cache(), pictures(2)
        assert _runs(stemmed(0), samples, held) == 2
        assert _runs(stemmed(1, prefix="other/"), samples, held, at="other/f") == 0
        assert _runs(stemmed(0, second=1), samples, held) == 2
        assert _runs(stemmed(0), samples, held, at="r2") == 2

    def test_a_sample_is_known_by_its_values(self) -> None:
        held, samples = cache(), pictures(2)
        assert _runs(stemmed(0), samples, held) == 2
        assert _runs(stemmed(0), [(item.copy(), 7) for item, _ in reversed(samples)], held) == 0
        samples[0][0][0, 0, 0] += 1
        assert _runs(stemmed(0), samples, held) == 1

    def test_another_runtime_is_another_entry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        held, samples = cache(), pictures(1)
        assert _runs(stemmed(0), samples, held) == 1
        monkeypatch.setattr(keys, "RUNTIME", "onnxruntime 0.0")
        assert _runs(stemmed(0), samples, held) == 1

    def test_a_shared_prefix_and_features_have_the_same_entries(self) -> None:
        held, samples = cache(), pictures(3)
        shared = SharedPrefix([stemmed(0), stemmed(1)], held, threads=1)
        for item, _ in samples:
            shared(item[np.newaxis])
        assert shared.cut.values == ("f",)
        assert _runs(stemmed(2), samples, held) == 0

    def test_with_a_key_what_is_known_is_not_even_loaded(self, tmp_path: Path) -> None:
        opened: list[str] = []

        def read(path: Path) -> Array:
            opened.append(path.name)
            return np.asarray(np.load(path))

        for i, (item, _) in enumerate(pictures(3)):
            np.save(tmp_path / f"{i}.npy", item)
        samples = [(partial(read, path), 0) for path in sorted(tmp_path.glob("*.npy"))]
        features = Features(
            stemmed(), samples, cache(), at="f", threads=1, key=lambda _, item: item.args[0].name, batch=2
        )
        for _ in range(3):
            found = np.concatenate([maps for maps, _ in features])
            np.testing.assert_array_equal(found, expected(pictures(3)))
        assert opened == ["0.npy", "1.npy", "2.npy"]
        assert features.runs == 3

    def test_a_name_is_no_digest(self) -> None:
        """Text and bytes, and names and hashed samples, never meet."""
        held, samples = cache(), pictures(1)
        named: list[Callable[[int, Any], str | bytes] | None] = [
            None,
            lambda *_: "a",
            lambda *_: b"a",
            lambda i, _: f"{i}",
        ]
        for key in named:
            features = Features(stemmed(), samples, held, at="f", threads=1, key=key)
            same(list(features), expected(samples))
            assert features.runs == 1


def _runs(model: Any, samples: list[tuple[Array, int]], held: Cache, at: str = "f") -> int:
    features = Features(model, samples, held, at=at, threads=1)
    assert len(list(features)) == len(samples)
    return features.runs


class TestOrder:
    def labels(self, features: Features) -> list[list[int]]:
        return [[label for _, label in features] for _ in range(3)]

    def test_a_seed_shuffles_every_epoch_anew_and_always_alike(self) -> None:
        samples = [(item, i) for i, (item, _) in enumerate(pictures(9))]
        held = cache()
        first = self.labels(Features(stemmed(), samples, held, at="f", seed=1, threads=1))
        assert all(sorted(order) == list(range(9)) for order in first)
        assert len({tuple(order) for order in first}) == 3
        again = Features(stemmed(), samples, held, at="f", seed=1, threads=1)
        assert [label for _, label in again.epoch(2)] == first[2]
        assert self.labels(again) == first
        assert self.labels(Features(stemmed(), samples, held, at="f", seed=2, threads=1)) != first
        assert self.labels(Features(stemmed(), samples, held, at="f", threads=1)) == [list(range(9))] * 3

    def test_samples_that_a_function_yields(self) -> None:
        passes = 0

        def samples() -> Iterator[tuple[Array, int]]:
            nonlocal passes
            passes += 1
            yield from pictures(3)

        features = Features(stemmed(), samples, cache(), at="f", threads=1)
        for _ in range(2):
            same(list(features), expected(pictures(3)))
        assert (passes, features.runs) == (2, 3)
        with pytest.raises(TypeError, match="have no length"):
            len(features)
        with pytest.raises(CacheError, match="have no places"):
            features[0]
        with pytest.raises(CacheError, match="a seed shuffles sequences"):
            Features(stemmed(), samples, cache(), seed=1)


class TestSequence:
    def test_places(self) -> None:
        samples = pictures(3)
        features = Features(stemmed(), samples, cache(), at="f", threads=1)
        assert len(features) == 3
        wanted = expected(samples)
        for place in (2, 0, -1, np.int64(1), 2):
            maps, label = features[place]
            np.testing.assert_array_equal(maps, wanted[place])
            assert label == samples[place][1]
        assert features.runs == 3
        for place in (3, -4):
            with pytest.raises(IndexError, match=f"sample {place} of 3"):
                features[place]

    def test_what_is_handed_out_may_be_written_to(self) -> None:
        samples = pictures(1)
        features = Features(stemmed(), samples, cache(), at="f", threads=1)
        for _ in range(3):
            maps, _ = features[0]
            np.testing.assert_array_equal(maps, expected(samples)[0])
            maps[:] = 0

    def test_a_dataset_that_is_no_list(self) -> None:
        class Dataset:
            def __len__(self) -> int:
                return 2

            def __getitem__(self, index: int) -> tuple[Array, int]:
                return pictures(2)[index]

        same(list(Features(stemmed(), Dataset(), cache(), at="f", seed=0, batch=1, threads=1)), _ordered(2))


def _ordered(count: int) -> list[Array]:
    order = np.random.default_rng([0, 0]).permutation(count)
    return [expected(pictures(count))[i][np.newaxis] for i in order]


class TestDisk:
    def features(self, folder: Path, memory: int = 1) -> tuple[Features, Cache]:
        """With hardly any memory: all comes from the disk."""
        held = Cache(memory, below=DiskTier(folder, 1 << 24))
        return Features(stemmed(), pictures(), held, at="r2", threads=1), held

    def test_features_survive_the_process(self, tmp_path: Path) -> None:
        wanted = expected(pictures(), "r2")
        for runs in (5, 0):
            features, held = self.features(tmp_path)
            same(list(features), wanted)
            assert features.runs == runs
            held.close()

    def test_what_is_damaged_is_computed_again(self, tmp_path: Path) -> None:
        wanted = expected(pictures(), "r2")
        features, held = self.features(tmp_path)
        list(features)
        held.close()
        for file in tmp_path.glob("*.sqlite"):
            data = bytearray(file.read_bytes())
            data[8192::1000] = bytes(len(data[8192::1000]))
            file.write_bytes(data)
        features, held = self.features(tmp_path)
        same(list(features), wanted)
        assert features.runs > 0
        runs = features.runs
        same(list(features), wanted)
        assert features.runs == runs
        held.close()

    def test_a_full_disk_costs_runs_and_nothing_else(self) -> None:
        class Full:
            failures = 0

            def get(self, name: bytes) -> bytes | None:
                return None

            def put(self, name: bytes, payload: bytes) -> None:
                self.failures += 1

            def delete(self, name: bytes) -> bool:
                return False

            def clear(self) -> None: ...

            def close(self) -> None: ...

        disk = Full()
        features = Features(stemmed(), pictures(), Cache(1, below=disk), at="r2", threads=1)
        for epoch in (1, 2):
            same(list(features), expected(pictures(), "r2"))
            assert features.runs == disk.failures == 5 * epoch

    def test_forked_workers_share_the_disk_and_the_count(self, tmp_path: Path) -> None:
        """In a process of its own: forking with threads alive warns in newer Pythons."""
        script = f"""
            import multiprocessing, sys
            from pathlib import Path
            from tests.unit.reuse.test_features import TestDisk, expected, pictures
            features, held = TestDisk().features(Path({str(tmp_path)!r}))
            features[0]                                   # the parent has run the frozen part, with threads
            fork = multiprocessing.get_context("fork")
            wanted = [w.tobytes() for w in expected(pictures(), "r2")]
            def work(places):
                for place in places:
                    assert features[place][0].tobytes() == wanted[place], place
            for runs in (5, 5):                           # two epochs
                workers = [fork.Process(target=work, args=(places,)) for places in ([0, 1, 2], [3, 4])]
                for worker in workers: worker.start()
                for worker in workers: worker.join(60)
                assert [worker.exitcode for worker in workers] == [0, 0]
                assert features.runs == runs, features.runs
            work(range(5))
            assert features.runs == 5
            print("right")
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
        assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


class TestMistakes:
    @pytest.mark.parametrize(
        ("item", "message"),
        [
            (frame(16, 16)[0].astype(np.float64), "sample 0: input 'x' has type float64"),
            (frame(16, 16, batch=2), r"sample 0: input 'x' has shape \(2, 3, 16, 16\), expected one item"),
            (frame(16, 16)[0, 0], "sample 0: input 'x' has shape"),
            ({"z": frame(16, 16)}, "sample 0: the model has no input 'z'"),
        ],
    )
    def test_items(self, item: Any, message: str) -> None:
        features = Features(stemmed(), [(item, 0)], cache(), at="f", threads=1)
        with pytest.raises(InputError, match=message):
            features[0]
        assert features.runs == 0

    def test_samples_without_labels(self) -> None:
        features = Features(stemmed(), [frame(16, 16)], cache(), threads=1)  # type: ignore[list-item]
        with pytest.raises(InputError, match=r"sample 0 is a ndarray, expected a pair \(item, label\)"):
            list(features)

    def test_other_sizes_in_one_batch(self) -> None:
        samples = [(frame(16, 16)[0], 0), (frame(24, 16)[0], 0)]
        with pytest.raises(
            InputError, match=r"have the shapes \(8, 8, 8\) and \(8, 12, 8\): bring all samples to one size"
        ):
            list(Features(stemmed(), samples, cache(), at="r1", batch=2, threads=1))
        assert len(list(Features(stemmed(), samples, cache(), at="r1", threads=1))) == 2

    @pytest.mark.parametrize("at", ["missing", "x", "w1", [], ["f", "missing"]])
    def test_no_such_value(self, at: Any) -> None:
        with pytest.raises(CacheError, match="no node of the model gives a value"):
            Features(stemmed(), pictures(), cache(), at=at)

    def test_a_value_that_depends_on_nothing(self) -> None:
        model = text("g (float[2] x) => (float[2] y) <float[2] k = {1, 2}> { a = Relu(k) y = Add(x, a) }")
        with pytest.raises(CacheError, match="'a' depends on no input"):
            Features(model, pictures(), cache(), at="a")

    def test_random_layers(self) -> None:
        model = text("g (float[1,4] x) => (float[1,4] y) { a = Relu(x) n = RandomNormalLike(a) y = Add(a, n) }")
        with pytest.raises(CacheError, match="draws random numbers"):
            Features(model, pictures(), cache())
        Features(model, pictures(), cache(), at="a")

    @pytest.mark.parametrize("batch", [0, -1, 2.0])
    def test_batches(self, batch: Any) -> None:
        with pytest.raises(CacheError, match="expected a whole number from 1 up"):
            Features(stemmed(), pictures(), cache(), batch=batch)

    def test_sending_it_to_a_spawned_process(self) -> None:
        with pytest.raises(CacheError, match="have workers forked"):
            pickle.dumps(Features(stemmed(), pictures(), cache()))
