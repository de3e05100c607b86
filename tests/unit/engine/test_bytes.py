"""Frames of bytes through streams and models: the results of the float path, whatever the input's way in."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from reconv.engine import Model, Stream, load
from reconv.engine.item import Item
from reconv.engine.pixels import Picture, PixelArithmetic
from reconv.engine.tail import same_bits
from reconv.errors import InputError
from tests.unit.small import Array, cnn, frame, network, text

IMAGENET = PixelArithmetic(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _frames(shape: tuple[int, int, int] = (24, 32, 3), count: int = 8) -> list[Array]:
    """Frames of bytes: patches, noise of a camera, the same again, all new."""
    random = np.random.default_rng(5)
    frames = [random.integers(0, 256, shape, dtype=np.uint8)]
    for index in range(1, count):
        x = frames[-1].copy()
        if index == 3:
            x = np.clip(x.astype(int) + random.integers(-1, 2, shape), 0, 255).astype(np.uint8)
        elif index == 6:
            x = random.integers(0, 256, shape, dtype=np.uint8)
        elif index != 4:
            y, column = random.integers(0, shape[0] - 4), random.integers(0, shape[1] - 4)
            x[y : y + 4, column : column + 4] = random.integers(0, 256, (4, 4, shape[2]))
        frames.append(x)
    return frames


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return list(a) == list(b) and all(same_bits(a[name], b[name]) for name in a)


def _alike(
    model: Model, pixels: PixelArithmetic, frames: list[Array], tolerance: float, name: str = "x"
) -> list[float]:
    """Steps a stream of bytes and one of floats; the shares that they recomputed."""
    shares = []
    with model.stream(tolerance, pixels=pixels) as taker, model.stream(tolerance) as floats:
        for picture in frames:
            x = pixels.apply(picture)
            assert _same(taker({name: picture}), floats({name: x}))
            for key in ("recomputed", "dense", "changed"):
                assert getattr(taker.last, key) == getattr(floats.last, key)
            assert _same(model.run({name: picture}, pixels=pixels), model.run({name: x}))
            shares.append(taker.last.recomputed)
    return shares


def _took_bytes(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Filled at every step: whether the core was given the bytes."""
    seen: list[bool] = []
    feed = Item._feed

    def spy(self: Item, *given: Any) -> Any:
        arrays, pictures = feed(self, *given)
        seen.append(any(picture is not None for picture in pictures))
        return arrays, pictures

    monkeypatch.setattr(Item, "_feed", spy)
    return seen


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
@pytest.mark.parametrize("tail", [False, True])
def test_a_stream_of_bytes_is_that_of_their_floats(
    tolerance: float, tail: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(cnn(tail=tail), threads=2)
    seen = _took_bytes(model.stream(), monkeypatch)
    shares = _alike(model, IMAGENET, _frames(), tolerance)
    assert sum(seen) == 2 * len(shares)  # the stream and the dense run, each beside one of floats
    assert len(seen) == 4 * len(shares)
    assert shares[0] == 1
    assert shares[4] == 0
    assert 0 < shares[1] < 1


def _nhwc() -> Any:
    """Transpose to NCHW, then a convolution."""
    weights = {"w": np.random.default_rng(2).normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    return network(nodes, weights, [1, "h", "w", 3], ["y"])


def test_models_of_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(_nhwc(), threads=1)
    seen = _took_bytes(model.stream(), monkeypatch)
    _alike(model, PixelArithmetic(1 / 127.5, 1.0, layout="NHWC"), _frames(), 0.05)
    assert any(seen)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_pictures_of_other_channels(channels: int) -> None:
    weights = {"w": np.random.default_rng(2).normal(0, 0.3, (4, channels, 3, 3)).astype(np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]
    model = load(network(nodes, weights, [1, channels, "h", "w"], ["y"]), threads=1)
    _alike(
        model,
        PixelArithmetic(1 / 255, 0.5, tuple(0.25 + 0.1 * c for c in range(channels))),
        _frames((24, 32, channels)),
        0,
    )


def test_a_grey_picture_may_be_height_by_width() -> None:
    weights = {"w": np.ones((2, 1, 3, 3), np.float32)}
    model = load(network([helper.make_node("Conv", ["x", "w"], ["y"])], weights, [1, 1, 8, 9], ["y"]), threads=1)
    grey = np.arange(72, dtype=np.uint8).reshape(8, 9)
    pixels = PixelArithmetic(2.0)
    expected = model.run({"x": pixels.apply(grey[..., None])})
    assert _same(model.stream(pixels=pixels)({"x": grey}), expected)


def test_views_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(cnn(), threads=1)
    seen = _took_bytes(model.stream(), monkeypatch)
    stream = model.stream(pixels=IMAGENET)
    whole = np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    whole.flags.writeable = False
    for view in (whole[3:27, 5:37, :3], whole[24:0:-1, 31::-1, 2::-1], whole[::1, ::1][8:32, 9:41, 1:]):
        assert view.shape == (24, 32, 3)
        assert _same(stream(view), model.run(IMAGENET.apply(view)))
    assert seen == [True, False] * 3


def test_bytes_and_floats_in_one_stream() -> None:
    model = load(cnn(), threads=1)
    taker, floats = model.stream(0.05, pixels=IMAGENET), model.stream(0.05)
    frames = _frames()
    sequence = [
        (frames[i], as_bytes) for i, as_bytes in ((0, 1), (1, 0), (0, 1), (1, 1), (1, 0), (2, 0), (1, 1), (1, 1))
    ]
    for index, (picture, as_bytes) in enumerate(sequence):
        if index == 5:
            taker.reset()
            floats.reset()
        if index == 6:
            taker.tolerance = floats.tolerance = 0.2
        x = IMAGENET.apply(picture)
        assert _same(taker(picture if as_bytes else x), floats(x))
        assert taker.last.recomputed == floats.last.recomputed
        np.testing.assert_array_equal(taker.stale_pixels(), floats.stale_pixels())
        np.testing.assert_array_equal(taker.recomputed_map((24, 32)), floats.recomputed_map((24, 32)))


def test_inputs_that_no_map_holds_as_a_picture() -> None:
    """For the tail, and for an output that is an input, bytes become floats first."""
    body = "g (float[1,3,4,6] x) => (float[1,3,4,6] y, float[1,3,4,6] x) <int64 k = {2}> { y = CumSum(x, k) }"
    model = load(text(body), threads=1)
    assert not model.placement().engine_share
    _alike(model, IMAGENET, [np.full((4, 6, 3), value, np.uint8) for value in (3, 3, 9)], 0.0)


def _two_pictures() -> Any:
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["a", "w"], ["ca"]),
            helper.make_node("Conv", ["b", "w"], ["cb"]),
            helper.make_node("Sub", ["ca", "cb"], ["y"]),
        ],
        "two",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 24, 32]) for n in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 22, 30])],
        [helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], np.linspace(-1, 1, 108).tolist())],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_of_two_inputs_one_may_be_bytes() -> None:
    model = load(_two_pictures(), threads=1)
    stream = model.stream(pixels=IMAGENET)
    first, second = _frames(count=2)
    other = frame()
    for given in ({"a": first, "b": other}, {"a": second, "b": other}, {"a": second, "b": first}):
        plain = {name: IMAGENET.apply(x) if x.dtype == np.uint8 else x for name, x in given.items()}
        assert _same(stream(given), model.run(plain))


@pytest.mark.parametrize(("channels", "order"), [(3, "RGB"), (3, "BGR"), (4, "RGB"), (1, "BGR")])
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_a_large_picture_of_usual_arithmetic(channels: int, order: Any, tolerance: float) -> None:
    """Wider than what is compared together, more than one thread begins with; the table is a scale and a shift."""
    weights = {"w": np.random.default_rng(1).normal(size=(4, channels, 3, 3)).astype(np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[4, 4])]
    model = load(network(nodes, weights, [1, channels, 600, 700], ["y"]), threads=2)
    mean = (0.485, 0.456, 0.406, 0.5)[:channels]
    pixels = PixelArithmetic(1 / 255, mean, (0.229, 0.224, 0.225, 0.25)[:channels], order)
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (600, 700, channels), np.uint8)
    ours, floats = model.stream(tolerance, pixels=pixels), model.stream(tolerance)
    for place in (None, None, (599, 699), (0, 0), (300, slice(60, 140)), None):
        picture = picture.copy()
        if place is not None:
            picture[place] ^= 130
        assert _same(ours(picture), floats(pixels.apply(picture)))
        assert np.array_equal(ours.stale_pixels(), floats.stale_pixels())
        assert ours.last.recomputed == floats.last.recomputed


def test_the_state_counts_the_bytes_that_it_keeps() -> None:
    model = load(cnn(), threads=1)
    with_floats, with_bytes = model.stream(pixels=IMAGENET), model.stream(pixels=IMAGENET)
    picture = _frames(count=1)[0]
    with_floats(IMAGENET.apply(picture))
    with_bytes(picture)
    assert with_floats.state_bytes == model.placement({"x": (1, 3, 24, 32)}).state_bytes
    assert with_bytes.state_bytes == with_floats.state_bytes + 2 * picture.nbytes + 3 * 256 * 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((24, 32), np.uint8), r"frame of uint8 \(24, 32\), expected one frame of uint8 \(24, 32, 3\)"),
        (np.zeros((24, 30, 3), np.uint8), r"'x' got a frame of uint8 \(24, 30, 3\), expected .* \(24, 32, 3\)"),
        (np.zeros((2, 24, 32, 3), np.uint8), r"expected one frame"),
        (np.zeros((1, 3, 24, 32), np.uint8), r"expected one frame"),
        (np.zeros((24, 32, 3), np.int8), r"has type int8, expected float32"),
        (np.zeros((24, 32, 3), np.float32), r"shape \(24, 32, 3\), expected \(n, 3, 24, 32\)"),
    ],
)
def test_other_frames_are_refused_and_the_stream_goes_on(given: Array, message: str) -> None:
    model = load(cnn(24, 32), threads=1)
    stream = model.stream(pixels=IMAGENET)
    frames = _frames(count=2)
    stream(frames[0])
    with pytest.raises(InputError, match=message):
        stream(given)
    assert _same(stream(frames[1]), model.run(IMAGENET.apply(frames[1])))
    assert not stream.last.dense


def test_a_stream_that_was_told_no_pixels_takes_no_bytes() -> None:
    model = load(cnn(), threads=1)
    with pytest.raises(InputError, match=r"type uint8, expected float32; .*pixels="):
        model.stream()(_frames(count=1)[0])
    with pytest.raises(InputError, match="pixels="):
        model.run(_frames(count=1)[0])


@pytest.mark.parametrize("tail", [False, True])
def test_outputs_that_are_shared_are_for_reading_and_stay_what_they_are(tail: bool) -> None:
    model = load(cnn(tail=tail), threads=1)
    shared, own = model.stream(pixels=IMAGENET, share_outputs=True), model.stream(pixels=IMAGENET)
    earlier: list[tuple[Array, Array]] = []
    for picture in _frames():
        found, expected = shared(picture), own(picture)
        assert _same(found, expected)
        assert shared.last.changed == own.last.changed
        assert not any(array.flags.writeable for array in found.values())
        assert all(array.flags.writeable for array in expected.values())
        if earlier:
            assert (found["y"] is earlier[-1][0]) == ("y" not in own.last.changed)
        earlier.append((found["y"], expected["y"]))
    assert all(same_bits(array, copy) for array, copy in earlier)
    assert any(a is b for (a, _), (b, _) in pairwise(earlier))
    bits = shared.state_bytes - own.state_bytes - 2 * earlier[-1][0].nbytes  # this array, the next one, and what moved
    assert 0 < bits <= 2 * 8 * 12  # a word for each row and array
    shared.reset()
    assert shared(_frames()[-1])["y"] is not earlier[-1][0]


def test_a_model_of_other_axes_takes_no_frame() -> None:
    weights = {"w": np.ones((2, 3, 3), np.float32)}
    model = load(network([helper.make_node("Conv", ["x", "w"], ["y"])], weights, [1, 3, 32], ["y"]), threads=1)
    with pytest.raises(InputError, match=r"a frame of bytes is .* for the model"):
        model.stream(pixels=IMAGENET)(_frames(count=1)[0])


# --- the arithmetic


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_the_arithmetic_is_its_formula_and_its_table(layout: Any, order: Any) -> None:
    pixels = PixelArithmetic(1 / 255, (0.4, 0.5, 0.6), (0.2, 0.3, 0.7), order, layout)
    picture = _frames(count=1)[0]
    x = pixels.apply(picture)[0]
    x = x if layout == "NHWC" else x.transpose(1, 2, 0)
    plain = picture if order == "BGR" else picture[..., ::-1]
    np.testing.assert_allclose(x, (plain / 255 - pixels.mean) / pixels.std, rtol=0, atol=1e-6)
    table = pixels.table(3, np.dtype(np.float32))
    assert same_bits(x, table[np.arange(3), picture[..., list(pixels.order(3))]])
    assert Picture(picture, pixels, np.dtype(np.float32)).shape == pixels.apply(picture).shape


def test_one_number_stands_for_all_channels() -> None:
    picture = _frames(count=1)[0]
    whole = PixelArithmetic(0.1, 0.5, 2.0).apply(picture)
    assert same_bits(whole, PixelArithmetic(0.1, (0.5,) * 3, (2.0,) * 3).apply(picture))


def test_the_fourth_channel_keeps_its_place() -> None:
    assert PixelArithmetic().order(4) == (2, 1, 0, 3)
    assert PixelArithmetic(channel_order="BGR").order(3) == (0, 1, 2)
    assert PixelArithmetic().order(1) == (0,)
    assert PixelArithmetic().order(2) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": float("nan")}, "scale of nan"),
        ({"std": (1.0, 0.0, 1.0)}, "finite numbers, not 0"),
        ({"mean": ()}, "mean of"),
        ({"channel_order": "GBR"}, "channel order 'GBR'"),
        ({"layout": "NCHWC"}, "layout 'NCHWC'"),
    ],
)
def test_arithmetic_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PixelArithmetic(**arguments)


def test_a_mean_of_other_channels() -> None:
    model = load(cnn(), threads=1)
    pixels = PixelArithmetic(mean=(1.0, 2.0))
    with pytest.raises(InputError, match="mean of 2 channels, the picture has 3"):
        model.stream(pixels=pixels)(_frames(count=1)[0])


def test_values_that_the_input_cannot_hold() -> None:
    with pytest.raises(InputError, match="gives numbers that float16 cannot hold"):
        PixelArithmetic(1000.0).table(3, np.dtype(np.float16))
