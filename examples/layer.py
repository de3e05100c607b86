"""One layer of the textbooks on a picture: kernel, convolution, ReLU, 2x2 max pooling, an LRU cache, int8.

    python examples/layer.py [PICTURE]

The picture is cut into tiles, and the layer makes a pooled map of each tile per kernel. A cache keeps the maps of the
tiles that were used last: what is equal to one of them is not computed again. Needs `pip install 'reconv[video]'`.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx.parser

import reconv

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "recomputed.png"
TILE = 32  # pixels
CAPACITY = 200  # tiles whose pooled maps the cache keeps

KERNELS = {  # three by three weights each: what they answer to
    "left edges": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "upper edges": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "spots": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "brightness": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
}


def layer():
    """The layer as an ONNX model: (n, 1, 32, 32) -> (n, 4, 16, 16). `pads` is the border of zeros around a tile."""
    weights = ", ".join(str(float(weight)) for kernel in KERNELS.values() for row in kernel for weight in row)
    half = TILE // 2
    return onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 17]>
        layer (float[n, 1, {TILE}, {TILE}] tile) => (float[n, {len(KERNELS)}, {half}, {half}] pooled)
        <float[{len(KERNELS)}, 1, 3, 3] kernels = {{{weights}}}> {{
            map = Conv <pads = [1, 1, 1, 1]> (tile, kernels)
            positive = Relu (map)
            pooled = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (positive)
        }}""")


def tiles(picture):
    """The grey values 0..1 of a picture as whole tiles: (n, 1, 32, 32), row by row."""
    rows, columns = picture.shape[0] // TILE, picture.shape[1] // TILE
    grey = picture[: rows * TILE, : columns * TILE].astype(np.float32) / 255
    return np.ascontiguousarray(grey.reshape(rows, TILE, columns, TILE).swapaxes(1, 2)).reshape(-1, 1, TILE, TILE)


def int8(maps):
    """Whole numbers -127..127 and, for each kernel, the step between them: half a step is the largest error."""
    step = np.abs(maps).max(axis=(0, 2, 3), keepdims=True) / 127
    step[step == 0] = 1
    return np.rint(maps / step).astype(np.int8), step


def main(path):
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        sys.exit(f"{path} is not a picture that can be read")
    shown = tiles(picture)
    if not len(shown):
        sys.exit(f"{path} has {picture.shape[1]}x{picture.shape[0]} pixels, a tile {TILE}x{TILE}")
    tile_bytes = len(KERNELS) * (TILE // 2) ** 2 * 4
    cache = reconv.Cache(CAPACITY * tile_bytes, policy="lru", sizes=lambda kept: kept["pooled"].nbytes)
    model = reconv.cached(reconv.load(layer()), cache, may_step_aside=False)
    print(f"{path.name}: {picture.shape[1]}x{picture.shape[0]} pixels, {len(shown)} tiles of {TILE}x{TILE}")
    for turn in ("first", "second"):
        before = model.stats
        pooled = model.run(shown)["pooled"]
        hits, misses = model.stats.hits - before.hits, model.stats.computed - before.computed
        print(f"{turn} time: {shown.shape} -> {pooled.shape}, {hits} hits, {misses} misses, {len(cache)} kept")
    whole, step = int8(pooled)
    error = np.abs(whole * step - pooled)
    print(f"int8: {pooled.nbytes} -> {whole.nbytes} bytes, error at most {(error / step).max():.3f} of a step")
    for index, name in enumerate(KERNELS):
        print(f"  {name}: up to {pooled[:, index].max():.3f}, int8 is off by at most {error[:, index].max():.5f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
