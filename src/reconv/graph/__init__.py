"""A model as a graph: load, cut out a part, count its work and what its nodes see.

The only folder that imports onnx and onnx-ir. In the order in which a model flows through: `load` (file to `Graph`;
`old` files of opset 7 and 8, `maps` outputs that hold them, `external` its weights in other files, `widen` its 16-bit
floats), `evaluate` (one node on constants), `extract` (a part as a model of its own), `parse` (ONNX's text format),
`rewrite` (other nodes in the place of some), `remade` (other shapes too), `names` (fresh ones), `write` (back to ONNX),
`made` (what makers of models give), `described` (what a file says of itself), `chance` (random operators), `shapes` (of
a part, inferred), `sizes` (of a whole model), `cost` (multiply-adds), `liveness` (bytes alive), `reach` (receptive
field), `digest` (content hash of a model), `structure` (of what each value is computed by).
"""

from reconv.graph.chance import draws_at_random
from reconv.graph.cost import multiply_adds, operations
from reconv.graph.described import (
    Described,
    Metadata,
    described_inputs,
    described_outputs,
    element_type,
    metadata,
    overridable,
)
from reconv.graph.digest import digest
from reconv.graph.evaluate import evaluate
from reconv.graph.extract import Part, extract, extract_any, reads, stretch
from reconv.graph.graph import Graph, Node, TensorInfo
from reconv.graph.liveness import live_bytes, peak_bytes, value_bytes
from reconv.graph.load import Source, load, with_shapes
from reconv.graph.made import Made, write_whole
from reconv.graph.names import Names
from reconv.graph.parse import parse
from reconv.graph.remade import remade
from reconv.graph.rewrite import Rewrite, rewritten
from reconv.graph.shapes import element_types, infer
from reconv.graph.sizes import shapes_of
from reconv.graph.structure import Structure, structure, structure_digest
from reconv.graph.widen import is_half
from reconv.graph.write import check, save, to_onnx, with_constants

__all__ = [
    "Described",
    "Graph",
    "Made",
    "Metadata",
    "Names",
    "Node",
    "Part",
    "Rewrite",
    "Source",
    "Structure",
    "TensorInfo",
    "check",
    "described_inputs",
    "described_outputs",
    "digest",
    "draws_at_random",
    "element_type",
    "element_types",
    "evaluate",
    "extract",
    "extract_any",
    "infer",
    "is_half",
    "live_bytes",
    "load",
    "multiply_adds",
    "metadata",
    "operations",
    "overridable",
    "parse",
    "peak_bytes",
    "reads",
    "remade",
    "rewritten",
    "save",
    "shapes_of",
    "stretch",
    "structure",
    "structure_digest",
    "to_onnx",
    "with_constants",
    "write_whole",
    "value_bytes",
    "with_shapes",
]
