"""`reconv exchange`: what it writes, what it says in each of its three forms, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import reconv
from reconv.app import exchange_words as words
from reconv.app import main
from reconv.app.exchange import SAMPLES, memo_folder
from reconv.app.exchange_page import exchange_page
from reconv.exchange.found import Refused
from reconv.exchange.rule import Answer, Rule
from reconv.exchange.rules import RULES
from reconv.exchange.view import View
from reconv.graph import Node, Rewrite, load, parse, save
from reconv.optimize import measured
from reconv.optimize.whole import WholeProof
from tests.unit.app.pages import breaches, read_page, rows

Array = np.ndarray[Any, Any]
POOLED = """g (float[1, 16, 8, 12] x) => (float[1, 4, 4, 6] y) {
    r = Relu (x)
    c = Conv (r, w)
    p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    y = Relu (p)
}"""
FREE = POOLED.replace("[1, 16, 8, 12]", "[1, 16, h, w]").replace("[1, 4, 4, 6]", "[1, 4, p, q]")
PLAIN = """g (float[1, 16, 8, 12] x) => (float[1, 4, 8, 12] y) { y = Conv (x, w) }"""
SWAP = "pool before conv1x1"


def write(path: Path, text: str) -> Path:
    random = np.random.default_rng(5)
    save(parse(text, {"w": random.standard_normal((4, 16, 1, 1)).astype(np.float32)}), path)
    return path


@pytest.fixture
def pooled(tmp_path: Path) -> Path:
    """A 1x1 convolution before a pooling: the swap is a quarter of the work."""
    return write(tmp_path / "pooled.onnx", POOLED)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A model in which nothing can be swapped."""
    return write(tmp_path / "plain.onnx", PLAIN)


def run(path: Path, x: Array) -> Array:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """The report of a run with `--json`; nothing goes to stderr, which is no terminal here."""
    assert main(["exchange", *map(str, arguments), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_the_model_that_it_writes_gives_the_same_result(
    pooled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.onnx"
    report = asked(capsys, pooled, "-o", out, "--cost", "macs", "--threads", 1)
    assert report["output"] == str(out)
    assert report["rules"] == {SWAP: 1}
    assert report["after"]["multiply_adds"] * 4 == report["before"]["multiply_adds"] == 8 * 12 * 16 * 4
    onnx.checker.check_model(out, full_check=True)
    x = np.random.default_rng(0).standard_normal((1, 16, 8, 12)).astype(np.float32)
    np.testing.assert_allclose(run(out, x), run(pooled, x), atol=1e-5)


def test_without_output_nothing_is_written(pooled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = pooled.read_bytes()
    assert main(["exchange", str(pooled), "--cost", "macs"]) == 0
    said, err = capsys.readouterr()
    assert err == ""
    assert "nothing written: --output takes the ONNX file to write" in said
    assert pooled.read_bytes() == before
    assert [path.name for path in pooled.parent.iterdir()] == [pooled.name]


def test_where_nothing_pays_it_says_so_and_writes_the_model(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "out.onnx", tmp_path / "page.html"
    assert main(["exchange", str(plain), "-o", str(out), "--cost", "macs", "--html", str(page)]) == 0
    said = capsys.readouterr().out
    assert "Nothing pays: the model stays as it is (no swap may be done, or none pays)." in said
    assert f"{out}: the untouched model" in said
    assert reconv.load(out).digest == reconv.load(plain).digest
    root = read_page(page.read_text(encoding="utf-8"))
    assert "Nothing pays" in "".join(root.itertext())
    assert len(list(root.iter("svg"))) == 2  # one model, drawn once


def test_the_table_and_the_page_say_the_same(pooled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["exchange", str(pooled), "--cost", "macs", "--html", str(page)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    root = read_page(page.read_text(encoding="utf-8"))
    assert breaches(root) == []
    text = " ".join("".join(root.itertext()).split())
    for line in ("1 swap done: ", "Both models give the same result", "cost: operations; x 1x16x8x12"):
        assert line in said
        assert line in text
    found = rows(root)
    assert next(row[:2] for row in found if row[0] == SWAP) == [SWAP, "1"]
    assert ["multiply-adds", "6.14k", "1.54k", "-75.0%"] in found
    for row in found:
        if row[0] not in {rule.name for rule in RULES} | {"rule"}:  # what the rules are is told on the page alone
            assert " ".join(cell for cell in row if cell) in said
    drawn = {svg.get("aria-label", "").partition(":")[0]: svg for svg in root.iter("svg")}
    assert list(drawn) == ["operations, before", "operations, after", "bytes alive, before", "bytes alive, after"]
    kinds = {name: [group.get("class") for group in svg] for name, svg in drawn.items()}
    assert kinds["operations, before"] == [None, "gone", "gone", None]
    assert kinds["operations, after"].count("new") == 2
    labels = {svg.get("aria-label") for svg in root.iter("svg")}
    assert "bytes alive, before: 12.3kB at the most, at Relu_0 (Relu)" in labels  # the input and its activation
    assert ["peak of maps", "12.3kB"] in [row[:2] for row in found]
    assert kinds["bytes alive, before"].count("peak") == kinds["bytes alive, after"].count("peak") == 1
    titles = [title.text or "" for title in drawn["operations, before"].iter("title")]
    assert "(Conv) · 1x4x8x12 · 6.14k multiply-adds · 1.54kB out · 256B of weights · 7.68kB alive" in titles[1]


def test_measurements_are_kept_for_the_second_search(
    pooled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    arguments = (pooled, "--cost", "measured", "--threads", 1)
    first = asked(capsys, *arguments)
    assert any((tmp_path / "home" / "reconv" / "measurements").iterdir())
    taken: list[str] = []

    def count(*_: object) -> measured.Paired:
        taken.append("once")
        return measured.Paired(1.0, 1.0, 1.0, 0.9, 1.1)

    monkeypatch.setattr(measured, "paired", count)
    assert asked(capsys, *arguments) == first
    assert taken == []
    assert asked(capsys, *arguments, "--no-memo")["applied"] is False
    assert taken


def test_where_measurements_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert memo_folder(None) == tmp_path / ".cache" / "reconv" / "measurements"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # the rules for that folder say to leave such a one alone
    assert memo_folder(None) == tmp_path / ".cache" / "reconv" / "measurements"
    assert memo_folder("here") == Path("here")


def test_a_measured_ratio_stands_with_its_interval(
    pooled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "paired", lambda *_: measured.Paired(2.0, 1.5, 0.75, 0.7, 0.8))
    page = tmp_path / "page.html"
    assert main(["exchange", str(pooled), "--no-memo", "--threads", "1", "--html", str(page)]) == 0
    assert "1 swap done: 0.750 of the time (95 % interval 0.700 to 0.800) on onnxruntime." in capsys.readouterr().out
    found = rows(read_page(page.read_text(encoding="utf-8")))
    assert ["ms on onnxruntime", "2.000", "1.500", "x0.750 (0.700 to 0.800)"] in found
    assert [SWAP, "1", "2.000", "1.500", "-25.0%"] in found


def test_frames_of_the_user_give_the_sizes_and_the_proofs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Mapping[str, Array]] = []

    def spy(*arguments: Any, **options: Any) -> reconv.Exchanged:
        given.extend(options["samples"])
        return reconv.exchange(*arguments, **options)

    monkeypatch.setattr("reconv.app.exchange.exchanged", spy)
    model, data = write(tmp_path / "free.onnx", FREE), tmp_path / "data.npy"
    frames = np.arange(9, dtype=np.float32)[:, None, None, None] * np.ones((1, 16, 6, 10), np.float32)
    np.save(data, frames)
    report = asked(capsys, model, "--cost", "macs", "--data", data)
    assert report["shapes"] == {"x": [1, 16, 6, 10]}
    assert report["applied"] is True
    assert [float(frame["x"].max()) for frame in given] == [0, 2, 4, 6]
    assert len(given) == SAMPLES


def test_a_free_size_can_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write(tmp_path / "free.onnx", FREE)
    assert asked(capsys, model, "--cost", "macs", "--size", "6x10")["shapes"] == {"x": [1, 16, 6, 10]}
    assert asked(capsys, model, "--cost", "macs", "--shape", "x=1x16x4x6")["shapes"] == {"x": [1, 16, 4, 6]}


def test_mistakes(pooled: Path, tmp_path: Path, mistake: Callable[..., str]) -> None:
    free, file = write(tmp_path / "free.onnx", FREE), tmp_path / "file"
    file.touch()
    link = tmp_path / "link.onnx"
    link.symlink_to(pooled)
    before = pooled.read_bytes()
    for arguments, reason in [
        (("no.onnx",), "no.onnx does not exist"),
        ((file,), "is not an ONNX model"),
        ((pooled, "-o", pooled), "would overwrite what is read; give another file"),
        ((pooled, "-o", link), "would overwrite what is read"),
        ((pooled, "--html", pooled), "would overwrite what is read"),
        ((pooled, "-o", "same", "--html", "same"), "--html and --output both name same"),
        ((pooled, "-o", tmp_path / "none" / "out.onnx"), "does not exist"),
        ((pooled, "-o", tmp_path), "is a folder; name a file"),
        ((pooled, "--cost", "beauty"), "no cost is called 'beauty'; there are measured, macs, memory"),
        ((pooled, "--target", "abacus"), "no target is called 'abacus'"),
        ((pooled, "--memo", file), "is a file; name a folder"),
        ((pooled, "--memo", "here", "--no-memo"), "exclude one another"),
        ((pooled, "--size", "4x4"), "has sizes that the model fixes, and cannot become 1x16x4x4"),
        ((pooled, "--shape", "z=1x2"), "the model has no input 'z'"),
        ((pooled, "--data", "nothing.npy"), "nothing.npy"),
        ((free,), "give --size"),
    ]:
        assert reason in mistake("exchange", *arguments)
    assert pooled.read_bytes() == before


# --- reports that the rules, being right, do not lead to ---


def _rule(name: str, match: Callable[[View, Node], Answer]) -> Rule:
    right = next(rule for rule in RULES if rule.name == SWAP)
    return replace(right, name=name, match=match)


def _wrong(view: View, node: Node) -> Answer:
    """The swap, with the largest value in the place of the mean."""
    answer = next(rule for rule in RULES if rule.name == SWAP).match(view, node)
    if not isinstance(answer, Rewrite):
        return answer
    pool, *rest = answer.after
    return Rewrite(answer.before, (replace(pool, op_type="MaxPool"), *rest))


def _twice(view: View, node: Node) -> Answer:
    """An activation done twice: right, and more work."""
    if node.op_type != "Relu" or (above := view.producer(node.inputs[0])) is None or above.op_type == "Relu":
        return None
    between = view.fresh("between")
    first, second = view.node("Relu", node.inputs, between), view.node("Relu", (between,), node.outputs)
    return Rewrite((node,), (first, second))


def test_a_swap_that_fails_its_proof_is_told_first(pooled: Path) -> None:
    found = reconv.exchange(pooled, cost="macs", rules=(_rule("wrong <b>", _wrong),))
    ((rule, _, reason),) = words.bugs(found.report).rows
    assert rule == "wrong <b>"
    assert reason
    root = read_page(exchange_page("m.onnx", load(pooled), found))
    assert rows(root)[1][0] == "wrong <b>"
    assert "FAILED THEIR PROOF (not done; please report them)" in "".join(root.itertext())


def test_costs_that_were_only_counted_are_called_so(pooled: Path) -> None:
    found = reconv.exchange(pooled, cost="memory", rules=(_rule("twice", _twice),))
    assert words.declined(found.report).rows == [("twice", "1", "96 operations", "192 operations", "more operations")]


def test_models_that_differ_are_said_to_differ(pooled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = WholeProof(False, {"y": float("inf")}, "output 'y' is off")
    # by its name in full: the function `reconv.optimize` hides the folder of that name
    monkeypatch.setattr(sys.modules["reconv.optimize.exchange"], "prove_whole", lambda *_: proof)
    found = reconv.exchange(pooled, cost="macs")
    assert words.proof(found.report) == "The whole models DIFFER, so nothing was done: output 'y' is off."
    assert words.done(found.report).title == "tried, and given up with the whole"
    assert words.verdict(found.report).startswith("FAULT: the whole models differ: output 'y' is off.")
    monkeypatch.setattr("reconv.app.exchange.exchanged", lambda *_, **__: found)
    assert main(["exchange", str(pooled), "--cost", "macs", "--json"]) == 0


def test_refusals_are_gathered_by_rule_and_reason(pooled: Path) -> None:
    report = reconv.exchange(pooled, cost="macs").report
    many = [Refused("a", f"n{k}", "one reason") for k in range(3)]
    many += [Refused("a", "m", "more work: 7"), Refused("a", "k", "more work: 8"), Refused("b", "n0", "one reason")]
    assert words.refused(replace(report, refused=tuple(many))).rows == [
        ("a", "3", "one reason", "n0 and 2 more"),
        ("a", "2", "more work", "m and 1 more"),
        ("b", "1", "one reason", "n0"),
    ]


def test_weights_beside_the_model_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "pooled.onnx", POOLED)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    before = (tmp_path / "weights.bin").read_bytes()
    for option in ("-o", "--html"):
        assert main(["exchange", str(path), option, str(tmp_path / "weights.bin"), "--cost", "macs"]) == 2
        assert "would overwrite what is read" in capsys.readouterr().err
    assert (tmp_path / "weights.bin").read_bytes() == before


def test_a_search_that_runs_out_of_time_says_so(pooled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exchange", str(pooled), "--cost", "macs", "--seconds", "0"]) == 0
    assert "the time was up before the search was through" in " ".join(capsys.readouterr().out.split())
    assert main(["exchange", str(pooled), "--cost", "macs", "--seconds", "1000"]) == 0
    assert "time was up" not in capsys.readouterr().out
