"""A recipe of one's own: what a network needs around it that no recipe of reconv knows.

    python examples/own_recipe.py [CLIP]

The network here is written below, so that the example is whole: it tells how much of each cell of 16x16 pixels is
covered by fine strokes. The recipe around it, `Ink`, says how frames go in, what the outputs mean, how much two runs
agree, and how a result is drawn and written. The example runs the clip (that of the demo, if none is named) with it;
`reconv run`, `bench` and the others take it by its name:

    python examples/own_recipe.py --save ink.onnx
    reconv run ink.onnx clip.mp4 --recipe examples/own_recipe.py:Ink --output drawn.mp4

Needs `pip install 'reconv[video]'`.
"""

import sys
from importlib.resources import as_file, files
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnx.parser

import reconv

CELL = 16  # pixels
COVERED = 0.04  # from this share of strokes on, a cell has ink


class Ink(reconv.Recipe):
    """A result is a bool array (rows, columns): which cells of the network's input have ink."""

    name = "ink"
    multiple = CELL  # heights and widths that the network takes
    fill = 255  # beside a frame that is no such multiple there is white paper
    pixels = reconv.PixelArithmetic(scale=1 / 255)  # RGB, 0..1

    def decode(self, outputs):
        rows, columns = self.size[0] // CELL, self.size[1] // CELL
        strokes = next(iter(outputs.values()))
        self.expect(outputs, f"one output (1, 1, {rows}, {columns})", strokes.shape == (1, 1, rows, columns))
        return strokes[0, 0] > COVERED

    def agreement(self, results, dense_results):
        """Cells with ink in both over cells with ink in either. The first measure is what others are told."""
        both = sum(np.count_nonzero(a & b) for a, b in zip(results, dense_results, strict=True))
        either = sum(np.count_nonzero(a | b) for a, b in zip(results, dense_results, strict=True))
        return {"overlap": float(both / either) if either else 1.0}

    def draw(self, frame, result):
        covered = result.repeat(CELL, 0).repeat(CELL, 1)  # over the network's input
        picture = frame.copy()
        picture[self.on_frame(covered)] //= 2  # over the frame
        return picture

    def to_json(self, result):
        corners = self.letterbox.to_frame(np.argwhere(result)[:, ::-1] * CELL)  # x, y in frame pixels
        return {"share": round(float(result.mean()), 4), "cells": corners.round(1).tolist()}


def network():
    """(1, 3, h, w) -> (1, 1, h / 16, w / 16): strokes are where a pixel is brighter or darker than those around it."""
    around = [-1, -1, -1, -1, 8, -1, -1, -1, -1]
    weights = [sign * value / 24 for sign in (1, -1) for _colour in range(3) for value in around]
    return onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 17]>
        ink (float[1, 3, height, width] picture) => (float[1, 1, rows, columns] strokes)
        <float[2, 3, 3, 3] kernels = {{{", ".join(map(str, weights))}}}, float[1, 2, 1, 1] ones = {{1.0, 1.0}}> {{
            edges = Conv <pads = [1, 1, 1, 1]> (picture, kernels)
            either = Relu (edges)
            mean = AveragePool <kernel_shape = [{CELL}, {CELL}], strides = [{CELL}, {CELL}]> (either)
            strokes = Conv (mean, ones)
        }}""")


def frames(clip):
    capture = cv2.VideoCapture(str(clip))
    more, frame = capture.read()
    while more:
        yield frame
        more, frame = capture.read()


def main(clip):
    model = reconv.load(network())
    recipe, dense = None, []
    results = {0.0: [], 0.1: []}
    shares = {tolerance: [] for tolerance in results}
    streams = {tolerance: model.stream(tolerance) for tolerance in results}
    for frame in frames(clip):
        recipe = recipe or Ink.for_model(model, frame.shape[:2], None)
        inputs = recipe.inputs(frame)
        dense.append(recipe.decode(model.run(inputs)))
        for tolerance, stream in streams.items():
            results[tolerance].append(recipe.decode(stream(inputs)))
            shares[tolerance].append(stream.last.recomputed)
    if not dense:
        sys.exit(f"{clip} is not a video that can be read")
    print(f"{Path(clip).name}: {len(dense)} frames, ink in {np.mean(dense):.1%} of the cells")
    for tolerance, found in results.items():
        measures = ", ".join(f"{name} {value:.3f}" for name, value in recipe.agreement(found, dense).items())
        print(f"tolerance {tolerance:g}: {np.mean(shares[tolerance][1:]):.1%} of the work, {measures}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--save"]:
        onnx.save(network(), sys.argv[2])
    elif len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with as_file(files("reconv.app") / "data" / "screen.mp4") as recording:
            main(recording)
