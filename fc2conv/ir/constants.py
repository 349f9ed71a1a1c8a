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
from fc2conv.ir.chains import operands_first
from fc2conv.ir.element_types import as_cast
from fc2conv.ir.folding import EXACT, FOLDED, LAYOUT, folded
from fc2conv.ir.graph import Graph, attribute, op, own_op, permutation
from fc2conv.ir.stored import QUANTIZERS, Stored, base_layout, constant_node, replayed, stored_values, windowed
from fc2conv.layout.axes import Size, regroup
from fc2conv.layout.relayout import rearrange

_REPLAYED = QUANTIZERS | {"Cast"}
_COMPUTED = LAYOUT | _REPLAYED | FOLDED | TABLE.keys()
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
        self._exact: dict[str, bool] = {}
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
            for each in operands_first(name, self._memo, self._behind):
                self._memo[each] = self._find(each)
        return self._memo[name]

    def _behind(self, name: str) -> Iterator[str]:
        """Yield the constants that a node makes another one of, up to one whose values are not known."""
        node = self._maker(name)
        for each in node.input if node is not None and own_op(node) in _COMPUTED else ():
            if each in self._names and each in self.graph.producer:
                yield each
                if self._memo[each] is None:
                    return

    def array(self, name: str) -> np.ndarray | None:
        """Return a constant's values, read-only, memory-mapped where they are on disk."""
        stored = self.stored(name)
        if stored is not None and stored.replay:
            for each in operands_first(name, self._arrays, self._replayed_behind):
                self._arrays[each] = self._array(each)
            return self._arrays[name]
        return None if stored is None else self.values(stored)

    def _replayed_behind(self, name: str) -> Iterator[str]:
        """Yield the constants that nodes replay on the way to another one."""
        node = self._maker(name)
        made = (each for each in (node.input if node is not None else ()) if each in self.graph.producer)
        return (each for each in made if (stored := self.stored(each)) is not None and stored.replay)

    def _array(self, name: str) -> np.ndarray | None:
        """Compute a constant that nodes are replayed for, or read it where it is, around the scope."""
        node = self._maker(name)
        if node is None:
            return self.outer.array(self.graph.unchanged.get(name, name)) if self.outer is not None else None
        made = self._computed(node, name)
        return None if made is None else np.asarray(made.values)

    def exact(self, name: str) -> bool:
        """Return whether the nodes that make a constant of what is stored round in the same way on every runtime."""
        for each in operands_first(name, self._exact, self._exact_behind):
            node = self._maker(each)
            here = node is None or op(node) in EXACT
            self._exact[each] = here and all(self._exact[behind] for behind in self._exact_behind(each))
        return self._exact[name]

    def _exact_behind(self, name: str) -> Iterator[str]:
        node = self._maker(name)
        return filter(None, node.input if node is not None and op(node) in EXACT else ())

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
        return values if stored.filled else windowed(values, stored.window)

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
        if kind in _REPLAYED and (replays := self._replayed(node, kind)) is not None:
            return replays
        return self._computed(node, name) if kind in FOLDED or kind in TABLE else None

    def _maker(self, name: str) -> NodeProto | None:
        """Return the node that makes a constant; a CastLike, whose second operand may be no constant, as a Cast."""
        node = self.graph.made_by(name)
        return None if node is None else as_cast(self.graph, node)

    def _replayed(self, node: NodeProto, kind: str) -> Stored | None:
        stored = self.stored(node.input[0])
        rest = () if kind == "Cast" else tuple(self.stored(each) if each else None for each in node.input[1:])
        return None if stored is None else replayed(stored, node, rest, expand=self.expand)

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
    """Yield every scope of a model, outer ones first; with `freeze` initializers that are inputs are constant."""
    graph = Graph.of(file.model, freeze=freeze)
    stack = [(graph, Constants(graph, file))]
    while stack:
        graph, constants = stack.pop()
        yield graph, constants
        for i, name, proto in graph.bodies:
            inner = graph.within(graph.nodes[i], name, proto)
            stack.append((inner, Constants(inner, file, constants)))
