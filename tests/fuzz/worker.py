"""What is done with one spoilt file, in a process of its own: `python -m tests.fuzz.worker ours|peer KIND SEED FOLDER`.

ours: load, placement and memory plan, one dense run, two steps of a stream. The answers:

    refused   an error of reconv's own tree
    ran       outputs, and the stream gave the very bits of the dense runs; they are left in FOLDER for the peer
    foreign   any other exception
    unsteady  two dense runs differ, of a model with a part that ONNX Runtime runs (its product over an axis of no
              elements is whatever the memory held)
    unequal   the stream gave something else

peer: ONNX Runtime without its optimisations, on what ran:

    equal     as close as float32 goes
    unequal   not
    alone     ONNX Runtime refuses the file, so there is nothing to compare with

Memory is limited: what asks for absurd sizes must be told so.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import reconv
from reconv.engine.tail import same_bits
from tests.fuzz.damage import spoilt

Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]
Answer = tuple[str, str]

MEMORY_BYTES = 4 << 30  # of address space, beyond what the libraries take
LARGE = 1 << 20  # elements of an input: more are not made, the file only says so
SIZES = {"n": 1, "m": 12, "h": 24, "w": 32, "batch": 1}  # of free axes
BOUNDS = {"fmin": 50.0, "fmax": 1000.0}  # of the pitch that swift_f0 looks for
LENGTHS = (1, 4, 12, 16, 16)  # of nameless ones, by their place


def feeds_of(inputs: Iterable[reconv.TensorInfo], seed: int) -> Feeds:
    """Arrays of the types and shapes that the model declares, as far as they can be had."""
    random = np.random.default_rng(seed)
    feeds = {}
    for info in inputs:
        sizes = [
            size if isinstance(size, int) else SIZES.get(size or "", LENGTHS[min(i, 4)])
            for i, size in enumerate(info.shape)
        ]
        if len(sizes) > 32 or np.prod([float(size) for size in sizes]) > LARGE:
            sizes = [1] * min(len(sizes), 4)  # does not fit, and the model has to say so
        if info.name == "audio":
            sizes = [1, 4000]
        normal = np.asarray(random.standard_normal(sizes))
        if info.name in BOUNDS and not sizes:
            normal = np.asarray(BOUNDS[info.name])
        if info.dtype == object:
            feeds[info.name] = np.full(sizes, "word", object)
        elif info.dtype.kind in "iub":
            feeds[info.name] = np.asarray(np.abs(normal * 2).astype(info.dtype))
        else:
            feeds[info.name] = np.asarray(normal.astype(info.dtype))
    return feeds


def moved(feeds: Feeds, seed: int) -> Feeds:
    """The next frame: a few neighbouring values of each input are others."""
    random = np.random.default_rng(seed)
    result = {}
    for name, array in feeds.items():
        flat = array.copy().reshape(-1)
        if flat.size > 4 and flat.dtype.kind == "f":
            at = int(random.integers(flat.size - 3))
            flat[at : at + 3] = random.standard_normal(3).astype(flat.dtype)
        result[name] = flat.reshape(array.shape)
    return result


def same(a: Any, b: Any) -> bool:
    """Equal bits, all NaN being one; of sequences, part by part."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype and a.dtype.kind == "f":
        return a.shape == b.shape and bool(
            ((a == b) & (np.signbit(a) == np.signbit(b)) | (np.isnan(a) & np.isnan(b))).all()
        )
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return same_bits(a, b) or (not isinstance(a, np.ndarray) and bool(a == b))


def described(model: reconv.Model, feeds: Feeds) -> None:
    """What can be asked about a model: an answer, or an error of reconv's own, whatever becomes of a run."""
    shapes = {name: array.shape for name, array in feeds.items()}
    with suppress(reconv.ReconvError):
        str(model.placement(shapes))
    with suppress(reconv.ReconvError):
        model.memory_plan(shapes).live_bytes()


def check(data: bytes) -> tuple[Answer, tuple[Feeds, dict[str, Any]] | None]:
    """Load, run, stream; with inputs and outputs of the dense run where there was one."""
    try:
        model = reconv.load(data, threads=1)
        frames = [feeds_of(model.inputs, seed=1)]
        frames.append(moved(frames[0], seed=2))
        described(model, frames[0])
        dense = [model.run(frame) for frame in frames]
        with model.stream() as stream:
            steps = [stream(frame) for frame in frames]
    except reconv.ReconvError as error:
        said = str(error)
        plain = "\n" not in said and len(said) < 1500
        return ("refused" if plain else "foreign", f"{type(error).__name__}: {said}"), None
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return ("foreign", f"{type(error).__name__}: {error} ({last.filename}:{last.lineno} {last.name})"), None
    tail = any(placed.where == "tail" for placed in model.placement().nodes)
    if tail and not all(same(value, dense[0][name]) for name, value in model.run(frames[0]).items()):
        return ("unsteady", "two dense runs differ, and a part is ONNX Runtime's"), None
    for number, (step, whole) in enumerate(zip(steps, dense, strict=True)):
        for name, value in whole.items():
            if not same(step[name], value):
                return ("unequal", f"step {number} of the stream, output {name!r}"), None
    return ("ran", ""), (frames[0], dense[0])


def ours(kind: str, seed: int, folder: Path, index: int) -> Answer:
    name, data = spoilt(kind, seed, index)
    (verdict, said), found = check(data)
    if found is not None:
        (folder / f"{index}.pickle").write_bytes(pickle.dumps(found))
    return verdict, f"[{name}] {said}"


def peer(kind: str, seed: int, folder: Path, index: int) -> Answer:
    name, data = spoilt(kind, seed, index)
    feeds, found = pickle.loads((folder / f"{index}.pickle").read_bytes())
    verdict, said = compare(data, feeds, found, coded=name.startswith("8 bits"))
    return verdict, f"[{name}] {said}"


def compare(data: bytes, feeds: Feeds, found: dict[str, Any], coded: bool) -> Answer:
    """Against ONNX Runtime: equal where both are numbers, up to what a change of the input in its last bits makes.

    Spoilt weights make networks that amplify, so no fixed tolerance would do. ``coded``: 8-bit models may be off by a
    step where a sum lies between two.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    names = list(found)
    random = np.random.default_rng(0)
    near = {
        name: np.asarray(array * np.asarray(1 + 1e-6 * random.choice([-1, 1], array.shape), array.dtype))
        if array.dtype.kind == "f"
        else array
        for name, array in feeds.items()
    }
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        known = {info.name for info in session.get_inputs()}
        expected, shaken = (
            session.run(names, {name: value for name, value in fed.items() if name in known}) for fed in (feeds, near)
        )
    except Exception as error:  # onnxruntime raises its own kinds, derived from Exception alone
        return "alone", " ".join(str(error).split())[:200]
    # what a maximum makes of NaN, say, ONNX leaves open: so only numbers are compared where ONNX Runtime has such
    no_numbers = any(
        isinstance(value, np.ndarray) and value.dtype.kind == "f" and np.isnan(value).any() for value in expected
    )
    wild = no_numbers or _wild(data)
    # codes of what is no number, or by a scale that is none, are any codes
    share = (1e6 if _wild(data) else 0.05) if coded else 1e-4
    for name, wanted, other in zip(names, expected, shaken, strict=True):
        said = difference(found[name], wanted, other, share, wild)
        if said:
            return "unequal", f"output {name!r}: {said}"
    return "equal", ""


def _wild(data: bytes) -> bool:
    """Whether a weight is so large, or no number, that sums may leave float32's range in one order only."""
    for tensor in onnx.ModelProto.FromString(data).graph.initializer:
        try:
            array = onnx.numpy_helper.to_array(tensor)
        except Exception:  # nobody could read it
            continue
        if array.dtype.kind == "f" and array.size and not (np.abs(array.astype(np.float32)) < 1e9).all():
            return True
        if array.dtype == np.int32 and array.size and not (np.abs(array.astype(np.int64)) < 2**30).all():
            return True
    return False


def difference(got: Any, wanted: Any, shaken: Any, share: float, wild: bool) -> str:
    """ "" where they agree, or how they differ."""
    if isinstance(wanted, (list, tuple)) or not isinstance(wanted, np.ndarray):
        return ""  # sequences come from the tail, which is ONNX Runtime's own
    if got.dtype == np.float16 and wanted.dtype == np.float32:  # the file declares what no node makes
        return difference(got, wanted.astype(np.float16), shaken.astype(np.float16), 1e-2, wild)
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype} {got.shape} instead of {wanted.dtype} {wanted.shape}"
    if wanted.dtype.kind != "f":
        same_kind = bool(np.array_equal(wanted, shaken))
        return "" if np.array_equal(got, wanted) or not same_kind or share > 1e-3 else "other whole numbers"
    with np.errstate(all="ignore"):
        a, b, c = (np.asarray(array, np.float64) for array in (got, wanted, shaken))
        finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
        if not wild and not (finite | (a == b) | (np.isnan(a) & np.isnan(b)) | ~np.isfinite(c)).all():
            return "finite on one side only"
        a, b, c = (np.where(finite, array, 0) for array in (a, b, c))
        scale = np.abs(b).max(initial=0)
        allowed = share * scale + 100 * np.abs(b - c).max(initial=0) + 1e-30
        error = np.abs(a - b).max(initial=0)
        return "" if error <= allowed or (wild and scale > 1e20) else f"off by {error}, {allowed} is allowed at {scale}"


def main(arguments: Sequence[str]) -> None:
    mode, kind, seed, folder = arguments
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + MEMORY_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work: Callable[[str, int, Path, int], Answer] = {"ours": ours, "peer": peer}[mode]
    for line in sys.stdin:
        verdict, said = work(kind, int(seed), Path(folder), int(line))
        print(json.dumps({"verdict": verdict, "said": said}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
