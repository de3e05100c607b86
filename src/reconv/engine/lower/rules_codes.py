"""Fusion rules on quantized maps: what only moves values moves codes, and what is said twice is done once.

None of these rules changes a bit: dequantizing is the same for every element and keeps their order, quantizing as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reconv.engine.lower import draft as d
from reconv.engine.lower import draft_codes as c
from reconv.engine.lower.rules_moves import strided, times

__all__ = ["focused", "framed", "joined", "pulled", "pushed", "pushed_into_parts", "requantized", "twins"]

Moving = d.Copy | d.Gather | d.Pick | d.Pad | d.View | d.MaxPool | d.Resize


def twins(draft: d.Draft, op: d.Op) -> bool:
    """quantize(x), quantize(x) alike -> one; dequantize as well."""
    if not isinstance(op, (c.Quantize, c.Dequantize)) or op.out in draft.outputs:
        return False
    for other in draft.ops:
        if other is op:
            return False
        if isinstance(other, type(op)) and other.x == op.x and _said(draft, other) == _said(draft, op):
            draft.redirect(op.out, other.out)
            other.nodes |= op.nodes
            draft.put([op], [])
            return True
    return False


def _said(draft: d.Draft, op: c.Quantize | c.Dequantize) -> d.Codes:
    return op.x_codes if isinstance(op, c.Dequantize) else draft.codes[op.out]


def pulled(draft: d.Draft, op: d.Op) -> bool:
    """move(dequantize(x)) -> dequantize(move(x))."""
    if not isinstance(op, Moving):
        return False
    below = draft.made_by(op.x, c.Dequantize, alone=False)
    moved = None if below is None else on_codes(draft, op, below.x, below.x_codes)
    if below is None or moved is None:
        return False
    draft.put([op], [moved, c.Dequantize(x=moved.out, x_codes=below.x_codes, out=op.out, nodes=below.nodes)])
    draft.sweep()
    return True


def pushed(draft: d.Draft, op: d.Op) -> bool:
    """quantize(move(x)) -> move(quantize(x))."""
    below = draft.producer.get(op.x) if isinstance(op, c.Quantize) else None
    if not isinstance(below, Moving) or isinstance(below, d.View) or draft.uses[below.out] != 1:
        return False
    if draft.uses[below.x] != 1 or (draft.maps[below.x].size > draft.maps[op.out].size and not _pool(below)):
        return False
    codes = draft.codes[op.out]
    first = c.Quantize(x=below.x, out=draft.map(draft.maps[below.x], codes), nodes=op.nodes)
    moved = on_codes(draft, below, first.out, codes, op.out)
    if moved is None:
        return False
    draft.put([below, op], [first, moved])
    return True


def _pool(op: d.Op) -> bool:
    return isinstance(op, d.MaxPool)


def on_codes(draft: d.Draft, op: Moving, x: int, codes: d.Codes, out: int = -1) -> Moving | None:
    """The op on a map of codes, or None where codes cannot do it; it writes a new map unless ``out`` is one."""
    fill = 0.0
    if isinstance(op, (d.Gather, d.Pad)):
        code = np.rint(np.float64(op.fill) / codes.scale) + codes.zero
        used = isinstance(op, d.Pad) or bool((op.index < 0).any())
        fits = 0 <= code <= 255 and np.float32(code - codes.zero) * np.float32(codes.scale) == np.float32(op.fill)
        if used and not fits:
            return None
        fill = float(code) if used else 0.0
    if isinstance(op, d.Resize) and (op.wy.any() or op.wx.any()):
        return None
    if out < 0:
        out = draft.map(draft.maps[op.out], codes)
    if isinstance(op, d.View) and op.first % 4:  # views of codes begin at whole words
        numbers = np.arange(draft.maps[x].size, dtype=np.int32).reshape(draft.maps[x])
        index = np.ascontiguousarray(numbers[:, :, op.first : op.first + draft.maps[out].channels])
        return d.Gather(x=x, out=out, index=index, nodes=op.nodes)
    if isinstance(op, (d.Gather, d.Pad)):
        return replace(op, x=x, out=out, fill=fill)
    return replace(op, x=x, out=out)


def joined(draft: d.Draft, op: d.Op) -> bool:
    """concat(dequantize(x), dequantize(y)) of one scale -> dequantize(concat(x, y))."""
    if not isinstance(op, d.Assemble) or not aligned(op):
        return False
    parts = [draft.made_by(part, c.Dequantize, alone=False) for part, _ in op.parts]
    if any(part is None or part.x_codes != parts[0].x_codes for part in parts) or parts[0] is None:  # type: ignore[union-attr]
        return False
    codes = parts[0].x_codes
    placed = [(part.x, where) for part, (_, where) in zip(parts, op.parts, strict=True) if part is not None]
    whole = replace(op, out=draft.map(draft.maps[op.out], codes), parts=placed)
    draft.put([op], [whole, c.Dequantize(x=whole.out, x_codes=codes, out=op.out, nodes=parts[0].nodes)])
    draft.sweep()
    return True


def pushed_into_parts(draft: d.Draft, op: d.Op) -> bool:
    """quantize(concat(x, y)) -> concat(quantize(x), quantize(y))."""
    whole = draft.made_by(op.x, d.Assemble) if isinstance(op, c.Quantize) else None
    if whole is None or not aligned(whole):
        return False
    codes = draft.codes[op.out]
    firsts = [c.Quantize(x=x, out=draft.map(draft.maps[x], codes), nodes=op.nodes) for x, _ in whole.parts]
    parts = [(first.out, where) for first, (_, where) in zip(firsts, whole.parts, strict=True)]
    joint = d.Assemble(out=op.out, parts=parts, nodes=whole.nodes)
    draft.put([whole, op], [*firsts, joint])
    return True


def aligned(op: d.Assemble) -> bool:
    """Whether every part of the channels begins at a whole word of codes."""
    return all(where.first % 4 == 0 for _, where in op.parts if isinstance(where, d.Channels))


def requantized(draft: d.Draft, op: d.Op) -> bool:
    """quantize(dequantize(x)) -> x where both say the same, else requantize(x)."""
    below = draft.made_by(op.x, c.Dequantize, alone=False) if isinstance(op, c.Quantize) else None
    if below is None:
        return False
    if below.x_codes == draft.codes[op.out] == draft.codes[below.x]:
        draft.redirect(op.out, below.x)
        draft.put([op], [])
    else:
        draft.put([op], [c.Requantize(x=below.x, x_codes=below.x_codes, out=op.out, nodes=op.nodes)])
    draft.sweep()
    return True


def focused(draft: d.Draft, op: d.Op) -> bool:
    """conv8 of the concat of what a stride leaves of x, all of one scale -> conv8 of x with larger strides.

    Parts that do not begin at whole words of codes are joined as floats, which takes nothing from them.
    """
    if not isinstance(op, c.Conv8) or op.groups != 1 or op.dilations != (1, 1):
        return False
    again = draft.made_by(op.x, c.Quantize)
    whole = draft.made_by(op.x if again is None else again.x, d.Assemble)
    if whole is None:
        return False
    floats = [draft.made_by(part, c.Dequantize) for part, _ in whole.parts] if again is not None else []
    codes = {draft.codes[op.x], op.x_codes} | {f.x_codes for f in floats if f is not None}
    places = [place for _, place in whole.parts]
    maps = [part for part, _ in whole.parts] if again is None else [-1 if f is None else f.x for f in floats]
    picks = [draft.made_by(x, d.Pick) for x in maps]
    found = strided(draft, list(zip(picks, places, strict=True)), op.weight)
    if found is None or codes | {draft.codes[found.x]} != {op.x_codes}:
        return False
    between = [other for other in (again, *floats) if other is not None]
    strides, pads = times(op.strides, found.steps), times(op.pads, found.steps)
    new = replace(op, x=found.x, weight=found.weight, strides=strides, pads=pads)
    draft.swap([op, whole, *between, *found.gone], new)
    return True


def framed(draft: d.Draft, op: d.Op) -> bool:
    """conv(pad(x, zero)) -> conv with larger pads: around codes a convolution reads their zero."""
    if not isinstance(op, c.Conv8):
        return False
    frame = draft.made_by(op.x, d.Pad)
    if frame is None or frame.fill != op.x_codes.zero or draft.codes[op.x].zero != op.x_codes.zero:
        return False
    pads = (op.pads[0] + frame.before[0], op.pads[1] + frame.before[1])
    draft.swap([op, frame], replace(op, x=frame.x, pads=pads))
    return True
