"""Loop orders: what the core takes, what a file may hold, and what a model does with either."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from reconv import _core, load
from reconv.engine.machine import cpu_model
from reconv.engine.orders import FORMAT, Kernels, Order, kernels_of, read_kernels
from reconv.errors import InputError, ProfileError
from tests.unit.small import cnn, network

HERE: dict[str, Any] = {"cpu": cpu_model(), "instructions": _core.default_isa(), "threads": 2}
EMPTY: dict[str, Any] = {"format": FORMAT, **HERE, "layers": {}, "forks": {}}


def classifier(size: int = 7) -> ModelProto:
    """A convolution of few pixels and many weights, a pooling and a matrix product."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.normal(0, 0.05, (128, 64, 3, 3)).astype(np.float32),
        "fc": random.normal(0, 0.1, (128, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "fc"], ["y"], "fc"),
    ]
    return network(nodes, weights, [1, 64, size, size], ["y"])


def two_heads() -> ModelProto:
    """A convolution that two heads read, of two convolutions each."""
    random = np.random.default_rng(4)
    weights = {name: random.normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32) for name in ("w", "p", "q")}
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], "stem", pads=[1] * 4)]
    for weight, values in (("p", ["a", "c", "y"]), ("q", ["a", "d", "z"])):
        nodes += [
            helper.make_node("Conv", [source, weight], [target], target, pads=[1] * 4)
            for source, target in pairwise(values)
        ]
    return network(nodes, weights, [1, 8, 6, 6], ["y", "z"])


CONV = "7x7x64 to 7x7x128, 3x3 step 1x1 dilation 1x1 groups 1"
PRODUCT = "1x1x128 to 1x1x10, 1x1 step 1x1 dilation 1x1 groups 1"


def test_what_the_default_is() -> None:
    layers = load(classifier(), threads=2).kernels.layers
    assert layers.keys() == {CONV, PRODUCT}
    assert layers[CONV].outside == "channels"  # 73,728 weights, 9,408 values
    assert layers[PRODUCT].outside == "pixels"
    assert {order.outside for order in load(cnn(96, 96), threads=2).kernels.layers.values()} == {"pixels"}


def test_the_core_refuses_what_cannot_be() -> None:
    plan = _core.Plan()
    x, y, z = plan.map(2, 2, 4), plan.map(2, 2, 4), plan.map(2, 2, 4)
    plan.input(x, (8, 4, 1))
    weight = np.ones((4, 4, 1, 1), np.float32)
    conv = plan.conv(x, y, weight, None, (1, 1), (0, 0), (1, 1), 1, ("none",))
    pointwise = plan.unary(y, z, ("relu",))
    with pytest.raises(ValueError, match="not sealed"):
        plan.set_order(conv, "pixels", 8, 0)
    plan.seal()
    plan.set_order(conv, "channels", 64, 100)
    assert plan.order(conv) == ("channels", 64, 100)
    assert plan.order(pointwise) is None
    assert plan.layer(pointwise) == ""
    for arguments, message in (
        ((conv, "rows", 8, 0), "unknown order 'rows'"),
        ((conv, "pixels", 0, 0), "blocks is 0, expected 1 to 64"),
        ((conv, "pixels", 65, 0), "blocks is 65"),
        ((conv, "pixels", 8, -1), "part is negative"),
        ((pointwise, "pixels", 8, 0), "no order to choose"),
        ((2, "pixels", 8, 0), "no such op"),
        ((-1, "pixels", 8, 0), "no such op"),
    ):
        with pytest.raises(ValueError, match=message):
            plan.set_order(*arguments)
    assert plan.order(conv) == ("channels", 64, 100)


def test_the_layer_names_all_that_its_speed_depends_on() -> None:
    layers = list(load(cnn(24, 32), threads=1).kernels.layers)
    assert layers == [
        "24x32x3 to 12x16x8, 3x3 step 2x2 dilation 1x1 groups 1",
        "12x16x8 to 12x16x8, 3x3 step 1x1 dilation 1x1 groups 1, residual",
    ]


@pytest.mark.parametrize(("size", "inside"), [(7, False), (56, True)])
def test_a_depthwise_convolution_stays_apart_where_channels_are_shared(size: int, inside: bool) -> None:
    random = np.random.default_rng(0)
    weights = {
        "deep": random.normal(0, 0.3, (160, 1, 3, 3)).astype(np.float32),
        "point": random.normal(0, 0.1, (320, 160, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "deep"], ["a"], "deep", pads=[1] * 4, group=160),
        helper.make_node("Conv", ["a", "point"], ["y"], "point"),
    ]
    (layer,) = load(network(nodes, weights, [1, 160, size, size], ["y"]), threads=2).kernels.layers
    assert ("after depthwise 3x3 step 1x1 dilation 1x1 groups 160" in layer) is inside


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    model = load(classifier(), threads=2)
    x = np.random.default_rng(1).random((1, 64, 7, 7), np.float32)
    expected = model.run(x)["y"]
    model.save_kernels(tmp_path / "k.json")
    saved = json.loads((tmp_path / "k.json").read_text())
    assert saved["format"] == FORMAT
    assert {key: saved[key] for key in HERE} == HERE
    saved["layers"] = {CONV: ["pixels", 3, 500], PRODUCT: ["channels", 1, 0]}
    assert saved["forks"] == {}
    (tmp_path / "k.json").write_text(json.dumps(saved))
    for source in (tmp_path / "k.json", str(tmp_path / "k.json"), saved, read_kernels(saved)):
        other = load(classifier(), threads=2, kernels=source)
        assert other.kernels.to_json() == saved
        assert np.array_equal(other.run(x)["y"], expected)


def test_forks_are_saved_and_read() -> None:
    model = load(two_heads(), threads=2)
    x = np.random.default_rng(1).random((1, 8, 6, 6), np.float32)
    expected = model.run(x)
    saved = model.kernels.to_json()
    ((name, chosen),) = saved["forks"].items()
    assert name.startswith("2 branches, 4 ops, ")
    assert not chosen
    other = load(two_heads(), threads=2, kernels={**saved, "forks": {name: True}})
    assert other.kernels.forks == {name: True}
    for key, array in other.run(x).items():
        assert np.array_equal(array, expected[key])
    with other.stream() as stream:
        assert np.array_equal(stream(x)["z"], expected["z"])
    limited = load(two_heads(), threads=2, kernels=other.kernels, memory_limit_bytes=10**9)
    assert limited.kernels.forks == {}
    assert load(two_heads(), threads=2, kernels=limited.kernels).kernels.forks == {name: False}
    assert load(two_heads(), threads=1).kernels.forks == {}


def test_a_profile_for_something_else_is_refused(tmp_path: Path) -> None:
    good = load(classifier(), threads=2).kernels.to_json()
    (tmp_path / "k.json").write_text(json.dumps(good))
    for change, message in (
        ({"cpu": "Z80"}, r"k\.json was measured for the CPU Z80, here it is .*kernels=\"measured\".*save_kernels"),
        ({"instructions": "v9"}, "instruction set v9"),
        ({"threads": 3}, "number of threads 3, here it is 2"),
        ({"layers": {PRODUCT: ["pixels", 8, 0]}}, "nothing for 1 of 2 convolutions, such as .7x7x64 to 7x7x128"),
        ({"forks": {"2 branches, 9 ops, 00": "yes"}}, "fork '2 branches, 9 ops, 00': expected true or false"),
    ):
        (tmp_path / "k.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(ProfileError, match=message):
            load(classifier(), threads=2, kernels=tmp_path / "k.json")


def test_a_model_of_free_sizes_notices_when_an_input_comes() -> None:
    with pytest.raises(InputError, match="free sizes"):
        load(cnn()).save_kernels("k.json")
    model = load(cnn(), threads=1, kernels=load(cnn(24, 32, 1), threads=1).kernels)
    model.run(np.zeros((1, 3, 24, 32), np.float32))
    with pytest.raises(ProfileError, match="does not fit the model at this size"):
        model.run(np.zeros((1, 3, 24, 48), np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[]", "is not a kernel profile"),
        ('{"format": "reconv profile 1"}', 'expected "format": "reconv kernels 1"'),
        (json.dumps({"format": FORMAT, "cpu": "x"}), "missing or unknown entries: forks, instructions, lay"),
        (
            json.dumps({"format": FORMAT, **HERE, "layers": {}, "forks": {}, "more": 1}),
            "missing or unknown entries: more",
        ),
        (
            json.dumps({"format": FORMAT, **HERE, "threads": "2", "layers": {}, "forks": {}}),
            "threads is '2', expected a int",
        ),
        (json.dumps({**EMPTY, "layers": []}), "layers is .*expected a mapping"),
        (json.dumps({**EMPTY, "layers": {"a": ["pixels", 8]}}), "layer 'a': expected"),
        (json.dumps({**EMPTY, "layers": {"a": ["rows", 8, 0]}}), "layer 'a': loop order 'rows'"),
        (json.dumps({**EMPTY, "layers": {"a": ["pixels", 65, 0]}}), "blocks is 65, expected"),
        (json.dumps({**EMPTY, "layers": {"a": ["pixels", True, 0]}}), "blocks is True"),
        (json.dumps({**EMPTY, "layers": {"a": ["pixels", 8, 0.5]}}), "part is 0.5"),
    ],
)
def test_what_is_no_profile(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text(content)
    with pytest.raises(ProfileError, match=message) as caught:
        load(classifier(), threads=2, kernels=tmp_path / "k.json")
    assert "k.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_such_file() -> None:
    with pytest.raises(ProfileError, match=r"kernel profile nowhere\.json cannot be read"):
        load(classifier(), kernels="nowhere.json")


def test_orders_that_cannot_be() -> None:
    for arguments in (("rows", 8, 0), ("pixels", 0, 0), ("pixels", 8, -1), ("pixels", 8, 2**31)):
        with pytest.raises(ProfileError):
            Order(*arguments)
    assert kernels_of([], 2) == Kernels(cpu_model(), _core.default_isa(), 2, {})
