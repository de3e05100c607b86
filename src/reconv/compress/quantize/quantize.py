"""Static quantization to 8 bits, as an ONNX model of QuantizeLinear and DequantizeLinear.

The order: equalisation, calibration, bias correction, writing; one pass over the samples each.

Nothing of ONNX Runtime's quantizer or of NNCF is used, though both were measured beside it. The former collects all
values of all samples for its histograms, where these are streamed; it knows no bias correction, and it places codes for
its own kernels only. The latter corrects biases as well, but needs scikit-learn, SciPy and ten other packages, and
places codes for OpenVINO only: ONNX Runtime makes float kernels of most of its layers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from reconv.compress.forward import Feeds, Forward
from reconv.compress.quantize.calibrate import calibrate
from reconv.compress.quantize.correct import corrected_biases
from reconv.compress.quantize.equalize import equalize as evened_out
from reconv.compress.quantize.place import Layer, find_layers, place
from reconv.compress.quantize.scheme import Codes, Scheme
from reconv.compress.quantize.write import Written, write
from reconv.compress.result import Compressed, LayerReport, Report
from reconv.errors import ModelError
from reconv.graph import Graph
from reconv.graph.opset import at_least_opset

__all__ = ["OPSET", "quantize"]

OPSET = 13  # since when DequantizeLinear knows scales per channel


def quantize(
    graph: Graph,
    samples: Sequence[Feeds],
    forward: Forward,
    *,
    calibration: str = "mse",
    percentile: float = 99.99,
    target: str = "onnxruntime",
    exclude: Collection[str] = (),
    only: Collection[str] | None = None,
    per_channel: bool = True,
    equalize: bool = False,
    correct_bias: bool = True,
    clip_weights: bool = True,
    symmetric_activations: bool = False,
) -> Compressed:
    """The graph with layers of 8 bits: weights int8, activations uint8, sums int32.

    Args:
        graph: the model, batch norms folded into their layers (one that is not stays float).
        samples: inputs as the model will meet them; they are run one by one.
        forward: runs a graph.
        calibration: how ranges of activations are chosen: "mse", "minmax", "percentile", "entropy" or "layers".
        percentile: of the calibration by percentile.
        target: who runs the result best: "onnxruntime", "openvino" or "reconv". Every file runs on each.
        exclude: names of layers that stay float.
        only: names of the layers that are quantized; None: all.
        per_channel: whether each output channel of a weight has a scale of its own.
        equalize: whether ranges of channels are evened out across layers first.
        correct_bias: whether the mean error of each output channel is taken out of the bias.
        clip_weights: whether weights are clipped where that makes their error smaller.
        symmetric_activations: whether the zero point of maps with negative values is 128.

    Raises:
        InputError: a setting that makes no sense, no samples, or samples that do not fit.
        ModelError: nothing in the model can be quantized.
    """
    scheme = Scheme(
        calibration, percentile, target, frozenset(exclude), None if only is None else frozenset(only), per_channel,
        equalize, correct_bias, clip_weights, symmetric_activations,
    )  # fmt: skip
    known = find_layers(graph)
    scheme.check_names([layer.name for layer in known])
    if not known:
        raise ModelError("the model has no Conv, Gemm or MatMul over constant weights: there is nothing to quantize")
    raised = at_least_opset(graph, OPSET)
    evened: dict[str, float] = {}
    if scheme.equalize:
        raised, evened = evened_out(raised, samples, forward, scheme)
    places = place(raised, scheme)
    codes = calibrate(raised, places, samples, forward, scheme)
    biases = corrected_biases(raised, places, codes, samples, forward, scheme) if scheme.correct_bias else {}
    written = write(raised, places, codes, scheme, biases)
    chosen = {layer.name for layer in places.layers}
    layers = [_told(layer, chosen, written, codes) for layer in known]
    notes = [] if graph.opset >= OPSET else [f"brought from opset {graph.opset} to {OPSET}"]
    if evened:
        notes.append(f"channels of {len(evened)} groups of layers evened out")
    if left := [node.name for node in graph.nodes if node.op_type == "BatchNormalization"]:
        notes.append(f"{len(left)} batch norms stay float: fold them into their layers first")
    report = Report.of("quantize", graph, written.graph, settings=scheme.to_json(), layers=layers, notes=notes)
    return Compressed(written.graph, report)


def _told(layer: Layer, chosen: Collection[str], written: Written, codes: Mapping[str, Codes]) -> LayerReport:
    """What became of a layer: bits, range of its input, and how many weights lie at the ends of their range."""
    facts: dict[str, Any] = {"operator": layer.node.op_type, "bits": 8 if layer.name in chosen else 32}
    if layer.name in chosen:
        x = codes[layer.x]
        facts |= {"input_low": x.low, "input_high": x.high, "weights_at_ends": written.weights[layer.name].clipped}
    return LayerReport(layer.name, facts)
