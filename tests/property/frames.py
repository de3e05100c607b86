"""Random frame sequences: what a stream may see. A frame is one (H, W, C) array per input of a draft."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from tests.property.plans import Draft, Draw, Floats

KINDS = ("patch", "patch", "pixel", "pixel", "noise", "faint", "same", "zero", "minus zero", "back")
NOT_FINITE = (np.nan, np.inf, -np.inf)


@dataclass(frozen=True)
class Edit:
    """How a frame differs from the one before; positions are shares of the map's size."""

    kind: str
    y: float = 0.0
    x: float = 0.0
    height: float = 0.3
    width: float = 0.3
    seed: int = 0
    back: int = 0  # "back": to this frame of the sequence


@st.composite
def edits(draw: Draw, most: int = 6, finite: bool = False) -> list[Edit]:
    """At least two edits; `finite`: without NaN and infinity."""
    kinds = KINDS if finite else (*KINDS, "not finite")
    share = st.sampled_from((0.0, 0.1, 0.3, 0.5, 0.7, 0.95))
    edit = st.builds(
        Edit,
        kind=st.sampled_from(kinds),
        y=share,
        x=share,
        height=st.sampled_from((0.05, 0.3, 1.0)),
        width=st.sampled_from((0.05, 0.3, 1.0)),
        seed=st.integers(0, 255),
        back=st.integers(0, 3),
    )
    found: list[Edit] = draw(st.lists(edit, min_size=2, max_size=most))
    return found


def _apply(frame: Floats, edit: Edit) -> Floats:
    random = np.random.default_rng(edit.seed)
    height, width, channels = frame.shape
    top, left = int(edit.y * height), int(edit.x * width)
    bottom, right = top + max(1, round(edit.height * height)), left + max(1, round(edit.width * width))
    if edit.kind == "pixel":
        bottom, right = top + 1, left + 1
    new = frame.copy()
    area = new[top:bottom, left:right]
    if edit.kind in ("patch", "pixel"):
        area[...] = random.standard_normal(area.shape)
    elif edit.kind == "noise":
        new = random.standard_normal(frame.shape).astype(np.float32)
    elif edit.kind == "faint":  # what tolerances are for
        new += (0.02 * random.standard_normal(frame.shape)).astype(np.float32)
    elif edit.kind == "zero":
        area[...] = 0.0
    elif edit.kind == "minus zero":
        area[...] = -0.0
    elif edit.kind == "not finite":
        area[..., random.integers(channels)] = NOT_FINITE[edit.seed % 3]
    return new


def sequence(draft: Draft, edits: list[Edit], seed: int = 1) -> list[list[Floats]]:
    """The first frame (noise) and one frame per edit; an edit changes one of the inputs."""
    random = np.random.default_rng(seed)
    frames = [[random.standard_normal(draft.shapes[x]).astype(np.float32) for x, _ in draft.inputs]]
    for edit in edits:
        last = frames[-1]
        if edit.kind == "back":
            frames.append(frames[min(edit.back, len(frames) - 1)])
        else:
            which = edit.seed // 3 % len(last)
            frames.append([_apply(x, edit) if i == which else x for i, x in enumerate(last)])
    return frames


def make_edits(seed: int, count: int = 5) -> list[Edit]:
    """Edits from a seed."""
    random = np.random.default_rng(seed)
    share = (0.0, 0.1, 0.3, 0.5, 0.7, 0.95)
    return [
        Edit(
            str(random.choice((*KINDS, "not finite"))),
            y=float(random.choice(share)),
            x=float(random.choice(share)),
            height=float(random.choice((0.05, 0.3, 1.0))),
            width=float(random.choice((0.05, 0.3, 1.0))),
            seed=int(random.integers(256)),
            back=int(random.integers(4)),
        )
        for _ in range(count)
    ]
