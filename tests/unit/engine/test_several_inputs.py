"""Models with several inputs: sizes of their own, each with its own staleness; pictures beside scalars and masks.

Real ones, with a state that is fed back and with scalars, are in tests/oracle/test_audio_models.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import reconv
from tests.tolerances import EXACT, FLOAT32_REORDERED
from tests.unit.small import Array, text


def _weights(model: onnx.ModelProto, **arrays: Array) -> onnx.ModelProto:
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _siamese() -> onnx.ModelProto:
    """Two pictures of free sizes through the same convolution, the second pooled and compared with the first."""
    return _weights(
        text("""g (float[1, 3, h, w] image, float[1, 3, a, b] template) => (float[1, 8, h, w] y, float[1, 8, 1, 1] t) {
            c = Conv<pads = [1, 1, 1, 1]>(image, weight)
            r = Relu(c)
            d = Conv<pads = [1, 1, 1, 1]>(template, weight)
            s = Relu(d)
            t = GlobalAveragePool(s)
            y = Mul(r, t)
        }"""),
        weight=_random(8, 3, 3, 3) / 4,
    )


def _detector() -> onnx.ModelProto:
    """As PaddleDetection exports: the picture between two vectors that only the last nodes, ONNX Runtime's, read."""
    return _weights(
        text("""g (float[n, 2] im_shape, float[n, 3, 16, 24] image, float[n, 2] scale_factor)
            => (float[n, 4, 16, 24] y, float[n, 2] size) {
            c = Conv<pads = [1, 1, 1, 1]>(image, weight)
            y = Relu(c)
            z = Div(im_shape, scale_factor)
            size = CumSum(z, axis)
        }"""),
        weight=_random(4, 3, 3, 3) / 4,
        axis=np.array(1, np.int64),
    )


def _masked() -> onnx.ModelProto:
    """A picture, a mask of bytes that goes to ONNX Runtime through Cast, and a scalar."""
    return _weights(
        text("""g (float[1, 3, h, w] image, uint8[1, 1, h, w] mask, float gain) => (float[1, 4, h, w] y) {
            m = Cast<to = 1>(mask)
            p = Mul(image, m)
            c = Conv<pads = [1, 1, 1, 1]>(p, weight)
            y = Mul(c, gain)
        }"""),
        weight=_random(4, 3, 3, 3) / 4,
    )


def _feeds(of: str) -> dict[str, Array]:
    if of == "siamese":
        return {"image": _random(1, 3, 20, 28, seed=1), "template": _random(1, 3, 9, 7, seed=2)}
    if of == "detector":
        one = np.ones((1, 2), np.float32)
        return {"im_shape": one * 300, "image": _random(1, 3, 16, 24, seed=1), "scale_factor": one / 2}
    mask = (_random(1, 1, 20, 28, seed=3) > 0).astype(np.uint8)
    return {"image": _random(1, 3, 20, 28, seed=1), "mask": mask, "gain": np.array(3, np.float32)}


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {"siamese": _siamese, "detector": _detector, "masked": _masked}


def _reference(proto: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_run_as_onnx_runtime_does(name: str) -> None:
    proto, feeds = MODELS[name](), _feeds(name)
    got = reconv.load(proto).run(feeds)
    for output, expected in _reference(proto, feeds).items():
        scale = 10 * float(np.abs(expected).max())
        FLOAT32_REORDERED.check(got[output], expected, f"{name}, {output}", scale=scale)


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_takes_each_input_as_it_moves(name: str) -> None:
    model, feeds = reconv.load(MODELS[name]()), _feeds(name)
    with model.stream() as stream:
        stream(feeds)
        stream(feeds)
        assert (stream.last.recomputed, stream.last.changed) == (0, ())
        for moved in feeds:
            feeds = dict(feeds)
            feeds[moved] = feeds[moved].copy()
            first = feeds[moved].reshape(-1)[:1]
            first += np.ones(1, first.dtype) if first.dtype != np.uint8 else 1 - 2 * first
            outputs = stream(feeds)
            assert stream.last.changed, moved
            for output, expected in model.run(feeds).items():
                EXACT.check(outputs[output], expected, f"{name}, {moved} moved, {output}")
            stream(feeds)
            assert stream.last.recomputed == 0


def test_only_what_depends_on_the_moved_input_is_computed() -> None:
    model, feeds = reconv.load(_siamese()), _feeds("siamese")
    total = 8 * 27 * (20 * 28 + 9 * 7)
    with model.stream() as stream:
        stream(feeds)
        feeds["template"] = feeds["template"] * 2
        stream(feeds)
        assert stream.last.recomputed == pytest.approx(8 * 27 * 9 * 7 / total, rel=0.1)
        assert set(stream.last.changed) == {"y", "t"}
        feeds["image"] = feeds["image"] + 1
        stream(feeds)
        assert stream.last.recomputed == pytest.approx(8 * 27 * 20 * 28 / total, rel=0.1)
        assert set(stream.last.changed) == {"y"}
        assert stream.stale_pixels("image").all()
        assert not stream.stale_pixels("template").any()


def test_an_input_of_another_size_begins_anew() -> None:
    model, feeds = reconv.load(_siamese()), _feeds("siamese")
    with model.stream() as stream:
        stream(feeds)
        feeds["template"] = _random(1, 3, 5, 5, seed=9)
        outputs = stream(feeds)
        assert stream.last.dense
        EXACT.check(outputs["y"], model.run(feeds)["y"], "y")


def test_an_input_that_only_the_tail_reads_runs_the_tail_alone() -> None:
    model, feeds = reconv.load(_detector()), _feeds("detector")
    with model.stream() as stream:
        stream(feeds)
        feeds["scale_factor"] = feeds["scale_factor"] * 2
        stream(feeds)
        assert stream.last.changed == ("size",)
        assert stream.last.recomputed == 0  # the tail has no multiply-adds
        feeds["image"] = feeds["image"] + 1
        stream(feeds)
        assert stream.last.changed == ("y",)


def test_batches_of_all_inputs() -> None:
    model = reconv.load(_detector())
    feeds = {"im_shape": _random(3, 2), "image": _random(3, 3, 16, 24), "scale_factor": np.abs(_random(3, 2)) + 1}
    got = model.run(feeds)
    for item in range(3):
        alone = model.run({name: array[item : item + 1] for name, array in feeds.items()})
        for name, array in alone.items():
            EXACT.check(got[name][item : item + 1], array, f"{name}, item {item}")


def test_mistakes_name_the_input() -> None:
    model, feeds = reconv.load(_siamese()), _feeds("siamese")
    with pytest.raises(
        reconv.InputError, match="input 'template' is missing; the model's inputs are 'image', 'template'"
    ):
        model.run({"image": feeds["image"]})
    with pytest.raises(reconv.InputError, match="the model has 2 inputs: pass a mapping of"):
        model.run(feeds["image"])
    with model.stream() as stream:
        first = stream(feeds)
        with pytest.raises(reconv.InputError, match="'template' has type float64"):
            stream({**feeds, "template": feeds["template"].astype(np.float64)})
        EXACT.check(stream(feeds)["y"], first["y"], "after the mistake")
        assert stream.last.recomputed == 0


def test_types_that_are_no_floats_are_onnx_runtimes() -> None:
    half = helper.make_tensor_value_info("k", TensorProto.DOUBLE, [1])
    proto = text("g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) { r = Relu(x) f = Cast<to = 1>(k) y = Add(r, f) }")
    proto.graph.input.append(half)
    got = reconv.load(proto).run({"x": np.full((1, 2, 4, 4), -1, np.float32), "k": np.array([0.5])})
    assert (got["y"] == 0.5).all()
