"""Models that somebody could write on purpose: sizes beyond all bounds, contradictions, types that nothing supports.

Each in ONNX's text form where that can say it, with what has to come of it: "ran" (and the result is ONNX Runtime's),
or the error and what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.small import text

__all__ = ["CASES", "Case"]

BIG = 2**40
HEAD = "g (float[1,3,8,8] x) => (float y)"


@dataclass(frozen=True)
class Case:
    """A graph, its weights (shapes are filled with random numbers), what is changed by hand, and what must come."""

    name: str
    comes: str  # "ran", or a pattern of the error
    body: str
    weights: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[onnx.ModelProto], object] | None = None
    opset: int = 17

    def data(self) -> bytes:
        model = text(self.body, self.opset)
        random = np.random.default_rng(0)
        for name, value in self.weights.items():
            array = random.normal(0, 0.3, value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        if self.change is not None:
            self.change(model)
        return bytes(model.SerializeToString())


def _conv(attributes: str, comes: str, name: str) -> Case:
    return Case(f"Conv with {name}", comes, f"{HEAD} {{ y = Conv <{attributes}> (x, w) }}", {"w": (4, 3, 3, 3)})


def _ints(*values: int) -> Any:
    return np.array(values, np.int64)


def _dims(*dims: int) -> Callable[[onnx.ModelProto], object]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    return change


def _type(kind: int) -> Callable[[onnx.ModelProto], object]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].data_type = kind

    return change


def _declared(*dims: int, kind: int = TensorProto.FLOAT) -> Callable[[onnx.ModelProto], object]:
    """The output's declaration says this."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", kind, dims))

    return change


def _opset(version: int) -> Callable[[onnx.ModelProto], object]:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


ERROR = r"(ModelError|InputError|TailError): "
TAIL = r"TailError: "
MODEL = r"ModelError: "
W: Mapping[str, Any] = {"w": (4, 3, 3, 3)}
CONV = f"{HEAD} {{ y = Conv (x, w) }}"
RELU = f"{HEAD} {{ y = Relu (x) }}"

CASES: tuple[Case, ...] = (
    # windows
    _conv(f"strides = [{BIG}, {BIG}]", "ran|" + ERROR, "strides beyond 32 bits"),
    _conv(f"strides = [{2**31 - 1}, {2**31 - 1}]", "ran|" + ERROR, "the largest strides"),
    _conv("strides = [0, 0]", ERROR, "strides of 0"),
    _conv("strides = [-1, 1]", ERROR, "a negative stride"),
    _conv(f"dilations = [{BIG}, 1]", ERROR, "a dilation beyond 32 bits"),
    _conv("dilations = [0, 0]", ERROR, "dilations of 0"),
    _conv(f"pads = [{BIG}, 0, 0, 0], strides = [{BIG}, 1]", "ran|" + ERROR, "pads beyond 32 bits"),
    _conv(
        f"pads = [{2**30}, {2**30}, {2**30}, {2**30}], strides = [{2**30}, {2**30}]",
        "ran|" + ERROR,
        "pads of a billion",
    ),
    _conv("pads = [30000, 30000, 30000, 30000]", ERROR, "pads that make a map of billions"),
    _conv("pads = [-1, -1, -1, -1]", "ran|" + ERROR, "negative pads"),
    _conv("pads = [1, 1]", ERROR, "too few pads"),
    _conv("group = 0", ERROR, "no groups"),
    _conv("group = -3", ERROR, "negative groups"),
    _conv("group = 3", ERROR, "groups that the weights do not have"),
    _conv('auto_pad = "SAME"', ERROR, "padding that is not one"),
    _conv('strides = "two"', ERROR, "strides of words"),
    _conv("kernel_shape = [5, 5]", ERROR, "a kernel that the weights do not have"),
    Case("MaxPool without a kernel", ERROR, f"{HEAD} {{ y = MaxPool (x) }}"),
    Case(
        "MaxPool with a kernel of billions",
        ERROR,
        f"{HEAD} {{ y = MaxPool <kernel_shape = [{2**31}, 1], pads = [{2**31}, 0, {2**31}, 0]> (x) }}",
    ),
    Case(
        "AveragePool with pads of a million",
        ERROR,
        f"{HEAD} {{ y = AveragePool <kernel_shape = [3, 3], pads = [{2**20}, 0, {2**20}, 0]> (x) }}",
    ),
    Case(
        "ConvTranspose with strides of millions",
        ERROR,
        f"{HEAD} {{ y = ConvTranspose <strides = [{2**24}, {2**24}]> (x, w) }}",
        {"w": (3, 4, 2, 2)},
    ),
    Case(
        "ConvTranspose with an output_shape of its own",
        ERROR,
        f"{HEAD} {{ y = ConvTranspose <output_shape = [{BIG}, {BIG}]> (x, w) }}",
        {"w": (3, 4, 2, 2)},
    ),
    Case(
        "ConvTranspose with strides of 0",
        ERROR,
        f"{HEAD} {{ y = ConvTranspose <strides = [0, 0]> (x, w) }}",
        {"w": (3, 4, 2, 2)},
    ),
    Case("MaxPool with a kernel of nothing", ERROR, f"{HEAD} {{ y = MaxPool <kernel_shape = [0, 0]> (x) }}"),
    Case("MaxPool with a kernel of fractions", ERROR, f"{HEAD} {{ y = MaxPool <kernel_shape = [0.5, 1e38]> (x) }}"),
    Case("Softmax over a word", ERROR, f'{HEAD} {{ y = Softmax <axis = "last"> (x) }}'),
    # sizes
    Case("Pad to 2^40", ERROR, f"{HEAD} {{ y = Pad (x, p) }}", {"p": _ints(0, 0, 0, BIG, 0, 0, 0, 0)}),
    Case("Pad by the least number", ERROR, f"{HEAD} {{ y = Pad (x, p) }}", {"p": _ints(0, 0, -(2**63), 0, 0, 0, 0, 0)}),
    Case("Resize to 2^62", ERROR, f"{HEAD} {{ y = Resize (x, , , s) }}", {"s": _ints(1, 3, 2**62, 2**62)}),
    Case("Resize to nothing", ERROR, f"{HEAD} {{ y = Resize (x, , , s) }}", {"s": _ints(1, 3, 0, -4)}),
    *(
        Case(
            f"Resize by {scale}",
            ERROR,
            f"{HEAD} {{ y = Resize (x, , s) }}",
            {"s": np.array([1, 1, scale, scale], np.float32)},
        )
        for scale in (np.nan, np.inf, -np.inf, -2, 0, 1e30)
    ),
    Case(
        "a slice of a map resized by 1e30",
        ERROR,
        f"{HEAD} {{ r = Resize (x, , s) y = Slice (r, a, b, c) }}",
        {"s": np.array([1, 1, 1, 1e30], np.float32), "a": _ints(1), "b": _ints(2**62), "c": _ints(3)},
    ),
    Case("Reshape to absurd sizes", ERROR, f"{HEAD} {{ y = Reshape (x, s) }}", {"s": _ints(2**62, 2**62, -1)}),
    Case("Reshape to negative sizes", ERROR, f"{HEAD} {{ y = Reshape (x, s) }}", {"s": _ints(-12, -16)}),
    Case("Reshape to 70 axes", ERROR, f"{HEAD} {{ y = Reshape (x, s) }}", {"s": _ints(192, *[1] * 69)}),
    Case("Expand to 2^40", ERROR, f"{HEAD} {{ y = Expand (x, s) }}", {"s": _ints(BIG, 3, 8, 8)}),
    Case("Expand to 2^33", ERROR, f"{HEAD} {{ y = Expand (x, s) }}", {"s": _ints(2**26, 3, 8, 8)}),
    Case("Tile 2^33 times", ERROR, f"{HEAD} {{ y = Tile (x, s) }}", {"s": _ints(1, 1, 1, 2**33)}),
    Case(
        "Tile 2^60 times, then Slice",
        ERROR,
        f"{HEAD} {{ t = Tile (x, s) y = Slice (t, a, b, c) }}",
        {"s": _ints(1, 1, 1, 2**60), "a": _ints(1), "b": _ints(2**62), "c": _ints(3)},
    ),
    Case("ConstantOfShape of 2^40", ERROR, f"{HEAD} {{ c = ConstantOfShape (s) y = Add (x, c) }}", {"s": _ints(BIG)}),
    Case("ConstantOfShape of 2^33", ERROR, f"{HEAD} {{ c = ConstantOfShape (s) y = Add (x, c) }}", {"s": _ints(2**33)}),
    Case(
        "Range of 2^40",
        ERROR,
        f"{HEAD} {{ c = Range (a, b, e) f = Cast <to = 1> (c) y = Add (x, f) }}",
        {"a": np.array(0), "b": np.array(BIG), "e": np.array(1)},
    ),
    Case(
        "OneHot of 2^40",
        ERROR,
        f"{HEAD} {{ c = OneHot (i, n, v) y = Add (x, c) }}",
        {"i": _ints(1), "n": np.array(BIG), "v": np.array([0, 1], np.float32)},
    ),
    Case(
        "EyeLike of much",
        ERROR,
        f"{HEAD} {{ c = ConstantOfShape (s) e = EyeLike <dtype = 1> (c) y = Add (x, e) }}",
        {"s": _ints(2**18, 2**18)},
    ),
    Case("DepthToSpace by 0", ERROR, f"{HEAD} {{ y = DepthToSpace <blocksize = 0> (x) }}"),
    Case("DepthToSpace by less than 0", ERROR, f"{HEAD} {{ y = DepthToSpace <blocksize = -1> (x) }}"),
    Case("DepthToSpace by a word", ERROR, f'{HEAD} {{ y = DepthToSpace <blocksize = "two"> (x) }}'),
    Case("SpaceToDepth by 0", ERROR, f"{HEAD} {{ y = SpaceToDepth <blocksize = 0> (x) }}"),
    Case("SpaceToDepth by 2^40", ERROR, f"{HEAD} {{ y = SpaceToDepth <blocksize = {BIG}> (x) }}"),
    Case("an input of 2^40 rows", ERROR, f"g (float[1,3,{BIG},8] x) => (float y) {{ y = Relu (x) }}"),
    Case("a tensor of 2^62 values that has none", MODEL, CONV, W, _dims(2**31, 2**31, 1, 1)),
    Case("a tensor of negative sizes", MODEL, CONV, W, _dims(-4, 3, 3, 3)),
    Case("a tensor of one unknown size", MODEL, CONV, W, _dims(-1, 3, 3, 3)),
    Case(
        "a tensor without elements", ERROR, f"{HEAD} {{ y = Conv (x, w) }}", {"w": np.zeros((0, 3, 3, 3), np.float32)}
    ),
    # contradictions
    Case("an output declared otherwise", "ran|" + ERROR, CONV, W, _declared(1, 7, 7, 7)),
    Case("an output declared as whole numbers", "ran|" + ERROR, CONV, W, _declared(1, 4, 6, 6, kind=TensorProto.INT64)),
    Case("channels that do not fit", ERROR, CONV, {"w": (4, 5, 3, 3)}),
    Case("an addition of other sizes", ERROR, f"{HEAD} {{ y = Add (x, c) }}", {"c": (3, 5, 7)}),
    Case("weights of too many axes", ERROR, CONV, {"w": (4, 3, 3, 3, 3)}),
    Case("weights of too few axes", ERROR, CONV, {"w": (4, 3)}),
    Case("two nodes that make one value", MODEL, f"{HEAD} {{ y = Relu (x) y = Neg (x) }}"),
    Case("a node that makes an input", MODEL, f"{HEAD} {{ x = Relu (x) y = Neg (x) }}"),
    Case("a node that makes a weight", MODEL, f"{HEAD} {{ w = Relu (x) y = Conv (x, w) }}", W),
    Case("a cycle", MODEL + ".*cycle", f"{HEAD} {{ a = Add (x, b) b = Relu (a) y = Neg (b) }}"),
    Case("a value from nowhere", MODEL + ".*nothing produces", f"{HEAD} {{ y = Add (x, nowhere) }}"),
    Case("axes that are not there", ERROR, f"{HEAD} {{ y = Concat <axis = 9> (x, x) }}"),
    Case("a permutation that is none", ERROR, f"{HEAD} {{ y = Transpose <perm = [0, 0, 1, 7]> (x) }}"),
    Case(
        "a split of more than there is",
        ERROR,
        f"{HEAD} {{ y, z = Split <axis = 1> (x, s) }}",
        {"s": _ints(2**62, 2**62)},
    ),
    Case("more outputs than an operator has", ERROR, f"{HEAD} {{ y, z, v = Relu (x) }}"),
    Case("no inputs where some are needed", ERROR, f"{HEAD} {{ y = Concat <axis = 1> () }}"),
    # versions
    *(Case(f"opset {n}", MODEL + ".*opset", RELU, change=_opset(n)) for n in (-1, 6, 999, 2**40, -(2**63))),
    Case("opset 8", "ran", RELU, change=_opset(8)),
    Case("an operator that nobody knows", TAIL, f"{HEAD} {{ y = NoSuchOperator (x) }}"),
    # types
    *(
        Case(f"weights of type {TensorProto.DataType.Name(kind)}", ERROR, CONV, W, _type(kind))
        for kind in TensorProto.DataType.values()
        if kind != TensorProto.FLOAT
    ),
    Case("weights of a type that is none", MODEL, CONV, W, _type(99)),
    *(
        Case(f"an input of {kind}", "ran|" + ERROR, f"g ({kind}[1,3,8,8] x) => (float y) {{ y = Conv (x, w) }}", W)
        for kind in (
            "string",
            "complex64",
            "complex128",
            "int4",
            "uint4",
            "float8e4m3fn",
            "bfloat16",
            "bool",
            "int64",
            "double",
        )
    ),
    Case(
        "an input that is a sequence",
        ERROR,
        "g (seq(float[1,3,8,8]) x) => (float y) { n = SequenceLength (x) y = Cast <to = 1> (n) }",
    ),
    Case(
        "an input that is optional",
        ERROR,
        "g (optional(float[1,3,8,8]) x) => (float y) { v = OptionalGetElement (x) y = Relu (v) }",
    ),
    Case("an input without a type", ERROR, RELU, change=lambda model: model.graph.input[0].ClearField("type")),
    Case(
        "an output without a type", "ran|" + ERROR, RELU, change=lambda model: model.graph.output[0].ClearField("type")
    ),
    Case("a relu", "ran", RELU),
    # values
    Case("weights that are no numbers", "ran", CONV, {"w": np.full((4, 3, 3, 3), np.nan, np.float32)}),
    Case("weights that are infinite", "ran", CONV, {"w": np.full((4, 3, 3, 3), np.inf, np.float32)}),
    Case(
        "a variance below 0",
        "ran",
        f"{HEAD} {{ y = BatchNormalization (x, a, b, c, v) }}",
        {"a": (3,), "b": (3,), "c": (3,), "v": np.array([-1, 0, 1], np.float32)},
    ),
    Case(
        "a scale of 0 for codes",
        "ran|" + ERROR,
        f"{HEAD} {{ q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }}",
        {"s": np.float32(0), "z": np.uint8(0)},
    ),
    Case(
        "a scale that is no number for codes",
        "ran|" + ERROR,
        f"{HEAD} {{ q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }}",
        {"s": np.float32(np.nan), "z": np.uint8(0)},
    ),
)
