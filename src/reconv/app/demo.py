"""`reconv demo`: a text detector over a recording of a screen, as a video, a table and a picture of where it worked.

The detector is PP-OCR's, out of the package rapidocr-onnxruntime (extra `demo`): its file is located, nothing of the
package is imported. The recording is reconv's own (scripts/record_demo.py).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from reconv.app.console import console, json_text, print_json, waiting_interrupt
from reconv.app.opened import open_model, open_recipe
from reconv.app.sinks import VideoWriter, tint
from reconv.engine.model import Model
from reconv.errors import MissingError, SourceError
from reconv.measure import Contestant, environment, take_turns
from reconv.recipes import Recipe
from reconv.recipes.pixels import opencv
from reconv.recipes.sources import Source, open_source

__all__ = ["demo", "detector", "recording"]

PACKAGE, DETECTOR = "rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx"


def detector() -> Path:
    """The text detector's file. Raises MissingError when the extra `demo` is not installed."""
    spec = importlib.util.find_spec(PACKAGE)  # of a package at the top: finds, does not import
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / DETECTOR).is_file():
            return path
    raise MissingError("the demo's text detector is not installed: pip install --no-deps rapidocr-onnxruntime")


def recording() -> Any:
    """A context manager that gives the path of the recording, 640x480 at 10 frames/s."""
    return as_file(files("reconv.app") / "data" / "screen.mp4")


def demo(
    output: Path = typer.Option(Path("out"), help="Folder for the video, the picture and the numbers."),
    tolerance: float = typer.Option(0.1, min=0, help="Of the second stream; the first is exact."),
    threads: int | None = typer.Option(None, min=1, help="Default: what affinity and quota allow."),
    limit: int | None = typer.Option(None, min=2, help="Stop after so many frames."),
    json: bool = typer.Option(False, "--json", help="The numbers as JSON on stdout."),
) -> int:
    """Detect text on a recording of a screen: annotated video, table, picture of what was recomputed."""
    model_path = detector()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"--output {output} cannot be made: {error.strerror}") from error
    with recording() as clip:
        model = open_model(str(model_path), threads, None)
        talk = console(stderr=True)
        talk.print("reconv demo: PP-OCR text detection on a screen recording of 640x480")
        with talk.status("annotating the recording"), waiting_interrupt() as interrupt:
            source = open_source(str(clip))
            recipe = open_recipe("dbnet", model, source.shape, None)
            annotate(model, recipe, source, output, tolerance=tolerance, limit=limit, stop=interrupt)
        if interrupt:
            return 130
        with talk.status("measuring: our stream, our dense run and ONNX Runtime take turns"):
            numbers = measure(
                str(model_path), recipe, str(clip), tolerance=tolerance, threads=model.threads, limit=limit
            )
    files = {"video": output / "demo.mp4", "picture": output / "recomputed.png", "numbers": output / "demo.json"}
    numbers["files"] = {name: str(path) for name, path in files.items()}
    files["numbers"].write_text(json_text(numbers) + "\n", encoding="utf-8")
    if json:
        print_json(numbers)
    else:
        _print(numbers)
    return 0


def _frames(source: Source, limit: int | None) -> Iterator[NDArray[Any]]:
    for index, frame in enumerate(source.frames()):
        if index == limit:
            return
        if isinstance(frame, np.ndarray):
            yield frame


def annotate(
    model: Model, recipe: Recipe, source: Source, output: Path, *, tolerance: float, limit: int | None, stop: object
) -> None:
    """Writes demo.mp4 (detections, pixels that moved in red) and recomputed.png into `output`."""
    video = VideoWriter(output / "demo.mp4", source.rate or 10)
    work, steps, last = np.zeros(recipe.frame_shape, np.float64), 0, None
    try:
        with model.stream(tolerance, pixels=recipe.pixels) as stream:
            for frame in _frames(source, limit):
                result = recipe.decode(stream({recipe.input.name: recipe.bytes(frame)}))
                picture = tint(frame, recipe.on_frame(stream.stale_pixels(recipe.input.name)))
                video.write(_caption(recipe.draw(picture, result), f"recomputed {stream.last.recomputed:.0%}"))
                if last is not None:  # the first step is dense and would drown the rest
                    work += recipe.on_frame(stream.recomputed_map(recipe.size))
                    steps += 1
                last = frame
                if stop:
                    break
    finally:
        video.close()
    if last is not None:
        opencv().imwrite(str(output / "recomputed.png"), heat(last, work / max(steps, 1)))


def heat(frame: NDArray[Any], share: NDArray[Any]) -> NDArray[Any]:
    """The frame in grey under a map of `share` (H, W), 0..1, with its scale below: (H + 40, W, 3) uint8 BGR."""
    cv2 = opencv()
    top = max(float(share.max()), 1e-6)
    colours = cv2.applyColorMap((share / top * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    picture = cv2.addWeighted(grey, 0.35, colours, 0.65, 0)
    width = share.shape[1]
    bar = np.full((40, width, 3), 255, np.uint8)
    ramp = np.linspace(0, 255, width - 40).astype(np.uint8)[None].repeat(12, 0)
    bar[4:16, 20:-20] = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)
    style = (cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(bar, "0 %", (20, 33), *style)
    cv2.putText(bar, f"share of the work above a pixel that was done again, mean {share.mean():.1%}", (90, 33), *style)
    cv2.putText(bar, f"{top:.0%}", (width - 55, 33), *style)
    return np.concatenate([picture, bar])


def _caption(picture: NDArray[Any], text: str) -> NDArray[Any]:
    cv2 = opencv()
    place = (picture.shape[1] // 2 - 70, 22)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def measure(
    model: str, recipe: Recipe, clip: str, *, tolerance: float, threads: int, limit: int | None
) -> dict[str, Any]:
    """Times and agreement of our streams, our dense run and ONNX Runtime, taking turns on the same frames."""
    rows = (
        Contestant("reconv stream, exact", "reconv-stream", model, threads, 0.0),
        Contestant(f"reconv stream, tolerance {tolerance:g}", "reconv-stream", model, threads, tolerance),
        Contestant("reconv dense", "reconv", model, threads),
        Contestant("ONNX Runtime", "onnxruntime", model, threads),
    )
    results: dict[str, list[Any]] = {row.name: [] for row in rows}
    inputs = ({recipe.input.name: recipe.preprocess(frame)} for frame in _frames(open_source(clip), limit))
    times = take_turns(rows, inputs, on_outputs=lambda name, _frame, y: results[name].append(recipe.decode(y)))
    dense, peer = results["reconv dense"], times["ONNX Runtime"]
    table = [
        {
            "name": name,
            "ms_per_frame": 1e3 * own.mean,
            "ms_median": 1e3 * own.median,
            "times_as_fast_as_onnxruntime": peer.mean / own.mean,
            "recomputed": float(own.recomputed.mean()),
            "agreement": recipe.agreement(results[name], dense),
        }
        for name, own in times.items()
    ]
    return {"frames": len(dense), "threads": threads, "environment": environment(), "rows": table}


def _print(numbers: dict[str, Any]) -> None:
    talk = console()
    measures = list(numbers["rows"][0]["agreement"])
    table = Table(title=f"{numbers['frames']} frames, {numbers['threads']} threads; means", title_justify="left")
    table.add_column("")
    for name in ("ms/frame", "vs ONNX Runtime", "recomputed", *(f"agreement {name}" for name in measures)):
        table.add_column(name, justify="right")
    for row in numbers["rows"]:
        table.add_row(
            row["name"],
            f"{row['ms_per_frame']:.2f}",
            f"{row['times_as_fast_as_onnxruntime']:.2f}x",
            f"{row['recomputed']:.1%}",
            *(f"{row['agreement'][name]:.4f}" for name in measures),
        )
    talk.print(table)
    talk.print("agreement is with our dense run; " + ", ".join(f"{k} {v}" for k, v in numbers["environment"].items()))
    talk.print(", ".join(f"{name} {path}" for name, path in numbers["files"].items()))
