"""Runs a small network with the installed reconv: what a wheel has to do wherever it is installed.

Against ONNX Runtime, as a stream, by the command line. Needs nothing but the wheel and what it depends on.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import reconv
from reconv import _core

TOLERANCE = 1e-5  # of the largest value: sums in another order

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[1,3,32,48] x) => (float[1,8,16,24] y) {
  a = Conv <pads = [1,1,1,1], strides = [2,2]> (x, w) s = Sigmoid (a) b = Mul (a, s)
  c = Conv <pads = [1,1,1,1], group = 8> (b, d) y = Add (c, b) }"""


def network() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    model: onnx.ModelProto = onnx.parser.parse_model(TEXT)
    for name, shape in (("w", (8, 3, 3, 3)), ("d", (8, 1, 3, 3))):
        weight = random.normal(0, 0.3, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    return model


def main() -> int:
    data = network().SerializeToString()
    model = reconv.load(data)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    frame = np.random.default_rng(1).standard_normal((1, 3, 32, 48)).astype(np.float32)
    with model.stream() as stream:
        for turn in range(4):
            frame[0, :, 4 : 9 + turn, 7:13] += np.float32(0.5)
            (expected,) = session.run(None, {"x": frame})
            dense, step = model.run(frame)["y"], stream(frame)["y"]
            if not np.array_equal(dense, step):
                raise SystemExit(f"frame {turn}: the stream is not the dense run")
            if np.abs(dense - expected).max() > TOLERANCE * np.abs(expected).max():
                raise SystemExit(f"frame {turn}: off from ONNX Runtime by {np.abs(dense - expected).max()}")
        if not 0 < stream.last.recomputed < 1:
            raise SystemExit(f"the stream recomputed {stream.last.recomputed} of the network")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(data)
        subprocess.run([Path(sys.executable).parent / "reconv", "inspect", path], check=True, capture_output=True)
    print(f"reconv {reconv.__version__} runs, with {', '.join(_core.isas())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
