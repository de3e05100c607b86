"""ONNX Runtime's way of asking for a model's outputs, answered by this engine: scripts change one line.

    import reconv as ort                            # was: import onnxruntime as ort
    session = ort.InferenceSession("detector.onnx")
    boxes, scores = session.run(None, {"images": x})

`session` is the class, `told` what of it runs nothing, `options` what its options mean here, `binding` its bound inputs
and outputs, `errors` what it raises, `names` the other names of onnxruntime that such a script uses.
"""

from reconv.session.binding import IOBinding
from reconv.session.names import NAMES, look_up
from reconv.session.session import InferenceSession

__all__ = ["NAMES", "IOBinding", "InferenceSession", "look_up"]
