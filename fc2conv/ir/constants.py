"""What is constant in a scope, and where its values are stored.

A constant is an initializer that no caller can replace, a Constant or ConstantOfShape node, or what a chain of
nodes makes of those. Chains of pure layout (Transpose, Reshape, Identity ...) are not computed: the constant is the
stored tensor seen through a layout over its axes, so that a weight stays on disk until it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from fc2conv.io.custom_ops import ROUNDING
from fc2conv.io.reader import ModelFile
from fc2conv.ir.arithmetic import INT64, MOST, TABLE, Call, Numbers, evaluate
from fc2conv.ir.element_types import as_cast
from fc2conv.ir.folding import EXACT, FOLDED, LAYOUT, folded
from fc2conv.ir.graph import Graph, attribute, int_attribute, op, own_op, permutation
from fc2conv.ir.stored import QUANTIZERS, Replay, Stored, base_layout, constant_node, rounded, scales_of, stored_values
from fc2conv.layout.axes import Dim, Size, regroup
from fc2conv.layout.relayout import rearrange

_REPLAYED = QUANTIZERS | {"Cast"}
RANDOM = frozenset("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial".split())
"""Operators whose results are not the same on every run."""
VARYING = RANDOM | {"If", "Loop", "Scan"}
"""Those, and operators with bodies: whether they are constants is not looked at."""


class Constants:
    """The constants that a scope sees, its own and those of outer scopes."""

    def __init__(self, graph: Graph, file: ModelFile, outer: Constants | None = None, *, expand: bool = False) -> None:
        self.graph = graph
        self.file = file
        self.outer = outer
        self.expand = expand
        self._memo: dict[str, Stored | None] = {}
        self._arrays: dict[str, np.ndarray | None] = {}
        self._numbers: dict[str, Numbers | None] = {}
        self._ints: dict[str, tuple[int, ...] | None] = {}
        self._cuts: dict[str, np.ndarray] = {}
        self.forms: dict[object, Any] = {}
        """Other forms of constants, which whoever found them keeps here."""
        self.by_sizes: set[str] = set()
        """Constants that follow from the sizes of other values, so that nodes compute them on every run."""

    @cached_property
    def _names(self) -> set[str]:
        names = set(self.graph.initializers) - self.graph.overridable
        if self.outer is not None:
            names |= {name for name, around in self.graph.unchanged.items() if self.outer.is_constant(around)}
        return self._with_results(names, {})

    def cut(self, numbers: Mapping[str, Numbers]) -> None:
        """Treat as constant what a Slice cuts out of a constant by known numbers, e.g. by sizes of another value.

        Treat what nodes make of that as constant, too.
        """
        kinds = enumerate(self.graph.kinds)
        slices = [i for i, kind in kinds if kind == "Slice" and self.is_constant(self.graph.operands[i][0])]
        if not all(self.is_constant(self.graph.results[i][0]) for i in slices):
            before = set(self._names)
            self.by_sizes = self._with_results(self._names, numbers) - before

    def _with_results(self, names: set[str], numbers: Mapping[str, Numbers]) -> set[str]:
        """Add the results of nodes on constants to `names`, and return it; a Slice may be cut by known numbers."""
        for node, operands in zip(self.graph.nodes, self.graph.operands, strict=True):
            if operands and operands[0] and operands[0] not in names and not self._outside(operands[0]):
                continue
            kind = own_op(node)
            custom = "::" in kind and kind not in ROUNDING
            if kind in VARYING or custom or any(a.ref_attr_name or a.name == "body" for a in node.attribute):
                continue
            read = operands[:1] if kind == "CastLike" else operands
            rest = [name for name in read if name and name not in names and not self._outside(name)]
            if kind == "Slice" and rest:
                known = {name: each for name in rest if (each := numbers.get(name)) is not None and each.known}
                self._cuts.update((name, each.array()) for name, each in known.items())
                rest = [name for name in rest if name not in known]
            if not rest:
                names.update(name for name in node.output if name)
        return names

    def _outside(self, name: str) -> bool:
        if self.outer is None:
            return False
        local = name in self.graph.producer or name in self.graph.initializers or name in self.graph.inputs
        return not local and self.outer.is_constant(name)

    def makes(self, results: Iterable[str]) -> bool:
        """Return whether the results of a node of the scope are the same on every run."""
        return not self._names.isdisjoint(results) or not any(results)

    def is_constant(self, name: str) -> bool:
        """Return whether a value is the same on every run."""
        return bool(name) and (name in self._names or (self.outer is not None and self._outside(name)))

    def is_overridable(self, name: str) -> bool:
        """Return whether a value is an initializer that a caller may replace by an input."""
        return name in self.graph.overridable or (
            self.outer is not None and name not in self.graph.producer and self.outer.is_overridable(name)
        )

    def define(self, name: str, values: np.ndarray) -> None:
        """Add a constant that the model stores in another form (a block-quantized weight, expanded)."""
        self._names.add(name)
        self._memo[name] = stored_values(values)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return a constant's shape; None where it is not known without running the model."""
        stored = self.stored(name)
        return None if stored is None else stored.shape

    def stored(self, name: str) -> Stored | None:
        """Return where a constant's values are; None where the value is not constant, or not computed here."""
        if name not in self._memo:
            if not self.is_constant(name):
                return None
            self._memo[name] = self._find(name)
        return self._memo[name]

    def array(self, name: str) -> np.ndarray | None:
        """Return a constant's values, read-only, memory-mapped where they are on disk."""
        stored = self.stored(name)
        if stored is not None and stored.replay:
            if name not in self._arrays:
                node = self._maker(name)
                made = self._computed(node, name) if node is not None else None
                around = self.graph.unchanged.get(name, name)
                outside = self.outer.array(around) if self.outer is not None and node is None else None
                self._arrays[name] = outside if made is None else np.asarray(made.values)
            return self._arrays[name]
        return None if stored is None else self.values(stored)

    def exact(self, name: str) -> bool:
        """Return whether the nodes that make a constant of what is stored round in the same way on every runtime."""
        node = self._maker(name)
        return node is None or (op(node) in EXACT and all(self.exact(each) for each in node.input if each))

    def initializer(self, name: str) -> str:
        """Return the name of the tensor that a constant is: its own, or the initializer before Identity or Reshape.

        Return "" for any other constant. A computed constant stays computed where folding might round otherwise than
        the runtime.
        """
        if self.graph.made_by(name) is None or not self.exact(name):
            return name
        stored = self.stored(name)
        if stored is not None and stored.filled:
            return name  # a light graph stays light
        if stored is None or stored.replay or stored.window:
            return ""
        if stored.base != stored.shape or stored.layout != base_layout(stored.base):
            return ""
        values = stored.values
        if not isinstance(values, TensorProto) or self.graph.initializers.get(values.name) is not values:
            return ""
        return str(values.name)

    def computable(self, name: str) -> bool:
        """Return whether a constant's values can be had: they are stored, or made by nodes that can be computed."""
        stored = self.stored(name)
        return stored is not None and (not stored.replay or self.array(name) is not None)

    def values(self, stored: Stored) -> np.ndarray:
        """Return the stored values in the constant's shape, before any replayed node."""
        if stored.filled:
            return np.broadcast_to(np.asarray(stored.values).reshape(()), stored.shape)
        base = self.base_values(stored)
        move = rearrange(base_layout(stored.base), stored.layout)
        assert move is not None
        shape = [s.coefficient for s in move.shape]
        return base.reshape(shape).transpose(move.perm).reshape(stored.shape)

    def in_own_order(self, stored: Stored, shape: tuple[int, ...] | None) -> Stored | None:
        """Return a constant as stored in a shape that may cut across its dimensions; None for one with parameters."""
        if shape is None or prod(shape) != prod(stored.shape) or any(each.dim for each in stored.replay):
            return None
        if stored.filled:
            return replace(stored, base=shape, layout=base_layout(shape))
        own = stored_values(self.values(stored).reshape(shape))
        return replace(own, replay=stored.replay, made_type=stored.made_type)

    def base_values(self, stored: Stored) -> np.ndarray:
        """Return the values as they are stored."""
        values = self.file.array(stored.values) if isinstance(stored.values, TensorProto) else stored.values
        if stored.window is None or stored.filled:
            return values
        axis, start, stop = stored.window
        return values[(slice(None),) * axis + (slice(start, stop),)]

    def ints(self, name: str) -> tuple[int, ...] | None:
        """Return the elements of a small constant of integers, flattened."""
        if name not in self._ints:
            self._ints[name] = self._small(name)
        return self._ints[name]

    def _small(self, name: str) -> tuple[int, ...] | None:
        shape = self.shape(name)
        if shape is None or len(shape) > 1 or int(np.prod(shape)) > 4096:
            return None
        array = self.array(name)
        return tuple(map(int, array.reshape(-1))) if array is not None and array.dtype.kind in "iub" else None

    def numbers(self, name: str) -> Numbers | None:
        """Return the elements of a small constant; None for other values, and for what is large or not computed."""
        if name not in self._numbers:
            shape = self.shape(name)
            array = self.array(name) if shape is not None and prod(shape) <= MOST else None
            self._numbers[name] = None if array is None else Numbers.of(array)
        return self._numbers[name]

    def _find(self, name: str) -> Stored | None:
        if name in self.graph.initializers:
            return stored_values(self.graph.initializers[name])
        node = self._maker(name)
        if node is None:
            return self.outer.stored(self.graph.unchanged.get(name, name)) if self.outer is not None else None
        kind = own_op(node)
        if kind == "Constant":
            return constant_node(node)
        if kind == "ConstantOfShape":
            return self._filled(node)
        if kind in LAYOUT:
            return self._through_layout(node, kind)
        if kind in _REPLAYED and (replayed := self._replayed(node, kind)) is not None:
            return replayed
        return self._computed(node, name) if kind in FOLDED or kind in TABLE else None

    def _maker(self, name: str) -> NodeProto | None:
        """Return the node that makes a constant; a CastLike, whose second operand may be no constant, as a Cast."""
        node = self.graph.made_by(name)
        return None if node is None else as_cast(self.graph, node)

    def _replayed(self, node: NodeProto, kind: str) -> Stored | None:
        stored = self.stored(node.input[0])
        if stored is None:
            return None
        if kind in ROUNDING:
            return rounded(stored, node, map(self.stored, node.input[1:]))
        if kind == "Cast":
            return replace(stored, replay=(*stored.replay, Replay(node)), made_type=int_attribute(node, "to", 1))
        scale = self.stored(node.input[1])
        zero_point = self.stored(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if scale is None or (zero_point is not None and zero_point.replay) or scale.replay:
            return None
        if zero_point is not None and prod(zero_point.shape) not in (1, prod(scale.shape)):
            return None
        axis, rank = int_attribute(node, "axis", 1), len(stored.shape)
        dim: Dim = ()
        block = int_attribute(node, "block_size", 0) if len(scale.shape) == rank > 1 else 0
        if prod(scale.shape) != 1 or block:
            if not -rank <= axis < rank:
                return None
            dim = stored.layout[axis]
            if scale.shape != scales_of(stored.shape, axis, block) or (block and self.expand):
                return None  # with `expand` it is computed in floating point
        default = scale.type if kind == "DequantizeLinear" else TensorProto.UINT8
        if kind == "QuantizeLinear" and zero_point is not None:
            default = zero_point.type
        made = int_attribute(node, "output_dtype", 0) or default
        return replace(stored, replay=(*stored.replay, Replay(node, dim, block, stored.layout)), made_type=made)

    def _filled(self, node: NodeProto) -> Stored | None:
        shape = self.ints(node.input[0])
        if shape is None or any(size < 0 for size in shape):
            return None
        value = attribute(node, "value")
        tensor = value.t if value is not None else numpy_helper.from_array(np.zeros(1, np.float32))
        return Stored(self.file.array(tensor).reshape(-1)[:1], shape, base_layout(shape), tensor.data_type, filled=True)

    def _through_layout(self, node: NodeProto, kind: str) -> Stored | None:
        stored = self.stored(node.input[0])
        if stored is None or kind == "Identity":
            return stored
        if kind == "Transpose":
            perm = permutation(node, len(stored.shape))
            return None if perm is None else replace(stored, layout=tuple(stored.layout[i] for i in perm))
        # The rule of the operator says which dimensions it makes, of one element in every place.
        whole = Numbers(np.broadcast_to(np.zeros((), object), stored.shape), INT64)
        made = evaluate(Call(node, self.graph.opset, (whole, *map(self.numbers, node.input[1:]))))
        shape = made[0].cells.shape if made else None
        grouped = None if shape is None else regroup(stored.layout, list(map(Size, shape)))
        return self.in_own_order(stored, shape) if grouped is None else replace(stored, layout=grouped)

    def _computed(self, node: NodeProto, name: str) -> Stored | None:
        names = dict.fromkeys(filter(None, node.input))
        ready = all(i in self._cuts or self.stored(i) is not None for i in names)
        read = ((i, self._cuts.get(i, self.array(i))) for i in names if ready)
        known: dict[str, np.ndarray] = {i: array for i, array in read if array is not None}
        if len(known) < len(names):
            return None
        made = folded(node, known, self.graph.opset, self.graph.opsets)
        array = made.get(name)  # without it the caller reports a weight that is not evaluated, with this node's name
        return None if array is None else stored_values(array)


def scopes(file: ModelFile, *, freeze: bool) -> Iterator[tuple[Graph, Constants]]:
    """Yield every scope of a model, an outer one before those within it.

    With `freeze` initializers that are inputs are constant.
    """
    graph = Graph.of(file.model, freeze=freeze)
    stack = [(graph, Constants(graph, file))]
    while stack:
        graph, constants = stack.pop()
        yield graph, constants
        for i, name, proto in graph.bodies:
            inner = graph.within(graph.nodes[i], name, proto)
            stack.append((inner, Constants(inner, file, constants)))
