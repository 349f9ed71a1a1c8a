"""Cuts a convolution to a target's limits.

Conv(x, W, b)  ->  Conv(Slice(x), W1) + Conv(Slice(x), W2, b)     where a kernel or its inputs are too large
Conv(x, W, b)  ->  Concat(Conv(x, W1, b1), Conv(x, W2, b2))      where it has too many outputs
Conv(x, W, b)  ->  Conv(Reshape(x, [0, -1, 1, 1]), W', b)        where the cells of the map become channels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.ir.graph import changed, label, new_node
from fc2conv.rewrite.convolutions import plus
from fc2conv.rewrite.parts import Part, Weight, padded
from fc2conv.rewrite.pool import TO_THE_END
from fc2conv.rewrite.tensors import Tensors

if TYPE_CHECKING:
    from fc2conv.targets.fits import Fit, Span


@dataclass(frozen=True)
class _Operands:
    """The positions of a convolution's kernel, of its bias, and of operands with a value for each output."""

    kernel: int
    bias: int
    each: tuple[int, ...] = ()


_OPERANDS = {"Conv": _Operands(1, 2), "QLinearConv": _Operands(3, 8, (4, 5)), "ConvInteger": _Operands(1, 4)}


class Fitter:
    """Cuts the convolutions of one scope; what several layers read of one map is made once."""

    def __init__(self, tensors: Tensors, opset: int) -> None:
        self.tensors = tensors
        self.opset = opset
        self.made: dict[object, str] = {}

    def fitted(self, nodes: Sequence[NodeProto], kernel: str, weight: Weight, fit: Fit) -> list[NodeProto]:
        """Return the nodes of a layer, with the convolution by a kernel cut."""
        out: list[NodeProto] = []
        for node in nodes:
            out += _Cutter(self, node, weight, fit).nodes() if kernel in node.input else [node]
        return out


class _Cutter:
    def __init__(self, shared: Fitter, node: NodeProto, weight: Weight, fit: Fit) -> None:
        self._shared, self._tensors = shared, shared.tensors
        self._node, self._weight, self._fit = node, weight, fit
        self._out: list[NodeProto] = []

    def nodes(self) -> list[NodeProto]:
        """Write the convolutions and the nodes between them."""
        fit, unique, (result,) = self._fit, self._tensors.unique, self._node.output
        read = self._node.input[0]
        if fit.read:
            read = self._once("Reshape", read, f"{read}_fit", shape=fit.read)
        made = unique(f"{result}_fit") if fit.back else result
        maps = {place: self._map(read, place) for place in product(fit.inputs, *fit.kernel)}
        single = len(fit.outputs) == 1
        columns = []
        for outputs in fit.outputs:
            column = made if single else unique(f"{result}_outputs")
            columns.append(self._sum(maps, outputs, column, named=single))
        if not single:
            self._out.append(new_node("Concat", columns, [made], label(self._node), axis=1))
        if fit.back:
            self._add("Reshape", made, result, shape=fit.back)
        return self._out

    def _sum(self, maps: Mapping[tuple[Span, ...], str], outputs: Span, made: str, *, named: bool) -> str:
        """Write the convolutions of one part of the outputs, and the Adds between them; the last one has the bias."""
        name, unique = label(self._node), self._tensors.unique
        whole = unique(f"{made}_padded") if outputs.padded else made
        total = ""
        for i, (place, read) in enumerate(maps.items()):
            last = i == len(maps) - 1
            part = whole if len(maps) == 1 else unique(f"{made}_part")
            own = name if named and len(maps) == 1 else unique(f"{name}_part")
            self._out.append(self._convolution((outputs, *place), read, part, own, bias=last))
            if total:
                summed = whole if last else unique(f"{made}_sum")
                add = name if named and last else unique(f"{name}_sum")
                self._out.append(new_node(plus(self._shared.opset), [total, part], [summed], add))
                part = summed
            total = part
        if outputs.padded:
            self._add("Slice", whole, made, starts=(0,), ends=(outputs.stop - outputs.start,), axes=(1,))
        return made

    def _convolution(self, spans: tuple[Span, ...], read: str, made: str, name: str, *, bias: bool) -> NodeProto:
        node, operands = self._node, _OPERANDS[self._node.op_type]
        outputs, _, *kernel = spans
        sides = tuple(side[-1].stop for side in self._fit.kernel)
        part = Part(tuple((span.start, span.stop, span.size) for span in spans), sides, self._fit.point)
        inputs = [read, *node.input[1:]]
        inputs[operands.kernel], _ = self._tensors.kernel(self._weight, part)
        for i in (*operands.each, operands.bias):
            if i < len(inputs) and inputs[i]:
                inputs[i] = self._vector(inputs[i], outputs)
        if not bias:
            del inputs[operands.bias :]
        pads = [span.size - (span.stop - span.start) for span in kernel]
        padding = [*(0 for _ in pads), *pads] if any(pads) else None
        new = changed(node, kernel_shape=list(part.shape[2:]), pads=padding)
        new.name, new.input[:], new.output[:] = name, inputs, [made]
        return new

    def _vector(self, name: str, outputs: Span) -> str:
        """Return the values of some outputs from a vector with a value for each output; a scalar is for all."""
        values = self._tensors.values(name)
        if not values.ndim or (len(self._fit.outputs) == 1 and not outputs.padded):
            return name
        part = self._tensors.quantized_part(name, outputs.start, outputs.stop, outputs.size)
        if part is not None:
            return part
        cut = padded(values[outputs.start : outputs.stop], (outputs.size,))
        wanted = f"{name}_{outputs.start}"
        return self._tensors.once(("vector", name, outputs), lambda: self._tensors.value(cut, wanted))

    def _map(self, read: str, place: tuple[Span, ...]) -> str:
        """Return the part of the map that some input channels and kernel cells read, padded with channels of zeros."""
        inputs, *kernel = place
        cuts = [(1, inputs.start, inputs.stop)] if len(self._fit.inputs) > 1 else []
        for axis, (span, spans) in enumerate(zip(kernel, self._fit.kernel, strict=True), 2):
            if len(spans) > 1:
                cuts.append((axis, span.start, (span.stop - spans[-1].stop) or TO_THE_END))
        if cuts:
            axes, starts, ends = zip(*cuts, strict=True)
            read = self._once("Slice", read, f"{read}_part", starts=starts, ends=ends, axes=axes)
        if not inputs.padded:
            return read
        rank = 2 + len(kernel)
        before, behind = (0,) * (rank + 1), (0,) * (rank - 2)
        padding = (*before, inputs.size - (inputs.stop - inputs.start), *behind)
        return self._once("Pad", read, f"{read}_padded", pads=padding)

    def _once(self, op_type: str, read: str, wanted: str, **numbers: tuple[int, ...]) -> str:
        """Write a node of a map where no layer has it yet; return what it makes."""
        key = op_type, read, *numbers.items()
        if key not in self._shared.made:
            self._shared.made[key] = self._add(op_type, read, self._tensors.unique(wanted), **numbers)
        return self._shared.made[key]

    def _add(self, op_type: str, read: str, made: str, **numbers: Sequence[int]) -> str:
        name = self._tensors.unique(f"{made}_{op_type.lower()}")
        self._out.append(self._tensors.node(op_type, [read], made, name, self._shared.opset, wanted="fit", **numbers))
        return made
