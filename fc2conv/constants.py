"""What is constant in a scope, and where its values are stored.

A constant is an initializer that no caller can replace, a Constant or ConstantOfShape node, or what a chain of
nodes makes of those. Chains of pure layout (Transpose, Reshape, Identity ...) are not computed: the constant is the
stored tensor seen through a layout over its axes, so that a weight stays on disk until it is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fc2conv.axes import Axis, Dim, Layout, Size, normal, rearrange, regroup, size_of
from fc2conv.graph import Graph, attribute, int_attribute, ints_attribute, op
from fc2conv.onnxfile import ModelFile

_FOLDED = frozenset(
    (
        "Cast QuantizeLinear DequantizeLinear Mul Add Sub Div Neg Sqrt Pow Abs Exp Reciprocal Concat Slice Gather "
        "Expand ReduceSum ReduceL2 ReduceMean Tile Split Shape Size Range Where Equal Max Min Floor Ceil Clip "
        "CastLike Not And Or Mod Sign Log"
    ).split()
)
"""Operators whose constant results are computed where their values are needed."""

_REPLAYED = frozenset(("Cast", "QuantizeLinear", "DequantizeLinear"))
_LAYOUT = frozenset(["Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"])
_RANDOM = frozenset("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial".split())
MAX_FOLDED = 1 << 28
"""Elements up to which a constant is computed."""


@dataclass(frozen=True, eq=False)
class Replay:
    """An elementwise node on the way from the stored values to the constant, which is run on the new form as well.

    `dim` are the stored tensor's axes along which its parameters vary (none: they are scalars); `block` how many
    indices of that dimension share one (0: each has its own).
    """

    node: NodeProto
    dim: Dim = ()
    block: int = 0


@dataclass(frozen=True)
class Stored:
    """A constant as it is stored, seen through a layout.

    `values` is a tensor of the model, an array that was computed, or (for ConstantOfShape) an array of one value
    that fills the whole; `base` is the shape in which they are stored and `layout` the constant's dimensions over
    that shape's axes. `data_type` is the TensorProto.DataType of what is stored. `replay` are the nodes that
    make the constant of it (Cast, QuantizeLinear, DequantizeLinear), and `made_type` the type that they make.
    """

    values: TensorProto | np.ndarray
    base: tuple[int, ...]
    layout: Layout
    data_type: int
    filled: bool = False
    replay: tuple[Replay, ...] = ()
    made_type: int = 0

    @property
    def type(self) -> int:
        """The constant's TensorProto.DataType."""
        return self.made_type or self.data_type

    @property
    def shape(self) -> tuple[int, ...]:
        """The constant's shape."""
        return tuple(size_of(dim).coefficient for dim in self.layout)


def base_layout(base: tuple[int, ...]) -> Layout:
    """The layout of a tensor as it is stored: one axis a dimension."""
    return normal((Axis(f"w{i}", Size(size)),) for i, size in enumerate(base))


def _stored(values: TensorProto | np.ndarray, base: tuple[int, ...], data_type: int, *, filled: bool = False) -> Stored:
    return Stored(values, base, base_layout(base), data_type, filled)


class Constants:
    """The constants that a scope sees, its own and those of outer scopes."""

    def __init__(self, graph: Graph, file: ModelFile, outer: Constants | None = None, *, expand: bool = False) -> None:
        self.graph = graph
        self.file = file
        self.outer = outer
        self.expand = expand
        self._memo: dict[str, Stored | None] = {}
        self._arrays: dict[str, np.ndarray | None] = {}

    @cached_property
    def _names(self) -> set[str]:
        names = set(self.graph.initializers) - self.graph.overridable
        for node in self.graph.nodes:
            kind = op(node)
            if kind in _RANDOM or node.domain not in ("", "ai.onnx") or attribute(node, "body") is not None:
                continue
            if kind in ("If", "Loop", "Scan") or any(a.ref_attr_name for a in node.attribute):
                continue
            if all(not name or name in names or self._outside(name) for name in node.input):
                names.update(name for name in node.output if name)
        return names

    def _outside(self, name: str) -> bool:
        local = name in self.graph.producer or name in self.graph.initializers or name in self.graph.inputs
        return self.outer is not None and not local and self.outer.is_constant(name)

    def is_constant(self, name: str) -> bool:
        """Whether a value is the same on every run."""
        return bool(name) and (name in self._names or self._outside(name))

    def is_overridable(self, name: str) -> bool:
        """Whether a value is an initializer that a caller may replace by an input."""
        return name in self.graph.overridable or (
            self.outer is not None and name not in self.graph.producer and self.outer.is_overridable(name)
        )

    def define(self, name: str, values: np.ndarray) -> None:
        """Adds a constant that the model holds in another form (a block-quantized weight, expanded)."""
        self._names.add(name)
        self._memo[name] = _stored(values, values.shape, helper.np_dtype_to_tensor_dtype(values.dtype))

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A constant's shape, where it is known without running the model."""
        stored = self.stored(name)
        return None if stored is None else stored.shape

    def stored(self, name: str) -> Stored | None:
        """Where a constant's values are; None where it is none, or is made by nodes that are not computed here."""
        if not self.is_constant(name):
            return None
        if name not in self._memo:
            self._memo[name] = self._find(name)
        return self._memo[name]

    def array(self, name: str) -> np.ndarray | None:
        """A constant's values, read-only, memory-mapped where they are on disk."""
        stored = self.stored(name)
        if stored is not None and stored.replay:
            if name not in self._arrays:
                node = self.graph.made_by(name)
                made = self._computed(node, name) if node is not None else None
                outside = self.outer.array(name) if self.outer is not None and node is None else None
                self._arrays[name] = outside if made is None else np.asarray(made.values)
            return self._arrays[name]
        return None if stored is None else self.values(stored)

    def values(self, stored: Stored) -> np.ndarray:
        """What is stored, in the constant's shape (before any replayed node)."""
        if stored.filled:
            return np.broadcast_to(np.asarray(stored.values).reshape(()), stored.shape)
        base = self.base_values(stored)
        move = rearrange(base_layout(stored.base), stored.layout)
        assert move is not None
        shape = [s.coefficient for s in move.shape]
        return base.reshape(shape).transpose(move.perm).reshape(stored.shape)

    def base_values(self, stored: Stored) -> np.ndarray:
        """The values as they are stored."""
        if isinstance(stored.values, TensorProto):
            return self.file.array(stored.values)
        return stored.values

    def ints(self, name: str) -> tuple[int, ...] | None:
        """A small constant of integers, flattened."""
        shape = self.shape(name)
        if shape is None or len(shape) > 1 or int(np.prod(shape)) > 4096:
            return None
        array = self.array(name)
        if array is None or array.dtype.kind not in "iub":
            return None
        return tuple(int(v) for v in array.reshape(-1))

    # ------------------------------------------------------------------ where constants come from

    def _find(self, name: str) -> Stored | None:
        if name in self.graph.initializers:
            tensor = self.graph.initializers[name]
            return _stored(tensor, tuple(tensor.dims), tensor.data_type)
        node = self.graph.made_by(name)
        if node is None:
            return self.outer.stored(name) if self.outer is not None else None
        kind = op(node)
        if kind == "Constant":
            return _constant(node)
        if kind == "ConstantOfShape":
            return self._filled(node)
        if kind in _LAYOUT:
            return self._through_layout(node, kind)
        if kind in _REPLAYED and (replayed := self._replayed(node, kind)) is not None:
            return replayed
        return self._computed(node, name) if kind in _FOLDED else None

    def _replayed(self, node: NodeProto, kind: str) -> Stored | None:
        stored = self.stored(node.input[0])
        if stored is None:
            return None
        if kind == "Cast":
            return replace(stored, replay=(*stored.replay, Replay(node)), made_type=int_attribute(node, "to", 1))
        scale = self.stored(node.input[1])
        zero_point = self.stored(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if scale is None or (zero_point is not None and zero_point.replay) or scale.replay:
            return None
        axis, rank = int_attribute(node, "axis", 1), len(stored.shape)
        dim: Dim = ()
        block = 0
        if prod(scale.shape) != 1:
            if not -rank <= axis < rank:
                return None
            dim = stored.layout[axis]
            block = int_attribute(node, "block_size", 0) if len(scale.shape) == rank > 1 else 0
            if block and self.expand:
                return None  # computed in floating point
            if not block and (len(scale.shape) != 1 or scale.shape[0] != stored.shape[axis]):
                return None
        default = scale.type if kind == "DequantizeLinear" else TensorProto.UINT8
        if kind == "QuantizeLinear" and zero_point is not None:
            default = zero_point.type
        made = int_attribute(node, "output_dtype", 0) or default
        return replace(stored, replay=(*stored.replay, Replay(node, dim, block)), made_type=made)

    def _filled(self, node: NodeProto) -> Stored | None:
        shape = self.ints(node.input[0])
        if shape is None or any(size < 0 for size in shape):
            return None
        value = attribute(node, "value")
        tensor = value.t if value is not None else numpy_helper.from_array(np.zeros(1, np.float32))
        return _stored(self.file.array(tensor).reshape(-1)[:1], shape, tensor.data_type, filled=True)

    def _through_layout(self, node: NodeProto, kind: str) -> Stored | None:
        stored = self.stored(node.input[0])
        if stored is None or kind == "Identity":
            return stored
        layout, shape = stored.layout, stored.shape
        if kind == "Transpose":
            perm = ints_attribute(node, "perm") or list(reversed(range(len(shape))))
            return replace(stored, layout=tuple(layout[i] for i in perm))
        target: list[int] | None = None
        if kind == "Flatten":
            axis = int_attribute(node, "axis", 1) % (len(shape) + 1)
            target = [int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))]
        elif kind == "Reshape":
            target = _reshaped(node, shape, self._listed(node, "shape"))
        else:
            target = _squeezed(kind, shape, self._listed(node, "axes"))
        grouped = regroup(layout, [Size(size) for size in target]) if target is not None else None
        return None if grouped is None else replace(stored, layout=grouped)

    def _listed(self, node: NodeProto, name: str) -> list[int] | None:
        if len(node.input) > 1 and node.input[1]:
            found = self.ints(node.input[1])
            return None if found is None else list(found)
        return ints_attribute(node, name)

    def _computed(self, node: NodeProto, name: str) -> Stored | None:
        from onnx.reference import ReferenceEvaluator

        known: dict[str, np.ndarray] = {i: array for i in node.input if i and (array := self.array(i)) is not None}
        if len(known) < len({i for i in node.input if i}) or any(a.size > MAX_FOLDED for a in known.values()):
            return None
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.graph.opsets.items()]
        values = [helper.make_empty_tensor_value_info(i) for i in known]
        graph = helper.make_graph([node], "constant", values, [helper.make_empty_tensor_value_info(name)])
        model = helper.make_model(graph, opset_imports=opsets)
        try:
            outputs = ReferenceEvaluator(model).run([name], known)
            array = np.asarray(outputs[0] if isinstance(outputs, list) else outputs[name])
        except (ValueError, TypeError, IndexError, RuntimeError, NotImplementedError, ArithmeticError):
            return None  # the caller reports a weight that is not evaluated, with this node's name
        return _stored(array, array.shape, helper.np_dtype_to_tensor_dtype(array.dtype))


def _constant(node: NodeProto) -> Stored | None:
    value = attribute(node, "value")
    if value is not None:
        return _stored(value.t, tuple(value.t.dims), value.t.data_type)
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        found = attribute(node, name)
        if found is not None:
            many = name.endswith("s")
            array = np.array(helper.get_attribute_value(found), dtype=dtype).reshape(-1 if many else ())
            return _stored(array, array.shape, helper.np_dtype_to_tensor_dtype(array.dtype))
    return None


def _reshaped(node: NodeProto, shape: tuple[int, ...], target: list[int] | None) -> list[int] | None:
    if target is None:
        return None
    if not int_attribute(node, "allowzero", 0):
        if any(size == 0 and i >= len(shape) for i, size in enumerate(target)):
            return None
        target = [shape[i] if size == 0 else size for i, size in enumerate(target)]
    if -1 in target:
        known = int(np.prod([size for size in target if size != -1]))
        if not known:
            return None
        target = [int(np.prod(shape)) // known if size == -1 else size for size in target]
    return target


def _squeezed(kind: str, shape: tuple[int, ...], axes: list[int] | None) -> list[int] | None:
    if kind == "Squeeze":
        gone = {i for i, size in enumerate(shape) if size == 1} if axes is None else {a % len(shape) for a in axes}
        return [size for i, size in enumerate(shape) if i not in gone]
    if axes is None:
        return None
    rank = len(shape) + len(axes)
    new, rest = {a % rank for a in axes}, list(shape)
    return [1 if i in new else rest.pop(0) for i in range(rank)]
