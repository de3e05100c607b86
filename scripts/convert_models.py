"""Makes the ONNX models of tests and benchmarks out of what the packages hold; numpy and onnx only.

Two kinds: models whose graph is kept and only tidied (dimensions named, weights taken off the input list), and
networks whose weights come as a PyTorch state dict or an ncnn file and whose graph is written here, layer by layer:

- MobileNetV2 (Sandler et al. 2018), torchvision's names; input (N, 3, H, W), RGB 0..1, ImageNet mean and deviation.
- EfficientNet-Lite0 (Tan and Le 2019, no squeeze-excite, ReLU6); input (x - 0.5) / 0.5, "same" padding at 224.
- CREPE tiny (Kim et al. 2018), pitch; input (N, 1024) at 16 kHz, each window less its mean, over its deviation.
- waifu2x upconv_7 (nagadomi), 2x super-resolution; input (N, 3, H, W) in 0..1, each side already padded by 7.

`scripts/assets.py` calls these by name; alone: python -m scripts.convert_models NAME SOURCE [SOURCE ...] TARGET
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scripts import torch_weights

Dims = Sequence[int | str]


def _retype(value: onnx.ValueInfoProto, dims: Dims) -> None:
    value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, dims))


def _drop_listed_weights(graph: onnx.GraphProto) -> None:
    """Weights listed as graph inputs may be overridden at run time, which stops ONNX Runtime from folding them.

    Those that no node reads (counters of the training framework) go altogether.
    """
    read = {name for node in graph.node for name in node.input}
    used = [tensor for tensor in graph.initializer if tensor.name in read]
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in constants]
    for field, values in ((graph.input, kept), (graph.initializer, used)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)


def any_size_yolox(sources: Sequence[Path]) -> onnx.ModelProto:
    """YOLOX as exported for one size: H and W named, so that any multiple of 32 runs."""
    model = onnx.load(sources[0])
    _retype(model.graph.input[0], [1, 3, "height", "width"])
    _retype(model.graph.output[0], [1, "anchors", 85])
    del model.graph.value_info[:]
    return model


def clean_centerface(sources: Sequence[Path]) -> onnx.ModelProto:
    """CenterFace without its weights among the inputs, with N, H and W named (multiples of 32)."""
    model = onnx.load(sources[0])
    _drop_listed_weights(model.graph)
    _retype(model.graph.input[0], ["batch", 3, "height", "width"])
    for value in model.graph.output:
        channels = value.type.tensor_type.shape.dim[1].dim_value
        _retype(value, ["batch", channels, "out_height", "out_width"])
    del model.graph.value_info[:]
    return model


class _Builder:
    """A chain of nodes: every method appends one and returns the name of what it made."""

    def __init__(self, weights: Mapping[str, np.ndarray] | None = None) -> None:
        self.weights = weights or {}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{op}_{len(self.nodes) + 1}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def clip6(self, x: str) -> str:
        low, high = self.constant("c0", np.zeros(1, np.float32)[0]), self.constant("c6", np.full(1, 6, np.float32)[0])
        return self.add("Clip", [x, low, high])

    def conv(self, x: str, weight: str, *, stride: int = 1, pads: tuple[int, int] | None = None, norm: str,
             epsilon: float, fold: bool) -> str:  # fmt: skip
        """A convolution and its batch normalisation, folded into the weights or kept; `pads` is (before, after)."""
        w = self.weights[weight]
        before, after = pads if pads is not None else (w.shape[2] // 2, w.shape[2] // 2)
        window: dict[str, Any] = {
            "group": w.shape[0] if w.shape[1] == 1 else 1, "kernel_shape": list(w.shape[2:]),
            "pads": [before, before, after, after], "strides": [stride, stride],
        }  # fmt: skip
        scale, shift, mean, variance = (self.weights[f"{norm}.{part}"] for part in _NORM_PARTS)
        if not fold:
            y = self.add("Conv", [x, self.constant(weight, w)], **window)
            names = [self.constant(f"{norm}.{part}", self.weights[f"{norm}.{part}"]) for part in _NORM_PARTS]
            return self.add("BatchNormalization", [y, *names], epsilon=epsilon)
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
        bias = self.constant(weight.replace("weight", "bias"), (shift - mean * factor).astype(np.float32))
        kernel = self.constant(weight, (w * factor[:, None, None, None]).astype(np.float32))
        return self.add("Conv", [x, kernel, bias], **window)

    def classifier(self, x: str, name: str) -> str:
        x = self.add("Flatten", [self.add("GlobalAveragePool", [x])], axis=1)
        weight, bias = (self.constant(f"{name}.{part}", self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("Gemm", [x, weight, bias], "logits", transB=1)

    def model(self, name: str, x: tuple[str, Dims], y: tuple[str, Dims]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, name,
            [helper.make_tensor_value_info(x[0], TensorProto.FLOAT, x[1])],
            [helper.make_tensor_value_info(y[0], TensorProto.FLOAT, y[1])],
            [numpy_helper.from_array(array, key) for key, array in self.constants.items()],
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="reconv"
        )
        onnx.checker.check_model(model)
        return model


_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
_IMAGE: Dims = ("batch", 3, "height", "width")
# (expansion, channels, blocks, stride of the first), Sandler et al. 2018, table 2
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# the same, with the kernel size; Tan and Le 2019, table 1
_EFFICIENTNET_B0 = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip


def _mobilenet_v2(sources: Sequence[Path], fold: bool) -> onnx.ModelProto:
    b = _Builder(torch_weights.load(sources[0]))

    def layer(x: str, weight: str, norm: str, stride: int = 1) -> str:
        return b.conv(x, f"{weight}.weight", stride=stride, norm=norm, epsilon=1e-5, fold=fold)

    x = b.clip6(layer("input", "features.0.0", "features.0.1", 2))
    index = 1
    for expansion, _, blocks, first_stride in _MOBILENET_V2:
        for k in range(blocks):
            at, stride, shortcut = f"features.{index}.conv", first_stride if k == 0 else 1, x
            step = 0
            if expansion > 1:
                x, step = b.clip6(layer(x, f"{at}.0.0", f"{at}.0.1")), 1
            x = b.clip6(layer(x, f"{at}.{step}.0", f"{at}.{step}.1", stride))
            x = layer(x, f"{at}.{step + 1}", f"{at}.{step + 2}")
            if k > 0:  # same channels, stride 1
                x = b.add("Add", [shortcut, x])
            index += 1
    x = b.clip6(layer(x, f"features.{index}.0", f"features.{index}.1"))
    b.classifier(x, "classifier.1")
    return b.model("mobilenet_v2", ("input", _IMAGE), ("logits", ("batch", 1000)))


def mobilenet_v2(sources: Sequence[Path]) -> onnx.ModelProto:
    """Batch normalisation folded into the convolutions."""
    return _mobilenet_v2(sources, fold=True)


def mobilenet_v2_bn(sources: Sequence[Path]) -> onnx.ModelProto:
    """Batch normalisation kept as nodes."""
    return _mobilenet_v2(sources, fold=False)


def efficientnet_lite0(sources: Sequence[Path]) -> onnx.ModelProto:
    """Paddings are TensorFlow's at 224, where strided layers see even sizes: k - 2 in all, the odd one after."""
    b = _Builder(torch_weights.load(sources[0]))

    def layer(x: str, weight: str, norm: str, stride: int = 1) -> str:
        kernel = b.weights[f"{weight}.weight"].shape[2]
        pads = ((kernel - 2) // 2, (kernel - 1) // 2) if stride == 2 else None
        return b.conv(x, f"{weight}.weight", stride=stride, pads=pads, norm=norm, epsilon=1e-3, fold=True)

    x = b.clip6(layer("input", "_conv_stem", "_bn0", 2))
    index = 0
    for expansion, _, blocks, first_stride, _ in _EFFICIENTNET_B0:
        for k in range(blocks):
            at, shortcut = f"_blocks.{index}", x
            if expansion > 1:
                x = b.clip6(layer(x, f"{at}._expand_conv", f"{at}._bn0"))
            x = b.clip6(layer(x, f"{at}._depthwise_conv", f"{at}._bn1", first_stride if k == 0 else 1))
            x = layer(x, f"{at}._project_conv", f"{at}._bn2")
            if k > 0:
                x = b.add("Add", [x, shortcut])
            index += 1
    x = b.clip6(layer(x, "_conv_head", "_bn1"))
    b.classifier(x, "_fc")
    return b.model("efficientnet_lite0", ("input", _IMAGE), ("logits", ("batch", 1000)))


def crepe_tiny(sources: Sequence[Path]) -> onnx.ModelProto:
    """Six 1-D convolutions over a window of 1,024 samples; batch normalisation kept, since it comes after the ReLU."""
    weights = torch_weights.load(sources[0])
    b = _Builder(weights)
    x = b.add("Reshape", ["frames", b.constant("shape", np.array([-1, 1, 1024, 1], np.int64))])
    for i in range(1, 7):
        kernel = weights[f"conv{i}.weight"].shape[2]
        pads, stride = ((254, 254), 4) if i == 1 else (((kernel - 1) // 2, kernel // 2), 1)
        parameters = [b.constant(f"conv{i}.{part}", weights[f"conv{i}.{part}"]) for part in ("weight", "bias")]
        x = b.add(
            "Conv", [x, *parameters], kernel_shape=[kernel, 1], pads=[pads[0], 0, pads[1], 0], strides=[stride, 1]
        )
        norm = [b.constant(f"conv{i}_BN.{part}", weights[f"conv{i}_BN.{part}"]) for part in _NORM_PARTS]
        x = b.add("BatchNormalization", [b.add("Relu", [x]), *norm], epsilon=1e-3)
        x = b.add("MaxPool", [x], kernel_shape=[2, 1], strides=[2, 1])
    x = b.add("Flatten", [b.add("Transpose", [x], perm=[0, 2, 1, 3])], axis=1)
    weight, bias = (b.constant(f"classifier.{part}", weights[f"classifier.{part}"]) for part in ("weight", "bias"))
    b.add("Sigmoid", [b.add("Gemm", [x, weight, bias], transB=1)], "pitch360")
    return b.model("crepe_tiny", ("frames", ("batch", 1024)), ("pitch360", ("batch", 360)))


def waifu2x_upconv7(sources: Sequence[Path]) -> onnx.ModelProto:
    """From ncnn: `.param` names the layers, `.bin` holds of each a tag (float16), the weights and the float32 bias."""
    b = _Builder()
    raw, offset, x = sources[1].read_bytes(), 0, "image"
    for line in sources[0].read_text().splitlines()[3:]:
        kind, name, *rest = line.split()
        value = dict(part.split("=", 1) for part in rest[4:])
        count, out, size = int(value["6"]), int(value["0"]), int(value["1"])
        tag = int.from_bytes(raw[offset : offset + 4], "little")
        if tag != 0x01306B47:
            raise ValueError(f"{name}: expected float16 weights (tag 0x01306B47), got {tag:#x}")
        flat = np.frombuffer(raw, np.float16, count, offset + 4).astype(np.float32)
        offset += 4 + (2 * count + 3) // 4 * 4
        bias = b.constant(f"{name}.bias", np.frombuffer(raw, np.float32, out, offset))
        offset += 4 * out
        weight = flat.reshape(out, -1, size, size)
        if kind == "Deconvolution":  # ncnn keeps (out, in, kh, kw), ONNX wants (in, out, kh, kw)
            pad, stride = int(value["4"]), int(value["3"])
            kernel = b.constant(f"{name}.weight", weight.transpose(1, 0, 2, 3))
            window = {"kernel_shape": [size, size], "pads": [pad] * 4, "strides": [stride] * 2}
            x = b.add("ConvTranspose", [x, kernel, bias], "upscaled", **window)
        else:
            x = b.add("Conv", [x, b.constant(f"{name}.weight", weight), bias], kernel_shape=[size, size])
            x = b.add("LeakyRelu", [x], alpha=0.1)
    if offset != len(raw):
        raise ValueError(f"{sources[1].name}: {len(raw) - offset} bytes left over")
    return b.model("waifu2x_upconv7_2x", ("image", _IMAGE), ("upscaled", ("batch", 3, "out_height", "out_width")))


BUILDERS: dict[str, Callable[[Sequence[Path]], onnx.ModelProto]] = {
    "any_size_yolox": any_size_yolox,
    "clean_centerface": clean_centerface,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v2_bn": mobilenet_v2_bn,
    "efficientnet_lite0": efficientnet_lite0,
    "crepe_tiny": crepe_tiny,
    "waifu2x_upconv7": waifu2x_upconv7,
}


def build(name: str, sources: Sequence[Path], target: Path) -> None:
    """Writes the model that builder `name` makes of `sources` to `target`."""
    target.write_bytes(BUILDERS[name](sources).SerializeToString())


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in BUILDERS:
        sys.exit(
            f"usage: convert_models.py NAME SOURCE [SOURCE ...] TARGET, where NAME is one of {', '.join(BUILDERS)}"
        )
    build(sys.argv[1], [Path(p) for p in sys.argv[2:-1]], Path(sys.argv[-1]))
