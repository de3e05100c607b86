"""Records record_demo.html as the demo's clip: Chromium under Xvfb, grabbed by ffmpeg (Debian: chromium xvfb ffmpeg).

    python scripts/record_demo.py        writes src/reconv/app/data/screen.mp4 (640x480, 10 frames/s, 12 s)

The clip is encoded without loss in 4:4:4, so that a pixel that did not change on the screen comes out bit for bit the
same in every frame: the case in which exact reuse pays. Colours still pass through YUV once; equal pixels stay equal.
The page keeps its own clock, so two recordings are alike but not identical (frames and ticks are not in step).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "reconv" / "app" / "data" / "screen.mp4"
WIDTH, HEIGHT, RATE = 640, 480, 10
WAIT_SECONDS = 6.0  # until the page starts to move: the browser must be up, and its first frame on the screen

CHROMIUM = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars", "--kiosk",
    "--window-position=0,0", f"--window-size={WIDTH + 1},{HEIGHT + 1}", "--force-device-scale-factor=1",
)  # fmt: skip


def free_display() -> str:
    """The first X display that nobody has."""
    return next(f":{n}" for n in range(90, 200) if not Path(f"/tmp/.X11-unix/X{n}").exists())


def record(target: Path, seconds: float) -> None:
    display = free_display()
    environment = {**os.environ, "DISPLAY": display}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as profile:
        try:
            started.append(subprocess.Popen(["Xvfb", display, "-screen", "0", f"{WIDTH}x{HEIGHT}x24"], **quiet))
            time.sleep(1.0)
            page = f"file://{HERE / 'record_demo.html'}?wait={int(WAIT_SECONDS * 1000)}"
            browser = ["chromium", *CHROMIUM, f"--user-data-dir={profile}", f"--app={page}"]
            started.append(subprocess.Popen(browser, env=environment, **quiet))
            time.sleep(WAIT_SECONDS)
            grab = ["ffmpeg", "-y", "-loglevel", "error", "-f", "x11grab", "-draw_mouse", "0", "-framerate", str(RATE)]
            grab += ["-video_size", f"{WIDTH}x{HEIGHT}", "-i", display, "-t", str(seconds)]
            grab += ["-c:v", "libx264", "-preset", "veryslow", "-qp", "0", "-pix_fmt", "yuv444p", str(target)]
            subprocess.run(grab, check=True, env=environment)
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(timeout=10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, default=TARGET)
    parser.add_argument("--seconds", type=float, default=12.0)
    options = parser.parse_args()
    missing = [name for name in ("chromium", "Xvfb", "ffmpeg") if shutil.which(name) is None]
    if missing:
        print(f"error: not on this machine: {', '.join(missing)}", file=sys.stderr)
        return 1
    options.target.parent.mkdir(parents=True, exist_ok=True)
    record(options.target, options.seconds)
    print(f"{options.target}: {options.target.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
