"""What must hold after every step: the two invariants of the engine and its accounting.

All checkers work on a `Snapshot`, so that tests can falsify one and see the checker fail. They raise AssertionError.

exact    at tolerance 0 every map equals, bit for bit, a dense run of the plan on this frame
bounded  at tolerance t every stored pixel is within t, in the weighted norm of its map, of the op applied to the stored
         inputs; without cutoff it equals that value
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconv import _core
from tests.property.plans import Draft, Floats, from_user, strides_of, to_user, user_shape

Bools = NDArray[np.bool_]

NORM_SLACK = 1e-5  # relative: the engine's norm is summed in float32
NORM_FLOOR = 1e-6


@dataclass
class Snapshot:
    """All of a stream's state after a step; arrays (H, W, C) and stale (H, W) by stored map, todo (H, W) by op."""

    arrays: dict[int, Floats]
    stale: dict[int, Bools]
    todo: list[Bools]
    deviations: dict[int, Floats]
    recomputed_macs: int
    was_dense: bool
    bytes: int


def arrays(draft: Draft, plan: _core.Plan, state: _core.State) -> dict[int, Floats]:
    """The stored maps: all but those between an op and the one that has absorbed it."""
    return {x: state.array(x) for x in draft.produced if plan.stored(x)}


def snapshot(draft: Draft, plan: _core.Plan, state: _core.State) -> Snapshot:
    return Snapshot(
        arrays=arrays(draft, plan, state),
        stale={x: state.stale(x) for x in draft.produced if plan.stored(x)},
        todo=[state.todo(op) for op in range(len(draft.ops))],
        deviations={x: state.deviation(x) for x in plan.cut_maps},
        recomputed_macs=state.recomputed_macs,
        was_dense=state.was_dense,
        bytes=state.bytes,
    )


def step(draft: Draft, state: _core.State, frame: Sequence[Floats]) -> None:
    state.step([to_user(x, layout) for x, (_, layout) in zip(frame, draft.inputs, strict=True)])


def read(draft: Draft, state: _core.State) -> dict[int, Floats]:
    """The outputs by their place, each (H, W, C)."""
    found = {}
    for i, (x, layout) in enumerate(draft.outputs):
        array = np.full(user_shape(draft.shapes[x], layout), 77.0, np.float32)
        state.read(i, array)
        found[i] = from_user(array, layout)
    return found


def bits(array: Floats) -> NDArray[np.uint32]:
    """The bit patterns, all NaN as one: which of two NaN a sum keeps is the compiler's choice of operand order."""
    patterns = np.ascontiguousarray(array).view(np.uint32).copy()
    patterns[np.isnan(array)] = 0x7FC00000
    return patterns


def differing_pixels(a: Floats, b: Floats) -> Bools:
    """(H, W): where two maps differ in their bits."""
    found: Bools = (bits(a) != bits(b)).any(axis=-1)
    return found


def check_equal(arrays: dict[int, Floats], expected: dict[int, Floats], what: str) -> None:
    """Bit for bit, map by map."""
    assert arrays.keys() == expected.keys()
    for x, array in arrays.items():
        moved = differing_pixels(array, expected[x])
        if moved.any():
            y, c = np.argwhere(moved)[0]
            raise AssertionError(
                f"{what} {x}: {moved.sum()} of {moved.size} pixels differ, first ({y}, {c}): "
                f"{array[y, c]} instead of {expected[x][y, c]}"
            )


def check_views(draft: Draft, shot: Snapshot) -> None:
    """Views show their parent's values, and parts have put theirs where the parent shows them."""
    for x in draft.readable:
        view = draft.views.get(x)
        if view is None or view.parent not in shot.arrays:
            continue
        parent = shot.arrays[view.parent]
        height, width, channels = draft.shapes[x]
        if view.kind in ("channels", "part"):
            seen = parent[:, :, view.first : view.first + channels]
        elif view.kind == "phase":
            seen = parent[view.phase[0] :: view.strides[0], view.phase[1] :: view.strides[1]]
        else:
            seen = parent[0, view.first : view.first + height * width].reshape(height, width, channels)
        check_equal({x: shot.arrays[x]}, {x: seen}, f"{view.kind} view")


def check_accounting(draft: Draft, plan: _core.Plan, shot: Snapshot, before: Snapshot | None) -> None:
    """Multiply-adds, bytes and stale sets of a step; `before` is the snapshot of the step before (None: the first)."""
    macs = [op.macs_per_pixel for op in draft.ops]
    sizes = [todo.size for todo in shot.todo]
    assert plan.macs == sum(m * n for m, n in zip(macs, sizes, strict=True))
    assert plan.op_macs() == [m * n for m, n in zip(macs, sizes, strict=True)]
    spent = sum(m * int(todo.sum()) for m, todo in zip(macs, shot.todo, strict=True))
    assert shot.recomputed_macs == spent, f"recomputed {shot.recomputed_macs} multiply-adds, its ops {spent}"
    assert 0 <= shot.recomputed_macs <= plan.macs
    assert shot.bytes == plan.state_bytes, f"{shot.bytes} bytes held, {plan.state_bytes} foretold"
    if shot.was_dense:
        assert all(todo.all() for todo in shot.todo)
        return
    assert before is not None, "the first step is dense"
    for x, _ in draft.inputs:
        moved = differing_pixels(shot.arrays[x], before.arrays[x])
        assert not (moved & ~shot.stale[x]).any(), f"input map {x} moved where it is not stale"
    for index, (op, todo) in enumerate(zip(draft.ops, shot.todo, strict=True)):
        if op.out not in shot.arrays:
            readers = [i for i, other in enumerate(draft.ops) if op.out in other.inputs]
            assert len(readers) == 1, f"op {index} is absorbed, but has {len(readers)} readers"
            assert np.array_equal(todo, shot.todo[readers[0]]), f"op {index}: not its reader's pixels"
            continue
        moved = differing_pixels(shot.arrays[op.out], before.arrays[op.out])
        assert not (moved & ~todo).any(), f"op {index} moved pixels that it had not to do"
        assert not (moved & ~shot.stale[op.out]).any(), f"op {index} moved pixels that are not stale"
        assert not (shot.stale[op.out] & ~todo).any(), f"op {index}: pixels are stale that were not to do"


def check_rest(draft: Draft, state: _core.State, shot: Snapshot) -> None:
    """A step on the frame before, all finite: nothing recomputed, nothing stale, nothing changed."""
    assert shot.recomputed_macs == 0, f"an unchanged frame cost {shot.recomputed_macs} multiply-adds"
    assert not any(todo.any() for todo in shot.todo), "an unchanged frame left an op something to do"
    assert not any(stale.any() for stale in shot.stale.values()), "an unchanged frame left something stale"
    changed = [i for i in range(len(draft.outputs)) if state.changed(i)]
    assert not changed, f"outputs {changed} changed without a change of the frame"


def check_changed(draft: Draft, state: _core.State, before: dict[int, Floats], after: dict[int, Floats]) -> None:
    """An output that moved says so."""
    for i in range(len(draft.outputs)):
        moved = differing_pixels(before[i], after[i]).any()
        assert state.changed(i) or not moved, f"output {i} moved without saying so"


class Alone:
    """The ops of a draft, each in a plan of its own, to ask what it makes of given inputs."""

    def __init__(self, draft: Draft, isa: str) -> None:
        self.draft = draft
        threads = _core.Threads(1)
        self.states = {
            i: _core.State(draft.build_one(i, isa), threads, True, 0.0)
            for i, op in enumerate(draft.ops)
            if op.call.method != "join"
        }

    def run(self, index: int, arrays: dict[int, Floats]) -> Floats:
        """What op `index` makes of these maps; an input that is not among them is made of them first."""
        op, state = self.draft.ops[index], self.states[index]
        for x in op.inputs:
            if x not in arrays:
                made_by = next(i for i, other in enumerate(self.draft.ops) if other.out == x)
                arrays = {**arrays, x: self.run(made_by, arrays)}
        state.step([np.ascontiguousarray(arrays[x]) for x in dict.fromkeys(op.inputs)])
        out = np.empty(self.draft.shapes[op.out], np.float32)
        assert strides_of("NHWC", out.shape)[2] == 1
        state.read(0, out)
        return out


def weighted_norm(difference: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(H, W): sqrt(sum over c of w_c d_c^2)."""
    found: NDArray[np.float64] = np.sqrt((difference**2 * weights).sum(axis=-1))
    return found


def check_within(stored: Floats, fresh: Floats, weights: NDArray[np.float64], tolerance: float, what: str) -> None:
    """Every pixel within the tolerance; pixels that are not finite are equal."""
    finite: Bools = np.asarray((np.isfinite(stored) & np.isfinite(fresh)).all(axis=-1))
    odd: Bools = ~finite & differing_pixels(stored, fresh)
    assert not odd.any(), f"{what}: {odd.sum()} pixels that are not finite differ"
    difference = np.where(finite[..., None], stored, 0).astype(np.float64) - np.where(finite[..., None], fresh, 0)
    worst = float(weighted_norm(difference, weights).max())
    assert worst <= tolerance * (1 + NORM_SLACK) + NORM_FLOOR, f"{what}: off by {worst}, tolerance {tolerance}"


def check_bounded(
    draft: Draft,
    alone: Alone,
    shot: Snapshot,
    frame: Sequence[Floats],
    tolerance: float,
    *,
    weights: dict[int, NDArray[np.float64]] | None = None,
) -> None:
    """Invariant 2. weights: of maps whose weights the user set; default 1 / (C sigma^2). Tolerance 0: bit for bit."""

    def check(x: int, fresh: Floats, what: str) -> None:
        sigma = shot.deviations[x].astype(np.float64)
        if weights and x in weights:
            check_within(shot.arrays[x], fresh, weights[x], tolerance, what)
        elif tolerance == 0 or not np.isfinite(sigma).all():  # a degenerate frame: this step was dense
            check_equal({x: shot.arrays[x]}, {x: fresh}, what)
        else:
            check_within(shot.arrays[x], fresh, 1.0 / (len(sigma) * sigma**2), tolerance, what)

    for i, (x, _) in enumerate(draft.inputs):
        check(x, frame[i], f"input {i}, map")
    for index, op in enumerate(draft.ops):
        if op.call.method == "join" or op.out not in shot.arrays:
            continue  # check_views; done with its reader
        fresh = alone.run(index, shot.arrays)
        what = f"op {index} {op.call.method}, map"
        if op.cut:
            check(op.out, fresh, what)
        else:
            check_equal({op.out: shot.arrays[op.out]}, {op.out: fresh}, what)
