"""Models whose weights are more than one message holds: mapped, cut, run, described and written; with the limits
lowered to what a test can afford. The files are sparse, as those of a model of 3 GB would be."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import reconv
from reconv.app import main
from reconv.graph import Graph, check, external, extract, load, save, to_onnx, write
from tests.tolerances import EXACT
from tests.unit.halves import halved
from tests.unit.small import frame

Make = Callable[..., Path]
WIDE = 96


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1 GB and 2 GB, some kilobytes are left."""
    monkeypatch.setattr(external, "READ_BYTES", 16 << 10)
    monkeypatch.setattr(write, "LARGEST", 64 << 10)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A convolution, a CumSum, which no engine but ONNX Runtime runs, and two convolutions below it, of 37 kB each."""

    def made(offset: int = 0, folder: str = ".") -> Path:
        random = np.random.default_rng(3)
        weights = {"w0": random.normal(0, 0.3, (WIDE, 3, 1, 1)), "w1": random.normal(0, 0.1, (WIDE, WIDE, 1, 1))}
        weights["w2"] = random.normal(0, 0.1, (WIDE, WIDE, 1, 1))
        nodes = [
            helper.make_node("Conv", ["x", "w0"], ["a"], "first"),
            helper.make_node("CumSum", ["a", "axis"], ["b"], "sum"),
            helper.make_node("Conv", ["b", "w1"], ["c"], "second"),
            helper.make_node("Conv", ["c", "w2"], ["y"], "third"),
        ]
        axis = numpy_helper.from_array(np.array(1, np.int64), "axis")
        graph = helper.make_graph(
            nodes,
            "large",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", WIDE, 8, 8])],
            [axis],
        )
        (tmp_path / folder).mkdir(exist_ok=True)
        with (tmp_path / folder / "weights.bin").open("wb") as file:
            file.truncate(offset)
            for name, array in weights.items():
                file.seek(0, 2)
                tensor = onnx.TensorProto(name=name, data_type=1, dims=array.shape)
                tensor.data_location = onnx.TensorProto.EXTERNAL
                for key, value in (("location", "weights.bin"), ("offset", file.tell()), ("length", 4 * array.size)):
                    tensor.external_data.add(key=key, value=str(value))
                file.write(array.astype(np.float32).tobytes())
                graph.initializer.append(tensor)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / folder / "large.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return made


def _mapped(graph: Graph, name: str) -> bool:
    base: Any = graph.constants[name]
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)


def _frame(items: int = 1) -> np.ndarray[Any, Any]:
    return frame(8, 8, batch=items)


def test_few_weights_are_read_and_many_mapped(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    read = load(path)
    assert not _mapped(read, "w1")
    monkeypatch.setattr(external, "READ_BYTES", 16 << 10)
    mapped = load(path)
    assert _mapped(mapped, "w1")
    for name, array in read.constants.items():
        assert np.array_equal(mapped.constants[name], array)
    assert reconv.load(path).digest == reconv.Model(read).digest


@pytest.mark.usefixtures("small_limits")
def test_runs_as_the_same_model_in_one_message_does(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    model, x = reconv.load(path), _frame()
    y = model.run(x)["y"]
    placed = model.placement({"x": x.shape})
    assert [(node.where, node.shape) for node in placed] == [("engine", (1, WIDE, 8, 8))] + [
        ("tail", (1, WIDE, 8, 8))
    ] * 3
    assert placed.multiply_adds == 64 * WIDE * (3 + 2 * WIDE)
    both = model.run(_frame(2))["y"]
    assert both.shape == (2, WIDE, 8, 8)
    with model.stream() as stream:
        EXACT.check(stream(x)["y"], y, "stream")
        EXACT.check(stream(x)["y"], y, "stream, again")
        assert stream.last.recomputed == 0
    session = reconv.InferenceSession(path)
    EXACT.check(session.run(None, {"x": x})[0], y, "session")
    assert [each.shape for each in session.get_outputs()] == [["n", WIDE, 8, 8]]
    monkeypatch.undo()
    EXACT.check(y, reconv.load(path).run(x)["y"], "y")


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("offset", [1, 4096])
def test_weights_at_any_offset(make: Make, offset: int) -> None:
    model, x = reconv.load(make(offset, "moved")), _frame()
    assert all(array.flags.aligned for array in model.graph.constants.values())
    EXACT.check(model.run(x)["y"], reconv.load(make()).run(x)["y"], "y")


@pytest.mark.usefixtures("small_limits")
def test_files_that_are_not_whole_are_found_at_once(make: Make) -> None:
    path = make()
    weights = path.with_name("weights.bin")
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(reconv.ModelError, match="external data that cannot be read"):
        load(path)
    weights.unlink()
    with pytest.raises(reconv.ModelError, match="external data that cannot be read"):
        load(path)


@pytest.mark.usefixtures("small_limits")
def test_written_with_the_weights_beside_it(make: Make, tmp_path: Path) -> None:
    graph = load(make())
    target = tmp_path / "copy" / "made.onnx"
    target.parent.mkdir()
    save(graph, target)
    assert sorted(file.name for file in target.parent.iterdir()) == ["made.onnx", "made.onnx.data"]
    EXACT.check(reconv.load(target).run(_frame())["y"], reconv.Model(graph).run(_frame())["y"], "y")


def test_mapped_weights_are_written_into_one_message_that_holds_them(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "READ_BYTES", 16 << 10)
    graph = load(make())
    target = tmp_path / "copy" / "made.onnx"
    target.parent.mkdir()
    save(graph, target)
    assert [file.name for file in target.parent.iterdir()] == ["made.onnx"]
    y = reconv.Model(graph).run(_frame())["y"]
    EXACT.check(reconv.load(target).run(_frame())["y"], y, "written")
    EXACT.check(reconv.load(to_onnx(graph)).run(_frame())["y"], y, "as a message")
    assert _mapped(graph, "w1")


@pytest.mark.usefixtures("small_limits")
def test_the_files_that_a_model_is_read_from_are_not_written(make: Make) -> None:
    path = make()
    weights = path.with_name("weights.bin")
    before = weights.read_bytes()
    with pytest.raises(reconv.ModelError, match="the model reads its weights from there; give another name"):
        save(load(path), weights)
    assert weights.read_bytes() == before
    save(load(path), path.with_name("made.onnx"))
    with pytest.raises(reconv.ModelError, match="the model reads its weights from there; give another name"):
        save(load(path.with_name("made.onnx")), path.with_name("made.onnx"))


@pytest.mark.usefixtures("small_limits")
def test_what_needs_one_message_says_so(make: Make) -> None:
    graph = load(make())
    for ask in (
        lambda: to_onnx(graph),
        lambda: check(graph),
        lambda: extract(graph, ["x"], ["y"], {}),
        lambda: reconv.quantize(make(), [_frame(seed + 1)[:1] for seed in range(4)]),
    ):
        with pytest.raises(reconv.ModelError, match=r"GB of weights, more than one protobuf message takes \(2 GB\)"):
            ask()


@pytest.mark.usefixtures("small_limits")
def test_inspect(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(make()), "--size", "8x8"]) == 0
    assert "third" in capsys.readouterr().out


@pytest.mark.usefixtures("small_limits")
def test_in_16_bits(make: Make) -> None:
    path = make()
    whole = onnx.load(path)
    onnx.save(
        halved(whole), path.with_name("half.onnx"), save_as_external_data=True, location="half.bin", size_threshold=0
    )
    model, x = reconv.load(path.with_name("half.onnx")), _frame().astype(np.float16)
    y = model.run(x)["y"]
    assert y.dtype == np.float16
    exact = reconv.load(path).run(x.astype(np.float32))["y"]
    assert np.abs(y - exact).max() < 0.01 * np.abs(exact).max()
