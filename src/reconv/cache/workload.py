"""Traces that are made up, one kind of traffic each, with the sizes and costs of a real network's maps.

    generate("zipf:objects=500,alpha=0.8,seed=3")

Every workload is a function of keyword arguments with defaults, `requests` and `seed` among them; the same arguments
give the same trace.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from reconv.cache.mobilenet import BLOCKS, cost_seconds, map_bytes, some_maps, state_bytes
from reconv.cache.trace import Floats, Integers, Trace
from reconv.errors import CacheError

__all__ = ["WORKLOADS", "generate"]

Random = np.random.Generator


def zipf(*, requests: int = 100_000, objects: int = 1000, alpha: float = 1.0, seed: int = 0) -> Trace:
    """Few pictures are asked for often, many seldom, each request on its own: the k-th with weight 1 / k**alpha."""
    random = _random(requests, seed, objects=objects)
    return _of_objects(random, _ranks(random, requests, objects, alpha))


def scan(
    *,
    requests: int = 100_000,
    objects: int = 1000,
    alpha: float = 1.0,
    every: int = 2000,
    length: int = 1000,
    seed: int = 0,
) -> Trace:
    """Zipf traffic; after each `every` requests of it a batch job passes over `length` pictures seen this one time."""
    random = _random(requests, seed, objects=objects, every=every, length=length)
    position = np.arange(requests)
    round_, within = np.divmod(position, every + length)
    keys = _ranks(random, requests, objects, alpha)
    passing = within >= every
    keys[passing] = objects + (round_ * length + within - every)[passing]
    return _of_objects(random, keys)


def loop(*, requests: int = 100_000, objects: int = 1000, shuffle: bool = False, seed: int = 0) -> Trace:
    """Epochs over a training set: all samples in one order again and again, or in a new order each time."""
    random = _random(requests, seed, objects=objects)
    epochs = -(-requests // objects)
    order = [random.permutation(objects) if shuffle else np.arange(objects) for _ in range(epochs)]
    return _of_objects(random, np.concatenate(order)[:requests] if order else np.zeros(0, np.int64))


def drift(
    *, requests: int = 100_000, objects: int = 1000, alpha: float = 1.0, speed: float = 0.02, seed: int = 0
) -> Trace:
    """Zipf traffic whose favourites change: with every request all ranks move on by `speed` pictures of the archive."""
    random = _random(requests, seed, objects=objects)
    if not 0 <= speed < np.inf:
        raise CacheError(f"speed is {speed}, expected a number of objects per request from 0 up")
    moved = (np.arange(requests) * speed).astype(np.int64)
    return _of_objects(random, (_ranks(random, requests, objects, alpha) + moved) % objects)


def mixture(
    *,
    requests: int = 100_000,
    objects: int = 1000,
    alpha: float = 1.0,
    looping: float = 0.3,
    once: float = 0.1,
    seed: int = 0,
) -> Trace:
    """Several users of one cache: shares `looping` and `once` of the requests are a loop over `objects` samples and
    pictures that never come again, the rest is Zipf traffic over `objects` others."""
    random = _random(requests, seed, objects=objects)
    if min(looping, once) < 0 or not looping + once <= 1:
        raise CacheError(f"looping is {looping} and once {once}, expected two shares whose sum is at most 1")
    kind = random.random(requests)
    keys = _ranks(random, requests, objects, alpha)
    in_loop, visitor = kind < looping, kind >= 1 - once
    keys[in_loop] = objects + np.arange(np.count_nonzero(in_loop)) % objects
    keys[visitor] = 2 * objects + np.arange(np.count_nonzero(visitor))
    return _of_objects(random, keys)


def crawler(
    *, requests: int = 100_000, objects: int = 1000, alpha: float = 1.0, once: float = 0.8, seed: int = 0
) -> Trace:
    """Pictures as a crawler brings them: a share `once` is seen this one time, the rest is Zipf traffic."""
    return mixture(requests=requests, objects=objects, alpha=alpha, looping=0.0, once=once, seed=seed)


def camera(
    *,
    requests: int = 100_000,
    streams: int = 64,
    fps: float = 10.0,
    seconds_on: float = 20.0,
    seconds_off: float = 60.0,
    seed: int = 0,
) -> Trace:
    """Cameras that share one memory for their streams' states: every frame asks for its camera's state.

    A camera is on for `seconds_on` at a time and then off for `seconds_off`, both on average (exponentially
    distributed). Sizes are those of all stored maps at the camera's resolution, costs those of the dense step that
    rebuilds them.
    """
    random = _random(requests, seed, streams=streams)
    for name, value in (("fps", fps), ("seconds_on", seconds_on), ("seconds_off", seconds_off)):
        if not 0 < value < np.inf:
            raise CacheError(f"{name} is {value}, expected a number above 0")
    rate = streams * fps * seconds_on / (seconds_on + seconds_off)
    end = 1.5 * requests / rate + seconds_on + seconds_off  # more than enough on average; doubled until it is
    while True:
        shots = [_shots(random, end, fps, seconds_on, seconds_off) for _ in range(streams)]
        if sum(map(len, shots)) >= requests:
            break
        end *= 2
    times = np.concatenate(shots)
    order = np.argsort(times, kind="stable")[:requests]
    keys = np.repeat(np.arange(streams), [len(shot) for shot in shots])[order]
    area = random.choice([0.25, 0.5, 1.0, 2.0], streams)
    return Trace(keys, state_bytes(area)[keys], cost_seconds(len(BLOCKS) - 1, area)[keys], times[order])


def _shots(random: Random, end: float, fps: float, on: float, off: float) -> Floats:
    """Times of one camera's frames up to `end`."""
    count = max(4, int(3 * end / (on + off)))
    gaps = np.stack([random.exponential(off, count), random.exponential(on, count)], 1).ravel()
    edges = np.cumsum(gaps) - random.uniform(0, on + off)  # it has been running for a while
    frames = np.arange(max(edges[0], 0), min(edges[-1], end), 1 / fps) + random.uniform(0, 1 / fps)
    return np.asarray(frames[np.searchsorted(edges, frames) % 2 == 1])


def sweep(
    *,
    requests: int = 100_000,
    samples: int = 32,
    choices: int = 4,
    changes: int = 1,
    accepted: float = 0.3,
    seed: int = 0,
) -> Trace:
    """A search over candidate compressions of one network, each tried on `samples` pictures.

    Each of the network's blocks has `choices` variants (say, widths in bits). A candidate is the best one so far with
    `changes` blocks changed, and becomes the best with probability `accepted`. Block by block, a picture's map behind
    the blocks 0..k is asked for under the name of those blocks' variants: candidates that agree up to there share it.
    Sizes are the maps', costs the seconds of the one block behind the last map.
    """
    random = _random(requests, seed, samples=samples, choices=choices, changes=changes)
    if not 0 <= accepted <= 1:
        raise CacheError(f"accepted is {accepted}, expected a probability")
    depth = len(BLOCKS)
    prefixes: dict[tuple[int, int], int] = {}
    best = np.zeros(depth, np.int64)
    nodes: list[list[int]] = []
    while len(nodes) * depth * samples < requests:
        candidate = best.copy()
        if nodes:
            at = random.choice(depth, min(changes, depth), replace=False)
            candidate[at] = random.integers(0, choices, len(at))
        node, path = -1, []
        for variant in candidate.tolist():
            node = prefixes.setdefault((node, variant), len(prefixes))
            path.append(node)
        nodes.append(path)
        if random.random() < accepted:
            best = candidate
    paths = np.array(nodes, np.int64).reshape(-1, 1, depth)
    keys = (paths * samples + np.arange(samples)[:, None]).ravel()[:requests]
    block = np.arange(len(keys)) % depth
    whole = cost_seconds(np.arange(depth), 1.0)
    return Trace(keys, map_bytes(np.arange(depth), 1.0)[block], np.diff(whole, prepend=0.0)[block])


WORKLOADS: dict[str, Callable[..., Trace]] = {
    "zipf": zipf,
    "scan": scan,
    "loop": loop,
    "drift": drift,
    "mixture": mixture,
    "crawler": crawler,
    "camera": camera,
    "sweep": sweep,
}


def generate(text: str) -> Trace:
    """The trace of a workload as one writes it: its name, and after a colon what is not as by default.

    Raises:
        CacheError: no such workload or parameter, or a value that it cannot have.
    """
    name, _, rest = text.partition(":")
    if name not in WORKLOADS:
        raise CacheError(f"no workload is called {name!r}; there are {', '.join(WORKLOADS)}")
    known = inspect.signature(WORKLOADS[name]).parameters
    given: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in known:
            raise CacheError(f"workload {name} has no parameter {key!r}; it has {', '.join(known)}")
        given[key] = _parsed(key, value, type(known[key].default))
    return WORKLOADS[name](**given)


def _parsed(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text not in ("true", "false"):
            raise CacheError(f"{name} is true or false, got {text!r}")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        raise CacheError(f"{name} is {'a whole number' if kind is int else 'a number'}, got {text!r}") from None


def _random(requests: int, seed: int, **counts: int) -> Random:
    for name, value in {"requests": requests, **counts}.items():
        if not isinstance(value, int) or value < 1:
            raise CacheError(f"{name} is {value!r}, expected a whole number from 1 up")
    if not isinstance(seed, int) or seed < 0:
        raise CacheError(f"seed is {seed!r}, expected a whole number from 0 up")
    return np.random.default_rng(seed)


def _ranks(random: Random, requests: int, objects: int, alpha: float) -> Integers:
    """Object k with weight 1 / (k + 1)**alpha."""
    if not 0 <= alpha < np.inf:
        raise CacheError(f"alpha is {alpha}, expected a number from 0 up")
    weights = np.cumsum(np.arange(1, objects + 1, dtype=np.float64) ** -alpha)
    return np.asarray(np.searchsorted(weights, random.random(requests) * weights[-1], side="right"), np.int64)


def _of_objects(random: Random, keys: Integers) -> Trace:
    """Each key a map of its own."""
    sizes, costs = some_maps(random, int(keys.max()) + 1)
    return Trace(keys, sizes[keys], costs[keys])
