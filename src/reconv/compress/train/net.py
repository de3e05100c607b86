"""An ONNX graph as a torch module, and what it has learnt back in the graph's constants.

    net = Net(graph)
    maps = net({"images": torch.rand(8, 3, 224, 224)}, ["probabilities"])
    ...                                       # net.parameters() are the weights of the graph
    trained = net.graph()                     # the same nodes, new constants

The nodes are walked in order, one function of `OPERATORS` each. What does not depend on the samples (constants, shape
arithmetic) is computed once by ONNX's reference implementation and kept. Codes of QDQ models are trained as the floats
that they stand for, and come back as codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn

from reconv.compress.train.call import Array, Call
from reconv.compress.train.ceilings import ceilings
from reconv.compress.train.codes import LEAST_SCALE, coded, faked, meant
from reconv.compress.train.operators import OPERATORS
from reconv.compress.train.weights import find_weights
from reconv.errors import InputError, ModelError
from reconv.graph import Graph, Node, draws_at_random, evaluate, with_constants

__all__ = ["Net"]

Tensor = torch.Tensor
_KEPT = 256  # results of shape arithmetic that are kept per node; sizes of samples may differ


class Net(nn.Module):
    """A graph that learns. In ``train()`` mode batch norms learn their statistics if ``norm`` is "training"."""

    def __init__(
        self,
        graph: Graph,
        *,
        norm: Literal["training", "frozen"] = "training",
        scales: Literal["fixed", "learned"] = "fixed",
    ) -> None:
        """
        Args:
            graph: any; batch norms may be nodes or folded.
            norm: "frozen" leaves the statistics of batch norms alone; their scale and shift learn all the same.
            scales: whether the scales of QuantizeLinear and DequantizeLinear are trained too (LSQ).

        Raises:
            ModelError: a node whose operator has no function here, or that draws random numbers; the message names it.
        """
        super().__init__()
        self._graph, self._norm = graph, norm
        self._still: dict[str, Array] = dict(graph.constants)
        self._memo: dict[tuple[str, ...], dict[bytes, tuple[Array, ...]]] = {}
        self._found = find_weights(graph)
        self._index: dict[str, int] = {}  # of a constant among the parameters
        self.weights = nn.ParameterList()
        for name in self._found.floats:
            self._learn([name], graph.constants[name])
        for name, codes in self._found.codes.items():
            self._learn([name], meant(graph, name, codes))
        self._gain: dict[str, float] = {}
        self._ceilings: dict[str, float] = {}
        if scales == "learned":
            self._learn_scales(graph)
        for place, name in enumerate(self._found.statistics):
            self.register_buffer(f"statistic_{place}", torch.tensor(graph.constants[name]))
        # float constants as tensors, once; they are no buffers because a checkpoint need not hold them
        taken = {*self._index, *self._found.statistics}
        self._fixed = {k: torch.tensor(v) for k, v in self._still.items() if v.dtype == np.float32 and k not in taken}
        self._sized: set[str] = set()  # values that hang on the sizes of the inputs alone
        self._uses: dict[tuple[str, ...], dict[int, list[str]]] = {}
        self._plan = self._planned(graph)

    @property
    def coded(self) -> bool:
        """Whether some value is rounded to codes on the way."""
        return any(node.op_type == "QuantizeLinear" for node, _ in self._plan)

    def _learn(self, names: Sequence[str], array: Array) -> None:
        self._index.update((name, len(self.weights)) for name in names)
        tensor = torch.tensor(array, dtype=torch.float32)
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        self.weights.append(nn.Parameter(tensor))
        for name in names:
            self._still.pop(name, None)

    def _learn_scales(self, graph: Graph) -> None:
        readers = {name: node for node in graph.nodes for name in node.inputs[1:2] if node.op_type == "QuantizeLinear"}
        for head, names in self._found.scales.items():
            # Esser et al. (2020), section 2.2: steps of a scale as large as those of what it scales. How many values
            # an activation has is not known here; its gradients are averaged over the batch by the loss.
            node = readers.get(head)
            values = max(graph.constants[name].size for name in (names if node is None else [head]))
            coded = [graph.constants[k].size for k, c in self._found.codes.items() if c.scale in names]
            self._gain.update((name, 1 / math.sqrt(max([values, *coded]) * 127)) for name in names)
            self._learn(names, graph.constants[head])
        for head, ceiling in ceilings(graph, self._found.scales).items():
            self._ceilings.update((name, ceiling) for name in self._found.scales[head])

    def _planned(self, graph: Graph) -> list[tuple[Node, bool]]:
        """The nodes that outputs need, each with whether it may be known without samples."""
        still = set(self._still) - set(self._found.statistics)
        plan = []
        for node in graph.nodes:
            known = all(name in still for name in node.reads) and not draws_at_random(node, graph)
            if known:
                for name, array in zip(node.outputs, self._ahead(node, self._still), strict=True):
                    self._still[name] = array
                    if array.dtype == np.float32:
                        self._fixed[name] = torch.tensor(array)
                still.update(node.outputs)
                continue
            if draws_at_random(node, graph):
                raise ModelError(f"{node.name!r} ({node.op_type}) draws random numbers, and cannot be trained")
            shape = node.op_type in ("Shape", "Size")
            from_shapes = not shape and all(name in still or name in self._sized for name in node.reads)
            if shape or from_shapes:
                self._sized.update(node.outputs)
            elif node.domain or node.op_type not in OPERATORS:
                kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
                raise ModelError(f"{node.name!r} ({kind}) cannot be trained: no torch function for this operator")
            plan.append((node, shape or from_shapes))
        return plan

    def _ahead(self, node: Node, still: Mapping[str, Array]) -> tuple[Array, ...]:
        """One node on numbers, remembered."""
        arrays = [still[name] if name else None for name in node.inputs]
        known = self._memo.setdefault(node.outputs, {})
        key = b"".join(b"-" if a is None else repr(a.shape).encode() + a.tobytes() for a in arrays)
        if key not in known:
            if len(known) >= _KEPT:
                known.clear()
            known[key] = evaluate(node, arrays, self._graph.opset)
        return known[key]

    # --- running

    def parameter(self, constant: str) -> Tensor | None:
        """The parameter that is trained in the place of a constant; None for a constant that is not."""
        return self.weights[self._index[constant]] if constant in self._index else None

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the constants that are trained."""
        return tuple(self._index)

    def forward(self, feeds: Mapping[str, Tensor], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Values by name (None: the outputs of the model), for tensors of all its inputs.

        Raises:
            InputError: an input is missing, or a name is no value of the model.
            ModelError: a node does not work on these sizes.
        """
        wanted = [info.name for info in self._graph.outputs] if names is None else list(names)
        for info in self._graph.inputs:
            if info.name not in feeds:
                raise InputError(
                    f"the input {info.name!r} is missing; the model wants {', '.join(map(str, self._graph.inputs))}"
                )
        values: dict[str, Tensor] = {**self._fixed, **feeds}
        for place, name in enumerate(self._found.statistics):
            values[name] = self.get_buffer(f"statistic_{place}")
        for name, place in self._index.items():
            values[name] = self._parameter(name, self.weights[place])
        still = dict(self._still)
        missing = set(wanted)
        learning = self.training and self._norm == "training"
        last = self._last_uses(tuple(wanted))
        for step, (node, ahead) in enumerate(self._plan):
            missing.difference_update(values)
            if not missing:
                break
            if node.op_type in ("Shape", "Size") and ahead:
                still[node.outputs[0]] = self._size(node, values, still)
                continue
            if ahead and all(name in still for name in node.reads):
                still.update(zip(node.outputs, self._ahead(node, still), strict=True))
                continue
            tensors, numbers = [values.get(name) for name in node.inputs], [still.get(name) for name in node.inputs]
            results = self._run(Call(node, tensors, numbers, self._graph.opset, learning))
            values.update(zip(node.outputs, results, strict=False))
            for name in last.get(step, ()):
                del values[name]
        found = {}
        for name in wanted:
            if name not in values and name not in still:
                raise InputError(f"the model has no value {name!r}")
            found[name] = values[name] if name in values else torch.tensor(still[name])
        return found

    def _last_uses(self, wanted: tuple[str, ...]) -> Mapping[int, list[str]]:
        """Values that may go after each step, so that a run without gradients holds no more maps than it needs."""
        if wanted not in self._uses:
            last = {name: step for step, (node, _) in enumerate(self._plan) for name in node.reads}
            made = {name for node, _ in self._plan for name in node.outputs}
            self._uses[wanted] = {}
            for name, step in last.items():
                if name in made and name not in wanted and name not in self._sized:
                    self._uses[wanted].setdefault(step, []).append(name)
        return self._uses[wanted]

    def _parameter(self, name: str, weight: Tensor) -> Tensor:
        if name in self._gain:
            moving = weight.abs() * self._gain[name]  # what the gradient sees; it passes both bounds, to come back
            return moving + (self._bounded(name, weight) - moving).detach()
        return weight

    def _bounded(self, name: str, weight: Tensor) -> Tensor:
        """A scale that has learnt: positive, and not above its ceiling."""
        return weight.abs().clamp(LEAST_SCALE, self._ceilings.get(name))

    def _size(self, node: Node, values: Mapping[str, Tensor], still: Mapping[str, Array]) -> Array:
        name = node.inputs[0]
        shape = tuple(values[name].shape) if name in values else still[name].shape
        if node.op_type == "Size":
            return np.asarray(math.prod(shape), np.int64)
        begin, end = (node.attributes.get(key) for key in ("start", "end"))
        return np.asarray(shape[begin:end], np.int64)

    def _run(self, call: Call) -> tuple[Tensor, ...]:
        node = call.node
        try:
            if node.op_type == "DequantizeLinear" and node.inputs[0] in self._found.codes:
                return (faked(call, self._graph.constants[node.inputs[0]].dtype),)
            result = OPERATORS[node.op_type](call)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if isinstance(error, ModelError):
                raise
            said = " ".join(str(error).split())[:200]
            raise ModelError(f"{node.name!r} ({node.op_type}) does not work in training: {said}") from error
        return result if isinstance(result, tuple) else (result,)

    def freeze_norms(self) -> None:
        """From now on batch norms leave their statistics alone."""
        self._norm = "frozen"

    # --- back to the graph

    def gradients(self) -> dict[str, Array]:
        """The last gradient by every trained constant, zero where none came, in the constant's shape."""
        found = {}
        for name, place in self._index.items():
            gradient, shape = self.weights[place].grad, self._graph.constants[name].shape
            found[name] = np.zeros(shape, np.float32) if gradient is None else _numpy(gradient).reshape(shape)
        return found

    def graph(self) -> Graph:
        """The graph with what has been learnt in its constants: weights, codes, statistics, scales if they learn."""
        made: dict[str, Array] = {}
        with torch.no_grad():
            for name in self._found.floats:
                made[name] = _numpy(self.weights[self._index[name]])
            for names in self._found.scales.values():
                for name in names:
                    if name in self._index:
                        made[name] = _numpy(self._bounded(name, self.weights[self._index[name]]))
            for place, name in enumerate(self._found.statistics):
                made[name] = _numpy(self.get_buffer(f"statistic_{place}"))
            for name, codes in self._found.codes.items():
                made.update(coded(self._graph, name, codes, self.weights[self._index[name]].detach(), made))
        shaped = {name: array.reshape(self._graph.constants[name].shape) for name, array in made.items()}
        return with_constants(self._graph, shaped)


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy().copy()
