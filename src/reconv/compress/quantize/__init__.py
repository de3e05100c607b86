"""Static quantization of ONNX graphs to 8 bits, written as QuantizeLinear and DequantizeLinear."""

from reconv.compress.quantize.quantize import quantize
from reconv.compress.quantize.scheme import CALIBRATIONS, TARGETS

__all__ = ["CALIBRATIONS", "TARGETS", "quantize"]
