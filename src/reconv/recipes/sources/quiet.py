"""OpenCV without its own words: it, and FFmpeg below it, would tell the user on stderr what our errors say."""

from __future__ import annotations

import os
from typing import Any

from reconv.recipes.pixels import opencv

__all__ = ["quiet_opencv"]


def quiet_opencv() -> Any:
    """The module cv2. Raises MissingError when it is not installed.

    FFmpeg's level is read once, at the first video that OpenCV opens in the process: a program that opened one before
    keeps the level it had then.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2 = opencv()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
