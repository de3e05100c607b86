"""Real pictures: frames of all clips at hand, at least a second apart, and photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from reconv.measure import Array

CLIPS = ("vtest", "cap12", "cap13", "franck", "megamind", "carphone", "bikes", "bigbuckbunny", "tree")
SIZE, SHORTER = 224, 256  # of the network's input, and of the picture that it is cut out of
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision's models were trained


def frames(asset: Callable[[str], Path], most: int | None = None) -> Iterator[tuple[str, Array]]:
    """(where it is from, picture uint8 (H, W, 3) in BGR), clip after clip, then ImageNet's; at most so many of each."""
    for name in CLIPS:
        capture: Any = cv2.VideoCapture(str(asset(name)))
        try:
            rate = capture.get(cv2.CAP_PROP_FPS)
            apart = max(1, round(rate if 0 < rate <= 1000 else 25))
            count, number = 0, 0
            more, frame = capture.read()
            while more and (most is None or count < most):
                if number % apart == 0:
                    count += 1
                    yield name, frame
                number += 1
                more, frame = capture.read()
        finally:
            capture.release()
    for file in sorted(asset("foolbox").glob("imagenet_*"))[:most]:
        yield "imagenet", np.asarray(cv2.imread(str(file)))


def photographs(asset: Callable[[str], Path]) -> Iterator[Array]:
    """Pictures uint8 (H, W, 3) in BGR that are in no clip and in no labelled set."""
    for file in sorted(asset("photographs").iterdir()):
        yield np.asarray(cv2.imread(str(file)))


def imagenet_input(picture: Array) -> Array:
    """float32 (1, 3, 224, 224): the shorter side to 256, the middle cut out, RGB, less the mean, over the deviation."""
    height, width = picture.shape[:2]
    scale = SHORTER / min(height, width)
    made: Any = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    top, left = (made.shape[0] - SIZE) // 2, (made.shape[1] - SIZE) // 2
    inner = made[top : top + SIZE, left : left + SIZE, ::-1].astype(np.float32) / 255
    normal = (inner - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)
