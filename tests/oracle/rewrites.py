"""Rewrites to feed to the prover: right ones, by the rules on generated models, and wrong ones made of them.

A wrong one is a right one that something was done to (a weight perturbed, a bias dropped, channels permuted, an
attribute changed, inputs exchanged, another operator). Those of `tests.oracle.unguarded` are written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reconv.errors import ModelError
from reconv.exchange.rule import Example
from reconv.exchange.rules import RULES
from reconv.exchange.view import View, look
from reconv.graph import Node, Rewrite, parse

Array = np.ndarray[Any, Any]
Random = np.random.Generator


@dataclass(frozen=True, eq=False)
class Firing:
    """A rewrite and where it comes from."""

    name: str
    view: View
    rewrite: Rewrite


def example(of: Example, random: Random) -> View:
    """An example with other weights, where its weights are drawn."""
    weights = {
        name: given if isinstance(given, np.ndarray) else random.standard_normal(given).astype(np.float32)
        for name, given in of.weights.items()
    }
    return look(parse(of.text, weights, of.opset))


def firings(view: View) -> Iterator[Firing]:
    """Everything that the rules do to a model."""
    for rule in RULES:
        for node in view.graph.nodes:
            answer = rule.match(view, node)
            if isinstance(answer, Rewrite) and answer.outputs:
                yield Firing(rule.name, view, answer)


# --- models around the patterns ---


def _norm(random: Random, name: str, channels: int) -> dict[str, Array]:
    """Scale, shift, mean and variance; some scales are negative."""
    return {
        f"{name}_s": random.uniform(-0.5, 2.0, channels),
        f"{name}_b": random.standard_normal(channels),
        f"{name}_m": random.standard_normal(channels),
        f"{name}_v": random.uniform(0.1, 3.0, channels),
    }


def _window(random: Random, kernel: int) -> str:
    """Attributes of a convolution: strides, pads and dilations."""
    pads = [int(n) for n in random.integers(0, kernel, 4)] if random.random() < 0.6 else [0] * 4
    stride = [int(n) for n in random.integers(1, 3, 2)]
    dilation = int(random.integers(1, 3)) if kernel > 1 else 1
    return (
        f"kernel_shape = [{kernel}, {kernel}], strides = {stride}, pads = {pads}, dilations = [{dilation}, {dilation}]"
    )


def _pool(random: Random) -> str:
    pads = [int(n) for n in random.integers(0, 2, 4)]
    text = f"kernel_shape = [{random.integers(2, 4)}, {random.integers(2, 4)}], strides = [2, {random.integers(1, 3)}]"
    return f"{text}, pads = {pads}, ceil_mode = {random.integers(0, 2)}"


_ACTIVATIONS = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Clip", "HardSigmoid", "Softplus")
_RESIZES = (
    'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
    'mode = "linear", coordinate_transformation_mode = "half_pixel"',
    'mode = "linear", coordinate_transformation_mode = "align_corners"',
)


def model(random: Random) -> View:
    """A small random model around one of the patterns that rules look for."""
    kernel = int(random.choice((1, 3)))
    act = str(random.choice(_ACTIVATIONS))
    groups = int(random.choice((1, 2)))
    size = [int(n) for n in random.integers(7, 11, 2)]
    x = f"float[1, 4, {size[0]}, {size[1]}] x"
    w = {"w": random.standard_normal((6, 4 // groups, kernel, kernel)), "b": random.standard_normal(6)}
    one = {"w1": random.standard_normal((6, 4, 1, 1)), "b1": random.standard_normal(6)}
    two = {"w2": random.standard_normal((4, 6, 1, 1)), "b2": random.standard_normal(4)}
    norm = "n = BatchNormalization (x, n_s, n_b, n_m, n_v)"
    factor, shift = random.uniform(0.2, 3.0, (4, 1, 1)), random.standard_normal((4, 1, 1))
    conv = f"Conv <{_window(random, kernel)}, group = {groups}> (x, w, b)"
    pool = str(random.choice(("AveragePool", "MaxPool")))
    scales = np.array([1, 1, 2, 2], np.float32)
    resize = f"Resize <{random.choice(_RESIZES)}>"
    step, more = int(random.integers(1, 4)), int(random.integers(0, 2))
    deconv = f"strides = [{step}, {step}], pads = [{more}, 0, 1, {more}], output_padding = [{more * (step > 1)}, 0]"
    bodies: tuple[tuple[str, dict[str, Any]], ...] = (
        (f"c = {conv} n = BatchNormalization (c, n_s, n_b, n_m, n_v) y = {act} (n)", {**w, **_norm(random, "n", 6)}),
        (f"{norm} y = {conv.replace('(x', '(n')}", {**w, **_norm(random, "n", 4)}),
        (f"{norm} y = {pool} <{_pool(random)}> (n)", _norm(random, "n", 4)),
        (
            f"{norm} r = Relu (n) y = {conv.replace('(x', '(r')}",
            {**w, **_norm(random, "n", 4)},
        ),
        (f"c = Conv (x, w1, b1) y = {pool} <{_pool(random)}> (c)", one),
        (f"a = {act} (x) y = MaxPool <{_pool(random)}> (a)", {}),
        (f"c = Conv (x, w1, b1) y = {resize} (c, , up)", {**one, "up": scales}),
        (f"r = {resize} (x, , up) y = Conv (r, w1, b1)", {**one, "up": scales}),
        (f"r = {resize} (x, , up) y = {act} (r)", {"up": scales}),
        (f"c = {conv} y = Conv (c, w2, b2)", {**w, **two}),
        ("c = Conv (x, w1, b1) y = Conv (c, w2, b2)", {**one, **two}),
        (
            "a = Conv (x, w1, b1) j = Concat <axis = 1> (x, a) y = Conv <pads = [1, 0, 0, 1]> (j, w, b)",
            {**one, "w": random.standard_normal((3, 10, 2, 2)), "b": random.standard_normal(3)},
        ),
        (
            f"a = {conv} d = {conv.replace('(x, w, b)', '(x, w, z)')} p = {act} (a) q = Tanh (d) y = Add (p, q)",
            {**w, "z": random.standard_normal(6)},
        ),
        (f"c = {conv} y = GlobalAveragePool (c)", w),
        (
            f"y = ConvTranspose <{deconv}> (x, w, b)",
            {"w": random.standard_normal((4, 3, step + 1, step + 2)), "b": random.standard_normal(3)},
        ),
        (
            f"p = Pad (x, pads) y = {conv.replace('(x', '(p')}",
            {**w, "pads": np.array([0, 0, 1, 0, 0, 0, 2, 1], np.int64)},
        ),
        (
            "y = Conv <pads = [1, 1, 1, 1]> (x, w)",
            {"w": np.einsum("oi,a,b->oiab", *(random.standard_normal(n) for n in ((5, 4), 3, 3)))},
        ),
        (
            "c = Conv (x, w, b) y = DepthToSpace <blocksize = 2> (c)",
            {"w": random.standard_normal((8, 4, 3, 3)), "b": random.standard_normal(8)},
        ),
        ("p = Mul (x, m) q = Relu (p) y = Conv (q, w1, b1)", {**one, "m": factor}),
        ("p = Mul (x, m) q = Add (p, a) y = Conv (q, w1, b1)", {**one, "m": factor, "a": shift}),
    )
    body, arrays = bodies[int(random.integers(len(bodies)))]
    body = body.replace("Clip (x)", "Clip (x, low, high)").replace("Clip (n)", "Clip (n, low, high)")
    body = body.replace("Clip (r)", "Clip (r, low, high)").replace("Clip (a)", "Clip (a, low, high)")
    arrays = {**arrays, "low": np.array(-0.5), "high": np.array(1.5)}
    weights = {name: a if a.dtype == np.int64 else a.astype(np.float32) for name, a in arrays.items() if name in body}
    return look(parse(f"g ({x}) => (float[n, c, h, v] y) {{ {body} }}", weights, 17))


# --- doing something wrong to a right rewrite ---


def _floats(firing: Firing) -> dict[str, Array]:
    """Weights, biases and factors that the new side reads.

    Scales of a Resize are left out: with ``align_corners`` the reference implementation goes by the size before it is
    rounded down, ONNX Runtime and the prover by the size that comes out.
    """
    rewrite = firing.rewrite
    known = {**firing.view.graph.constants, **rewrite.constants}
    for node in rewrite.after:
        if node.op_type == "Resize":
            known.pop(node.inputs[2], None)
    read = [name for node in rewrite.after if node not in rewrite.before for name in node.reads if name in known]
    return {name: known[name] for name in read if known[name].dtype == np.float32 and known[name].size}


def _with_constant(firing: Firing, name: str, value: Array) -> Rewrite:
    """The rewrite with another array in the place of a constant of its new side."""
    fresh = f"{name}/wrong"
    after = tuple(
        replace(node, inputs=tuple(fresh if i == name else i for i in node.inputs))
        if node not in firing.rewrite.before
        else node
        for node in firing.rewrite.after
    )
    return Rewrite(firing.rewrite.before, after, {**firing.rewrite.constants, fresh: np.asarray(value, np.float32)})


def _with_node(rewrite: Rewrite, old: Node, new: Node | None) -> Rewrite:
    after = tuple(n for node in rewrite.after if (n := new if node is old else node) is not None)
    return Rewrite(rewrite.before, after, rewrite.constants)


def perturb_one(firing: Firing, random: Random) -> Rewrite | None:
    """One entry, by a relative 1e-7 to 1."""
    floats = _floats(firing)
    if not floats:
        return None
    name = str(random.choice(list(floats)))
    value = floats[name].astype(np.float64)
    value.flat[int(random.integers(value.size))] *= 1 + random.choice((-1, 1)) * 10 ** random.uniform(-7, 0)
    return _with_constant(firing, name, value)


def perturb_all(firing: Firing, random: Random) -> Rewrite | None:
    """Every entry, by a relative 1e-7 to 1, each its own."""
    floats = _floats(firing)
    if not floats:
        return None
    name = str(random.choice(list(floats)))
    size = 10 ** random.uniform(-7, 0)
    return _with_constant(firing, name, floats[name] * (1 + size * random.standard_normal(floats[name].shape)))


def scale_all(firing: Firing, random: Random) -> Rewrite | None:
    """Every entry by one factor."""
    floats = _floats(firing)
    if not floats:
        return None
    name = str(random.choice(list(floats)))
    return _with_constant(firing, name, floats[name] * (1 + 10 ** random.uniform(-7, 0)))


def permute(firing: Firing, random: Random) -> Rewrite | None:
    """The entries of an axis moved by one, or turned around."""
    floats = {name: a for name, a in _floats(firing).items() if a.size > 1}
    if not floats:
        return None
    name = str(random.choice(list(floats)))
    axis = int(random.choice([at for at, n in enumerate(floats[name].shape) if n > 1]))
    moved = np.roll(floats[name], 1, axis) if random.random() < 0.5 else np.flip(floats[name], axis)
    return _with_constant(firing, name, moved)


def drop_bias(firing: Firing, random: Random) -> Rewrite | None:
    nodes = [n for n in firing.rewrite.after if n.op_type in ("Conv", "ConvTranspose", "Gemm") and len(n.inputs) > 2]
    if not nodes:
        return None
    node = nodes[int(random.integers(len(nodes)))]
    return _with_node(firing.rewrite, node, replace(node, inputs=node.inputs[:2]))


def change_attribute(firing: Firing, random: Random) -> Rewrite | None:
    """A number up or down by one, a list turned around or one of its entries changed, a mode for another."""
    choices = [(n, key) for n in firing.rewrite.after if n not in firing.rewrite.before for key in n.attributes]
    if not choices:
        return None
    node, key = choices[int(random.integers(len(choices)))]
    value: Any = node.attributes[key]
    if isinstance(value, (bytes, str)):
        word = value.decode() if isinstance(value, bytes) else value
        others = {"linear": "nearest", "nearest": "linear", "DCR": "CRD", "CRD": "DCR", "NOTSET": "SAME_LOWER"}
        value = others.get(word, "align_corners" if word != "align_corners" else "half_pixel")
    elif isinstance(value, tuple) and value:
        at = int(random.integers(len(value)))
        entries = list(value)
        entries[at] += 1 if random.random() < 0.7 or not entries[at] else -1
        value = tuple(entries)
    elif isinstance(value, (int, float)):
        value = value + 1 if random.random() < 0.7 else -value
    else:
        return None
    return _with_node(firing.rewrite, node, replace(node, attributes={**node.attributes, key: value}))


def exchange_inputs(firing: Firing, random: Random) -> Rewrite | None:
    """Two inputs, or two outputs of a Split, in each other's place."""
    nodes = [n for n in firing.rewrite.after if n.op_type in ("Concat", "Sub", "Div", "Split", "Pow")]
    nodes = [n for n in nodes if n not in firing.rewrite.before and max(len(n.inputs), len(n.outputs)) > 1]
    if not nodes:
        return None
    node = nodes[int(random.integers(len(nodes)))]
    if node.op_type == "Split":
        return _with_node(firing.rewrite, node, replace(node, outputs=node.outputs[::-1]))
    return _with_node(firing.rewrite, node, replace(node, inputs=node.inputs[::-1]))


_OTHERS = {
    "MaxPool": "AveragePool",
    "AveragePool": "MaxPool",
    "Relu": "LeakyRelu",
    "LeakyRelu": "Relu",
    "Max": "Min",
    "Min": "Max",
    "Add": "Sub",
    "Mul": "Add",
    "Sigmoid": "HardSigmoid",
    "Tanh": "Softsign",
    "HardSwish": "Mish",
    "GlobalAveragePool": "GlobalMaxPool",
    "DepthToSpace": "SpaceToDepth",
    "Softplus": "Relu",
    "HardSigmoid": "Sigmoid",
}


def other_operator(firing: Firing, random: Random) -> Rewrite | None:
    """Another operator of the same kind, or none at all."""
    nodes = [n for n in firing.rewrite.after if n not in firing.rewrite.before]
    if not nodes:
        return None
    node = nodes[int(random.integers(len(nodes)))]
    keep = {} if node.op_type not in ("MaxPool", "AveragePool", "DepthToSpace") else dict(node.attributes)
    keep.pop("count_include_pad", None)
    keep.pop("mode", None)
    kind = _OTHERS.get(node.op_type, "Identity")
    inputs = node.inputs[:1] if kind == "Identity" else node.inputs
    return _with_node(firing.rewrite, node, replace(node, op_type=kind, inputs=inputs, attributes=keep))


HARMS: tuple[Callable[[Firing, Random], Rewrite | None], ...] = (
    perturb_one,
    perturb_all,
    scale_all,
    permute,
    drop_bias,
    change_attribute,
    exchange_inputs,
    other_operator,
)


_SMALL: tuple[str, ...] = (
    "y = Conv <pads = [1, 1, 1, 1]> (x, w)",
    "y = Conv <group = 2> (x, half, b)",
    "y = ConvTranspose <strides = [2, 2]> (x, turned)",
    "c = Conv (x, w, b) y = AveragePool <kernel_shape = [2, 2]> (c)",
    "c = Conv (x, w, b) y = MaxPool <kernel_shape = [2, 2]> (c)",
    "c = Conv (x, w, b) y = GlobalAveragePool (c)",
    'c = Conv (x, w) y = Resize <mode = "linear"> (c, , up)',
    "c = Conv (x, w) p = Pad (c, pads) y = LeakyRelu (p)",
    "c = Conv (x, w) t = Transpose <perm = [0, 2, 3, 1]> (c) m = Mul (t, last) y = Transpose <perm = [0, 3, 1, 2]> (m)",
    "c = Conv <pads = [1, 1, 1, 1]> (x, w) n = Neg (x) j = Concat <axis = 1> (c, n) y = Conv <group = 10> (j, each)",
    "f = Transpose <perm = [0, 2, 3, 1]> (x) m = MatMul (f, matrix) y = Transpose <perm = [0, 3, 1, 2]> (m)",
)


def small_channels(random: Random) -> Iterator[tuple[Firing, Rewrite]]:
    """Layers whose channels have magnitudes of their own, 1e12 apart: the same again, and off in the smallest."""
    sizes = 10 ** random.permutation([6.0, -6.0, 0.0, 3.0, -2.0, 1.0])
    small = int(sizes.argmin())
    normal = random.standard_normal
    arrays = {
        "w": normal((6, 4, 3, 3)) * sizes.reshape(6, 1, 1, 1),
        "half": normal((6, 2, 3, 3)) * sizes.reshape(6, 1, 1, 1),
        "turned": normal((4, 6, 3, 3)) * sizes.reshape(1, 6, 1, 1),
        "matrix": normal((4, 6)) * sizes,
    }
    more = {"b": normal(6) * sizes, "last": normal(6), "each": normal((10, 1, 1, 1))}
    more |= {"up": np.array([1, 1, 2, 2.0]), "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1])}
    typed = {n: a if a.dtype == np.int64 else a.astype(np.float32) for n, a in {**arrays, **more}.items()}
    for body in _SMALL:
        named = {word.strip("(),") for word in body.split()}
        constants = {name: a for name, a in typed.items() if name in named}
        view = look(parse(f"g (float[1, 4, 7, 8] x) => (float[n, c, h, v] y) {{ {body} }}", constants, 17))
        name = next(n for n in arrays if n in named)
        off = typed[name].copy()
        channel = np.moveaxis(off, 0 if name in ("w", "half") else 1, 0)[small]
        channel.flat[int(random.integers(channel.size))] *= 1 + 10 ** random.uniform(-4, 0)
        nodes = tuple(
            replace(node, name=f"{node.name}/new", inputs=tuple(f"{name}/new" if i == name else i for i in node.inputs))
            for node in view.graph.nodes
        )
        right = Rewrite(view.graph.nodes, nodes, {f"{name}/new": typed[name]})
        yield Firing(body, view, right), replace(right, constants={f"{name}/new": off})


def refused(random: Random) -> Iterator[View]:
    """The counter-examples of the rules, for what they contain beside the pattern that is refused."""
    for rule in RULES:
        for of in rule.refused.values():
            try:
                yield example(of, random)
            except ModelError:
                continue
