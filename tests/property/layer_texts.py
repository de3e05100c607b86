"""Layers in ONNX's text format, for drawn models: attributes, outputs of free sizes, and convolutions."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from reconv.exchange.rules import RULES
from tests.property.profiles import examples

__all__ = ["FEW", "LAYERS", "attributes", "convolutions", "ints", "outputs", "plain", "seeds", "sizes", "text_of"]

LAYERS = [rule for rule in RULES if rule.family == "layer"]
FEW = examples(20)
ints = st.integers
seeds = ints(0, 1000)


def sizes(*shape: int | str) -> str:
    return ", ".join(map(str, shape))


def attributes(**given: Any) -> str:
    """As ONNX's text format writes them; those that are None or "" are left out."""
    words = {k: f'"{v}"' if isinstance(v, str) else list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    kept = {k: words[k] for k, v in given.items() if v is not None and v != ""}
    return "<" + ", ".join(f"{k} = {v}" for k, v in kept.items()) + ">" if kept else ""


def outputs(names: dict[str, int]) -> str:
    return ", ".join(f"float[{sizes(*(f'{name}{i}' for i in range(rank)))}] {name}" for name, rank in names.items())


@st.composite
def convolutions(draw: st.DrawFn, space: int, one: bool = False, groups: int = 1) -> dict[str, Any]:
    """Attributes of a Conv, ``kernel`` among them."""
    kernel = (1,) * space if one else tuple(draw(ints(1, 3)) for _ in range(space))
    pads = tuple(draw(ints(0, 2 if not one else 0)) for _ in range(2 * space))
    auto = draw(st.sampled_from(["", "", "VALID", "SAME_UPPER"]))
    return {
        "kernel": kernel,
        "strides": draw(st.sampled_from([None, (1,) * space, (2,) * space])),
        "dilations": draw(st.sampled_from([None, (1,) * space, (2,) * space])) if not auto else None,
        "pads": None if auto else pads,
        "auto_pad": auto,
        "group": groups if groups > 1 else None,
    }


def text_of(conv: dict[str, Any]) -> str:
    return attributes(**{key: value for key, value in conv.items() if key != "kernel"})


def plain(conv: dict[str, Any]) -> bool:
    """A 1x1 convolution over every pixel."""
    padded = any(conv["pads"] or ())
    return set(conv["kernel"]) == {1} and not padded and set(conv["strides"] or (1,)) == {1}
