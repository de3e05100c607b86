"""Keys that stay in the process: different for all that is different, and good for nothing outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reconv.engine import Model, load
from reconv.reuse.local import local_keys, result_keys
from tests.unit.small import cnn, frame

SCRIPT = """
import sys
{first}
import numpy as np
from reconv.engine import load
from reconv.reuse.local import local_keys, result_keys
from tests.unit.small import cnn, frame
model, items = load(cnn(), threads=1), [{{"x": frame()}}, {{"x": frame(seed=1)}}]
print(b"".join(local_keys(model, items)).hex(), b"".join(result_keys(model, items)).hex())
"""


@pytest.fixture(scope="module")
def model() -> Model:
    return load(cnn(), threads=1)


def key(model: Model, **arrays: Any) -> bytes:
    (found,) = local_keys(model, [{name: np.asarray(array) for name, array in arrays.items()}])
    return found


def elsewhere(first: str = "") -> list[str]:
    """What another process prints: local keys of two frames, and their other ones."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(first=first)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_equal_inputs_have_one_key_in_any_layout(model: Model) -> None:
    x = frame()
    assert key(model, x=x) == key(model, x=x.copy()) == key(model, x=np.asfortranarray(x))
    assert len(key(model, x=x)) == 16
    batch = frame(batch=3)
    one_by_one = [key(model, x=batch[i : i + 1]) for i in range(3)]
    assert local_keys(model, [{"x": batch[i : i + 1]} for i in range(3)]) == one_by_one
    assert local_keys(model, []) == []


def test_any_difference_is_another_key(model: Model) -> None:
    x = np.zeros((1, 2, 3), np.float32)
    nan = np.array([np.nan], np.float32)
    other_nan = (nan.view(np.uint32) + 1).view(np.float32)
    arrays: list[dict[str, Any]] = [
        *({"x": x}, {"y": x}, {"x": x, "y": x}, {"x": x.reshape(1, 3, 2)}, {"x": x[:, :1]}),
        *({"x": x.astype(np.int32)}, {"x": x.astype(">f4")}, {"x": -x}, {"x": nan}, {"x": other_nan}),
        *({"x": np.float32(0)}, {"x": np.float64(0)}, {"x": np.array(["ab", "c"], object)}),
        *({"x": np.array(["a", "bc"], object)}, {"x": np.array(["ab", "c"])}),
        *({"x": np.array(["ab"], object), "y": np.array(["c"], object)}, {"x": x[:0]}),
    ]
    keys = [key(model, **given) for given in arrays]
    assert len(set(keys)) == len(keys)


def test_every_bit_counts(model: Model) -> None:
    x = frame(5, 7)
    keys = {key(model, x=x)}
    flat = x.reshape(-1).view(np.uint8)
    for place in range(flat.size):
        flat[place] ^= 1 << place % 8
        keys.add(key(model, x=x))
        flat[place] ^= 1 << place % 8
    assert len(keys) == flat.size + 1


def test_another_model_or_numerics_is_another_key(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    x = frame()
    here = key(model, x=x)
    assert key(load(cnn(24, 32), threads=2), x=x) == here
    assert key(load(cnn(tail=True), threads=1), x=x) != here
    monkeypatch.setattr("reconv.reuse.local.numerics", lambda model: "other")
    assert key(model, x=x) != here


def test_another_process_has_other_keys(model: Model) -> None:
    items = [{"x": frame()}, {"x": frame(seed=1)}]
    local, others_find = elsewhere()
    assert local != b"".join(local_keys(model, items)).hex()
    assert others_find == b"".join(result_keys(model, items)).hex()


def test_without_the_package_they_are_the_ones_that_others_find() -> None:
    local, others_find = elsewhere("sys.modules['xxhash'] = None")
    assert local == others_find
