"""`reconv cache`: record real runs, replay traces, write workloads; and one line for every mistake."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from reconv.app import cache_record, main, run
from reconv.app.cache import parse_capacities
from reconv.cache import POLICIES, generate, read_trace, replay, write_trace
from reconv.engine.model import load
from reconv.errors import InputError
from tests.unit.small import network

Mistake = Callable[..., str]
Capture = pytest.CaptureFixture[str]


def said(capsys: Capture, *arguments: object) -> dict[str, Any]:
    assert main(["cache", *(str(argument) for argument in arguments), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


# --- replay ---


def test_replay_says_what_the_library_says(capsys: Capture) -> None:
    workload = "mixture:requests=3000,objects=100,seed=2"
    found = said(capsys, "replay", workload, "--policy", "lru, gdsf, lru, belady", "--capacity", "1MB,10%")
    trace = generate(workload)
    assert found["requests"] == 3000
    assert found["keys"] == trace.distinct
    assert found["footprint_bytes"] == trace.footprint_bytes
    assert found["seconds"] == trace.seconds
    sizes = sorted([10**6, trace.footprint_bytes // 10])
    assert [row["capacity_bytes"] for row in found["capacities"]] == sizes
    for row in found["capacities"]:
        assert [each["policy"] for each in row["policies"]] == ["lru", "gdsf"]
        for each in [*row["policies"], row["bound"] | {"policy": "belady"}]:
            own = replay(
                trace.keys, trace.sizes, trace.costs, policy=each["policy"], capacity_bytes=row["capacity_bytes"]
            )
            for name in ("hit_ratio", "byte_hit_ratio", "seconds_saved", "share_of_seconds_saved"):
                assert each[name] == getattr(own, name)
        assert all(each["requests_per_second"] > 0 for each in row["policies"])
        assert all(each["evictions"] > 0 for each in row["policies"])
        assert row["bound"]["exact"] is False
        assert 0 < row["policies"][0]["hit_ratio"] < row["bound"]["hit_ratio"]


def test_replay_prints_a_table_per_capacity(capsys: Capture) -> None:
    arguments = ["cache", "replay", "zipf:requests=2000,objects=100", "--capacity", "500kB,20%"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert out.count("requests/s") == 2
    assert "500kB, " in out
    assert "20% of the footprint" in out
    rows = [re.split(r"\s*│\s*", line)[1:-1] for line in out.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows] == [*POLICIES, "bound"] * 2
    bound = rows[len(POLICIES)]
    for name, hits, _, _, off, seconds_off, _ in rows[: len(POLICIES)]:
        assert float(hits) + float(off) == pytest.approx(float(bound[1]), abs=2e-4), name
        assert float(seconds_off) >= 0
    assert "2k requests for 100 keys" in out


def test_replay_reads_files_and_draws(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    for name in ("t.csv", "t.oracleGeneral.zst"):
        written = said(capsys, "workload", "sweep:requests=2000,samples=2", "-o", tmp_path / name)
        assert written["requests"] == 2000
    picture = tmp_path / "curves.svg"
    found = said(capsys, "replay", tmp_path / "t.csv", "--policy", "arc", "--picture", picture)
    assert found["seconds"] == pytest.approx(generate("sweep:requests=2000,samples=2").seconds)
    assert len(found["capacities"]) == 6
    assert "<svg" in picture.read_text()
    plain = said(capsys, "replay", tmp_path / "t.oracleGeneral.zst", "--policy", "arc", "--capacity", "5%")
    assert plain["seconds"] == 2000
    assert plain["capacities"][0]["policies"][0]["hit_ratio"] == found["capacities"][2]["policies"][0]["hit_ratio"]


def test_replay_with_admission(capsys: Capture) -> None:
    workload = "crawler:requests=3000,objects=50,once=0.7"
    everybody, second = (
        said(capsys, "replay", workload, "--policy", "lru", "--capacity", "3%", "--admission", who)["capacities"][0]
        for who in ("all", "second")
    )
    assert second["policies"][0]["hit_ratio"] > everybody["policies"][0]["hit_ratio"]
    assert second["policies"][0]["evictions"] < everybody["policies"][0]["evictions"] / 2


def test_capacities() -> None:
    assert parse_capacities("64MB, 1GiB,7,10%,2kb,3 KiB,1.5M", 1000) == sorted(
        [64 * 10**6, 2**30, 7, 100, 2000, 3 * 1024, 1_500_000]
    )
    assert parse_capacities("0.01%,50%,500", 1000) == [1, 500]
    for text in ("", "MB", "ten", "5XB", "0", "-3%", "nan%", "infMB", "1e400", "10%,", "5%%", "5BM"):
        with pytest.raises(InputError, match="--capacity is bytes as in 64MB"):
            parse_capacities(text, 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "none.csv"], "no file and no workload is called none.csv; workloads are zipf"),
        (["replay", "zipf:size=4"], "no parameter 'size'"),
        (["replay", "zipf", "--policy", "lru,mru"], "no policy is called 'mru'; there are fifo, lru"),
        (["replay", "zipf:requests=9", "--admission", "third"], "no admission is called 'third'"),
        (["replay", "zipf:requests=9", "--capacity", "a lot"], "--capacity is bytes"),
        (["replay", "zipf", "--picture", "c.gif"], "a picture is .png, .svg, .pdf"),
        (["replay", "zipf", "--picture", "/nowhere/c.png"], "there is no folder /nowhere"),
        (["replay", "MODEL"], "traces are .csv or .oracleGeneral"),
        (["replay"], "Missing argument"),
        (["workload", "zipf", "-o", "t.json"], "traces are .csv or .oracleGeneral"),
        (["workload", "zipf", "-o", "/nowhere/t.csv"], "there is no folder /nowhere"),
        (["workload", "poisson", "-o", "t.csv"], "no workload is called 'poisson'"),
        (["record", "MODEL", "CLIP", "-o", "t.json"], "traces are .csv or .oracleGeneral"),
        (["record", "MODEL", "CLIP", "-o", "/nowhere/t.csv"], "there is no folder /nowhere"),
        (["record", "MODEL", "none.mp4", "-o", "t.csv"], "no such file or folder: none.mp4"),
        (["record", "none.onnx", "CLIP", "-o", "t.csv"], "none.onnx does not exist"),
        (["record", "MODEL", "CLIP", "-o", "t.csv", "--cut", "nothing"], "cannot compute 'nothing'"),
        (["record", "MODEL", "CLIP", "-o", "t.csv", "--recipe", "yolov99"], "no recipe is called 'yolov99'"),
        (["record", "MODEL", "CLIP"], "Missing option"),
        (["evict"], "No such command 'evict'"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    *,
    mistake: Mistake,
    map_model: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {"MODEL": map_model, "CLIP": clip}
    before = sorted(tmp_path.iterdir())
    assert message in mistake("cache", *(paths.get(argument, argument) for argument in arguments))
    assert sorted(tmp_path.iterdir()) == before


def test_the_group_alone_says_what_there_is(capsys: Capture) -> None:
    assert main(["cache"]) == 2
    out, err = capsys.readouterr()
    assert all(name in out + err for name in ("record", "replay", "workload"))
    assert "Traceback" not in out + err


# --- record ---


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    """Pictures that come back: 0 1 0 2 0 1 3, as arrays for the network."""
    pictures = np.random.default_rng(0).standard_normal((4, 3, 20, 30)).astype(np.float32)
    path = tmp_path / "visits.npy"
    np.save(path, pictures[[0, 1, 0, 2, 0, 1, 3]])
    return path


def test_record_has_a_request_per_frame(map_model: Path, visits: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "t.csv"
    summary = said(capsys, "record", map_model, visits, "-o", target)
    trace = read_trace(target)
    assert trace.keys.tolist() == [0, 1, 0, 2, 0, 1, 3]
    assert trace.names is not None
    assert all(re.fullmatch(r"result:[0-9a-f]{32}", name) for name in trace.names)
    assert (trace.sizes == 4 * 20 * 30).all()
    assert (trace.costs > 0).all()
    assert trace.times is not None
    assert (np.diff(trace.times) > 0).all()
    assert summary["frames"] == summary["requests"] == 7
    assert summary["keys"] == 4
    assert summary["seconds"] == pytest.approx(trace.costs.sum())
    assert summary["stopped"] is False
    assert replay(trace.keys, trace.sizes, policy="lru", capacity_bytes=3 * 2400).hits.sum() == 3


def test_record_cuts(map_model: Path, visits: Path, tmp_path: Path, capsys: Capture) -> None:
    """A map on the way is asked for before the result, under a name of its own."""
    target = tmp_path / "t.csv.zst"
    summary = said(capsys, "record", map_model, visits, "-o", target, "--cut", "c", "--every", 2, "--limit", 3)
    trace = read_trace(target)
    assert trace.keys.tolist() == [0, 1, 0, 1, 0, 1]
    assert trace.names is not None
    assert [name.split(":")[0] for name in trace.names] == ["c", "result"]
    assert summary["frames"] == 3
    assert (trace.sizes == 4 * 20 * 30).all()


def test_record_of_pictures_runs_the_recipe(
    yolox_model: Path, clip: Path, pictures: NDArray[np.uint8], tmp_path: Path, capsys: Capture
) -> None:
    np.save(clip, pictures[[0, 5, 0]])
    target = tmp_path / "t.csv"
    assert main(["cache", "record", str(yolox_model), str(clip), "--recipe", "yolox", "-o", str(target)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "3 requests for 2 keys" in out
    trace = read_trace(target)
    assert trace.keys.tolist() == [0, 1, 0]
    outputs = load(yolox_model).run(np.zeros((1, 3, 64, 96), np.float32))
    assert trace.sizes.tolist() == [outputs["y"].nbytes] * 3


def test_record_of_named_arrays_keys_all_inputs(tmp_path: Path, capsys: Capture) -> None:
    body = [onnx.helper.make_node("Add", ["x", "z"], ["y"])]
    model = network(body, {}, [1, 4], ["y"])
    model.graph.input.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 4]))
    onnx.save(model, tmp_path / "add.onnx")
    x = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]], np.float32)
    z = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], np.float32)
    np.savez(tmp_path / "in.npz", x=x, z=z)
    said(capsys, "record", tmp_path / "add.onnx", tmp_path / "in.npz", "-o", tmp_path / "t.csv")
    assert read_trace(tmp_path / "t.csv").keys.tolist() == [0, 1, 0]


def test_ctrl_c_keeps_what_was_recorded(
    map_model: Path, endless: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = []

    def inputs_of(frame: Any, recipe: Any) -> Any:
        frames.append(frame)
        if len(frames) == 3:
            signal.raise_signal(signal.SIGINT)
        return run.inputs_of(frame, recipe)

    monkeypatch.setattr(cache_record, "inputs_of", inputs_of)
    target = tmp_path / "t.csv"
    assert main(["cache", "record", str(map_model), str(endless), "-o", str(target), "--json"]) == 130
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["stopped"] is True
    assert len(read_trace(target)) == len(frames) == 3


def test_what_is_recorded_is_replayed(map_model: Path, visits: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "t.oracleGeneral"
    said(capsys, "record", map_model, visits, "-o", target)
    found = said(capsys, "replay", target, "--policy", "lfu", "--capacity", "50%")
    assert found["requests"] == 7
    assert found["capacities"][0]["bound"]["exact"] is True
    write_trace(read_trace(target), tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == target.read_bytes()
