"""The new constants of a scope: kernels, biases, relaid operands, shapes; each made once under a free name."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from fc2conv.io.custom_ops import BLOCKED, ROUNDING
from fc2conv.io.payload import Buffer, Payload, Span
from fc2conv.io.tensors import payload_key
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import changed, op
from fc2conv.ir.stored import Replay, Stored, stored_values
from fc2conv.layers import FCLayer, weights
from fc2conv.layout.axes import Axis, Layout, Size, normal
from fc2conv.rewrite.parts import Part, Weight, padded
from fc2conv.rewrite.pool import Pool, State

_BROADCASTS = ROUNDING - BLOCKED
"""Operators whose settings broadcast to what they round."""
PACKED = frozenset(kind for name, kind in TensorProto.DataType.items() if re.match("U?INT[24]$|FLOAT[46]", name))
"""Element types of fewer bits than a byte has, as far as this onnx knows them."""


class Tensors(Pool):
    """The new forms of the constants of one scope.

    `retired` says of a constant whether every reader is being rewritten, so that its first new form may take its
    name (`fc6.weight` stays `fc6.weight`).
    """

    def __init__(
        self,
        constants: Constants,
        taken: set[str],
        payloads: dict[str, Payload],
        retired: Callable[[str], bool],
    ) -> None:
        super().__init__(constants.graph.proto.initializer, taken, payloads)
        self.constants = constants
        self.nodes: list[NodeProto] = []
        self._retired = retired

    def drained(self) -> list[NodeProto]:
        """Return the nodes made since the last call, which come before those that read them."""
        made, self.nodes = self.nodes, []
        return made

    def scalar(self, value: float, like: str, wanted: str) -> str:
        stored = self._stored(like)
        dtype = helper.tensor_dtype_to_np_dtype(stored.type)
        return self.value(np.array(value, dtype), wanted)

    def flat(self, name: str, count: int) -> str:
        """Return a scale or zero point as a scalar or a vector of one value per output: itself, if it is that."""
        shape = self._stored(name).shape
        if shape in ((), (count,)):
            return name
        return self.spread(name, (count,) if shape and count in shape and count != 1 else ())

    def spread(self, name: str, shape: tuple[int, ...]) -> str:
        """Write a constant of one value per output (or one for all) in a shape that broadcasts along the channels."""
        array = self._values(name)
        if array.size == 1:
            shape = ()
        values, kind = np.ascontiguousarray(array.reshape(shape)), self._stored(name).type
        key = ("spread", self._same(name), shape)
        return self.once(key, lambda: self._array(values, kind, self.unique(f"{name}_s")))

    def relaid(self, constant: str | np.ndarray, source: Layout, target: Layout) -> str:
        if not isinstance(constant, str):
            stored = stored_values(constant)
            return self._emit(self._form(weights.relaid(stored, source, target)), self.unique("computed"))
        form = weights.relaid(self._plain(constant), source, target)
        form = form or self._form(weights.relaid(self._computed(constant), source, target))
        if form.edit_of_dims and form.shape == self._stored(constant).shape:
            return constant
        key = ("relaid", self._same(constant), source, target)
        return self.once(key, lambda: self._replayed(form, self.unique(f"{constant}_s")))

    def kernel(
        self, weight: Weight, part: Part | None = None, *, unsigned: bool = False
    ) -> tuple[str, tuple[int, ...]]:
        """Write a kernel or a part of it, plus 128 if `unsigned`; return its name and the kernel's shape [M, C, *S]."""
        layer, rows = weight.layer, weight.rows
        form = self._form(weights.kernel_of(self.constants, layer, weight.found, rows))
        form = replace(form, unsigned=True) if unsigned else form
        key = ("kernel", self._same(layer.weight), rows, form.move, layer.alpha, unsigned, part)

        def make() -> str:
            if part is not None:
                return self._replayed(form, self.unique(f"{layer.weight}_part"), part)
            name = self._named(layer.weight) if rows is None else self.unique(f"{layer.weight}_{rows[0]}")
            return self._replayed(form, name)

        return self.once(key, make), form.shape

    def values(self, name: str) -> np.ndarray:
        """Return the values of a constant, whoever has made it."""
        found = self.made(name)
        return self._values(name) if found is None else found

    def bias(self, layer: FCLayer) -> str:
        """Write the bias of a layer as [M]: fl(beta * bias), one value per output."""
        name, count, groups = layer.bias, layer.outputs, layer.matrices
        assert name is not None
        stored = self._stored(name)

        def make() -> str:
            initializer = self.constants.initializer(name)
            if initializer and layer.beta == 1.0 and stored.shape == (count,) and groups == 1:
                return initializer
            values = self._values(name)
            scaled = values if layer.beta == 1.0 else (values.astype(np.float64) * layer.beta).astype(values.dtype)
            flat = np.ascontiguousarray(np.broadcast_to(scaled.reshape(-1), (groups, count)).reshape(-1))
            return self._array(flat, stored.type, self._named(name))

        return self.once(("bias", self._same(name), groups, count, layer.beta), make)

    def _same(self, name: str) -> int:
        """Return a key that is one for all names that an Identity gives a constant."""
        return id(self._stored(name))  # the constants of the scope keep it alive

    def _stored(self, name: str) -> Stored:
        stored = self.constants.stored(name)
        assert stored is not None, f"{name} was planned as a constant"
        return stored

    def _values(self, name: str) -> np.ndarray:
        array = self.constants.array(name)
        assert array is not None, f"{name} was planned as a constant"
        return array

    def _plain(self, name: str) -> Stored:
        """Return a constant with its replayed nodes computed, unless some are of quantization: their products round."""
        stored = self._stored(name)
        return stored if stored.quantized or not stored.replay else self._computed(name)

    def _computed(self, name: str) -> Stored:
        return replace(stored_values(self._values(name)), data_type=self._stored(name).type)

    def _form(self, form: weights.Form | None) -> weights.Form:
        assert form is not None, "the plan has seen that this form exists"
        return form

    def _named(self, old: str) -> str:
        """Return the old name for the first new form of a constant that nobody else reads; else a derived name."""
        graph = self.constants.graph
        node = graph.made_by(old)
        mine = self.state(old) is State.KEEP or (self.state(old) is None and node is not None and len(node.output) == 1)
        if not mine or not self._retired(old) or old in self.constants.by_sizes:
            return self.unique(f"{old}_conv")
        self.claim(old)
        return old

    def _replayed(self, form: weights.Form, name: str, part: Part | None = None) -> str:
        """Write the new form of what is stored, and after it the nodes that make the constant of it."""
        replays = form.stored.replay
        if not replays:
            return self._emit(form, name, part)
        values, graph = form.stored.values, self.constants.graph
        base = values.name if isinstance(values, TensorProto) else name
        claimed = name == replays[-1].node.output[0] and self.state(name) is State.DROP
        read = self._emit(form, self.unique(f"{base}_conv"), part)
        for i, (replay, axis) in enumerate(zip(replays, form.axes, strict=True)):
            broadcasts = op(replay.node) in _BROADCASTS
            node = deepcopy(replay.node) if axis is None or broadcasts else changed(replay.node, axis=axis)
            node.input[0] = read
            last = i == len(replays) - 1
            read = name if last and form.after == 1.0 else self.unique(f"{replay.node.output[0]}_conv")
            node.output[0] = read
            if replay.block:
                node.input[1:] = [self._blocks(each, replay, form) for each in node.input[1:]]
            if broadcasts:
                span = None if part is None or axis is None else part.spans[axis]
                node.input[1:] = [self._beside(each, axis, len(form.shape), span) for each in node.input[1:]]
            elif part is not None and axis is not None:
                node.input[1:] = [self.cut(each, *part.spans[axis]) for each in node.input[1:]]
            if node.name:
                mine = claimed and (last or graph.only_reader(replay.node.output[0]) is not None)
                node.name = node.name if mine else self.unique(node.name)
            self.nodes.append(node)
        if form.after != 1.0:
            dtype = helper.tensor_dtype_to_np_dtype(form.stored.type)
            factor = self.value(np.array(form.after, dtype), f"{name}_alpha")
            self.nodes.append(helper.make_node("Mul", [read, factor], [name], self.unique(f"{name}_scale")))
        return name

    def _beside(self, name: str, axis: int | None, rank: int, span: tuple[int, int, int] | None) -> str:
        """Reshape a setting that varies along one dimension of a constant, or of a part of it, to broadcast to that."""
        values = self.values(name)
        if axis is None or values.size == 1:
            return name
        if span is not None:
            start, stop, size = span
            values = np.pad(values.reshape(-1)[start:stop], (0, size - (stop - start)), mode="edge")
        made = values.reshape([-1 if i == axis else 1 for i in range(rank)])
        key = ("beside", name, axis, rank, span)
        return self.once(key, lambda: self._array(made, self._stored(name).type, self.unique(name)))

    def _blocks(self, name: str, replay: Replay, form: weights.Form) -> str:
        """Lay out the scales of a block-quantized weight as its kernel, with blocks instead of one axis."""
        scales = self._stored(name)
        own = replay.layout.index(replay.dim)
        blocks = (Axis("blocks", Size(scales.shape[own])),)
        source, target = (
            normal(blocks if dim == replay.dim else dim for dim in layout) for layout in (replay.layout, form.layout)
        )
        return self._emit(self._form(weights.relaid(scales, source, target)), self.unique(f"{name}_conv"))

    def cut(self, name: str, start: int, stop: int, size: int) -> str:
        """Return the values start..stop of a vector, its last one repeated up to a size; itself, if those are all."""
        values = self.values(name) if name else np.array(0)
        if values.ndim != 1 or (start, stop) == (0, size) == (0, len(values)):
            return name

        def make() -> str:
            found = np.pad(values[start:stop], (0, size - (stop - start)), mode="edge")
            return self._array(found, self._stored(name).type, self.unique(name))

        return self.once(("cut", name, start, stop, size), make)

    def quantized_part(self, name: str, start: int, stop: int, size: int) -> str | None:
        """Return the values start..stop of a vector that a DequantizeLinear makes, and zeros; None for any other."""
        node = self.constants.graph.made_by(name)
        if self.made(name) is not None or node is None or node.op_type != "DequantizeLinear":
            return None
        zeros = list(node.input[2:])
        values = self.constants.array(node.input[0])
        if values is None or values.ndim != 1 or any((self.values(zero) != 0).any() for zero in zeros if zero):
            return None

        def make() -> str:
            new = deepcopy(node)
            kind = self._stored(node.input[0]).type
            new.input[0] = self._array(
                padded(values[start:stop], (size,)), kind, self.unique(f"{node.input[0]}_{start}")
            )
            for i in range(1, len(new.input) if self.values(node.input[1]).size > 1 else 0):
                new.input[i] = self.cut(new.input[i], start, stop, size)
            new.output[0] = made = self.unique(f"{name}_{start}")
            new.name = self.unique(node.name) if node.name else ""
            self.nodes.append(new)
            return made

        return self.once(("quantized part", name, start, stop, size), make)

    def _emit(self, form: weights.Form, name: str, part: Part | None = None) -> str:
        stored = form.stored
        shape = form.shape if part is None else part.shape
        if stored.filled and part is not None and part.filled != shape:
            return self._array(padded(np.full(part.filled, form.fill), shape), form.data_type, name)
        if stored.filled:
            return self._filled(form, shape, name)
        source = self._source(stored)
        if source is None:
            array = self._moved(form).reshape(form.shape if part is None else part.dims(form.shape))
            if part is not None:
                first, last, _ = part.spans[0]
                array = padded(weights.cut(array[first:last], part.spans[1:], cells=part.cells), shape)
            return self._array(array, form.data_type, name)
        if part is None:
            return self.placed(name, form.data_type, shape, form.payload(source))
        block = weights.Block(form.rearranged(source), part.dims(form.shape), part.spans, part.cells)
        return self.placed(name, form.data_type, shape, block)

    def _moved(self, form: weights.Form) -> np.ndarray:
        """Return the elements of a constant in a new form."""
        values = self.constants.base_values(form.stored)
        shape = [size.coefficient for size in form.move.shape]
        moved = np.ascontiguousarray(values.reshape(shape).transpose(form.move.perm))
        if form.scale != 1.0:
            with np.errstate(all="ignore"):  # a weight that is not finite stays so
                moved = (moved.astype(np.float64) * form.scale).astype(moved.dtype)
        return weights.without_sign(moved) if form.unsigned else moved

    def _source(self, stored: Stored) -> Span | Buffer | None:
        """Return where the bytes of a constant are; None where its values are taken one by one."""
        if not isinstance(stored.values, TensorProto):
            return None
        if stored.data_type in PACKED:
            return None  # two elements share a byte: they are moved one by one
        key = payload_key(stored.values)
        payload = self.constants.file.payloads[key] if key is not None else None
        return payload if isinstance(payload, Span | Buffer) else None

    def _filled(self, form: weights.Form, dims: tuple[int, ...], name: str) -> str:
        """Write a ConstantOfShape for one that was a ConstantOfShape: a light graph stays light."""
        fill = numpy_helper.from_array(form.fill)
        old = self.constants.graph.made_by(name) if self.state(name) is State.DROP else None
        node_name = self.unique(f"{name}_fill") if old is None else old.name
        shape = self._fill_shape(old, dims, name)
        self.nodes.append(helper.make_node("ConstantOfShape", [shape], [name], node_name, value=fill))
        return name

    def _fill_shape(self, old: NodeProto | None, shape: tuple[int, ...], name: str) -> str:
        """Write the shape of a fill: instead of the old one, if that is an initializer that only the old fill reads."""
        graph = self.constants.graph
        source = old.input[0] if old is not None else ""
        if graph.only_reader(source) is None or self.state(source) is not State.KEEP or source in graph.overridable:
            return self.ints(shape, f"{name}_shape")
        self.claim(source)
        return self._place(numpy_helper.from_array(np.array(shape, np.int64), source))
