"""The table of peers: one line each."""

from __future__ import annotations

from reconv.measure.peers import onnxruntime, openvino, ours
from reconv.measure.peers.peer import Array, Arrays, Job, Peer, Runner

__all__ = ["PEERS", "Array", "Arrays", "Job", "Peer", "Runner"]

PEERS: dict[str, Peer] = {
    "reconv": Peer("reconv dense", ours.open_dense, "reconv", dense=True, rival=False),
    "reconv-stream": Peer("reconv stream", ours.open_stream, "reconv", dense=False, rival=False),
    "onnxruntime": Peer("ONNX Runtime", onnxruntime.open_optimised, "onnxruntime", dense=True, rival=True),
    "onnxruntime-plain": Peer("ONNX Runtime, plain", onnxruntime.open_plain, "onnxruntime", dense=True, rival=False),
    "openvino-f32": Peer("OpenVINO f32", openvino.open_f32, "openvino", dense=True, rival=True, extra="bench"),
    "openvino": Peer("OpenVINO default", openvino.open_default, "openvino", dense=True, rival=True, extra="bench"),
}
