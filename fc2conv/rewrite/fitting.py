"""Cuts a convolution to a target's limits.

Conv(x, W, b)  ->  Conv(Slice(x), W1) + Conv(Slice(x), W2, b)     where a kernel or its inputs are too large
Conv(x, W, b)  ->  Concat(Conv(x, W1, b1), Conv(x, W2, b2))      where it has too many outputs
Conv(x, W, b)  ->  Conv(Reshape(x, [0, -1, 1, 1]), W', b)        where the cells of the map become channels
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.ir.graph import changed, label, new_node
from fc2conv.layers import FCLayer
from fc2conv.layout.contraction import Contraction
from fc2conv.rewrite.parts import Part, padded
from fc2conv.rewrite.pool import TO_THE_END
from fc2conv.rewrite.tensors import Tensors

if TYPE_CHECKING:
    from fc2conv.targets.fits import Fit, Span


@dataclass(frozen=True)
class _Operands:
    """Where a convolution has its kernel, its bias, and what has a value for each output."""

    kernel: int
    bias: int
    each: tuple[int, ...] = ()


_OPERANDS = {"Conv": _Operands(1, 2), "QLinearConv": _Operands(3, 8, (4, 5)), "ConvInteger": _Operands(1, 4)}


@dataclass(frozen=True)
class Weight:
    """The weight of a convolution: its layer, what it contracts, and which of the weight's rows are meant."""

    layer: FCLayer
    found: Contraction
    rows: tuple[int, int] | None = None


class Fitter:
    """Cuts the convolutions of one scope; what several layers read of one map is made once."""

    def __init__(self, tensors: Tensors, opset: int) -> None:
        self.tensors = tensors
        self.opset = opset
        self._made: dict[object, str] = {}

    def fitted(self, nodes: Sequence[NodeProto], kernel: str, weight: Weight, fit: Fit) -> list[NodeProto]:
        """The nodes of a layer, with the convolution by a kernel cut."""
        out: list[NodeProto] = []
        for node in nodes:
            out += self._cut(node, weight, fit) if kernel in node.input else [node]
        return out

    def _cut(self, node: NodeProto, weight: Weight, fit: Fit) -> list[NodeProto]:
        out: list[NodeProto] = []
        read, result = node.input[0], node.output[0]
        if fit.read:
            key = read, fit.read
            if key not in self._made:
                self._made[key] = self._add("Reshape", out, read, self.tensors.unique(f"{read}_fit"), shape=fit.read)
            read = self._made[key]
        made = self.tensors.unique(f"{result}_fit") if fit.back else result
        maps = {place: self._map(out, read, place, fit) for place in product(fit.inputs, *fit.kernel)}
        single = len(fit.outputs) == 1
        columns = []
        for outputs in fit.outputs:
            column = made if single else self.tensors.unique(f"{result}_outputs")
            columns.append(self._sum(out, node, weight, fit, maps, outputs, column, named=single))
        if not single:
            out.append(new_node("Concat", columns, [made], label(node), axis=1))
        if fit.back:
            self._add("Reshape", out, made, result, shape=fit.back)
        return out

    def _sum(
        self,
        out: list[NodeProto],
        node: NodeProto,
        weight: Weight,
        fit: Fit,
        maps: dict[tuple[Span, ...], str],
        outputs: Span,
        made: str,
        *,
        named: bool,
    ) -> str:
        """The convolutions of one part of the outputs, and the Adds between them; the last one has the bias."""
        name = label(node)
        whole = self.tensors.unique(f"{made}_padded") if outputs.padded else made
        total = ""
        for i, (place, read) in enumerate(maps.items()):
            last = i == len(maps) - 1
            part = whole if len(maps) == 1 else self.tensors.unique(f"{made}_part")
            own = name if named and len(maps) == 1 else self.tensors.unique(f"{name}_part")
            out.append(self._convolution(node, weight, fit, (outputs, *place), read, part, own, bias=last))
            if total:
                summed = whole if last else self.tensors.unique(f"{made}_sum")
                add = name if named and last else self.tensors.unique(f"{name}_sum")
                out.append(new_node("Add", [total, part], [summed], add))
                part = summed
            total = part
        if outputs.padded:
            self._slice(out, whole, [(1, 0, outputs.stop - outputs.start)], made)
        return made

    def _convolution(
        self,
        node: NodeProto,
        weight: Weight,
        fit: Fit,
        spans: tuple[Span, ...],
        read: str,
        made: str,
        name: str,
        *,
        bias: bool,
    ) -> NodeProto:
        operands = _OPERANDS[node.op_type]
        outputs, _, *kernel = spans
        sides = tuple(each[-1].stop for each in fit.kernel)
        part = Part(tuple((span.start, span.stop, span.size) for span in spans), sides, fit.point)
        inputs = [*node.input]
        inputs[0] = read
        inputs[operands.kernel] = self.tensors.kernel_part(weight.layer, weight.found, weight.rows, part)
        for i in (*operands.each, operands.bias):
            if i < len(inputs) and inputs[i]:
                inputs[i] = self._vector(inputs[i], outputs, len(fit.outputs) == 1)
        if not bias:
            del inputs[operands.bias :]
        pads = [span.size - (span.stop - span.start) for span in kernel]
        padding = [*(0 for _ in pads), *pads] if any(pads) else None
        new = changed(node, kernel_shape=list(part.shape[2:]), pads=padding)
        new.name, new.input[:], new.output[:] = name, inputs, [made]
        return new

    def _vector(self, name: str, outputs: Span, whole: bool) -> str:
        """What has a value for each output, for some of them; a scalar is for all."""
        values = self.tensors.values(name)
        if values.size == 1 and not values.ndim:
            return name
        if whole and not outputs.padded:
            return name
        part = self.tensors.quantized_part(name, outputs.start, outputs.stop, outputs.size)
        if part is not None:
            return part
        cut = padded(values[outputs.start : outputs.stop], (outputs.size,))
        return self.tensors.once(("vector", name, outputs), lambda: self.tensors.value(cut, f"{name}_{outputs.start}"))

    def _map(self, out: list[NodeProto], read: str, place: tuple[Span, ...], fit: Fit) -> str:
        """The part of the map that some input channels and a part of the kernel read, padded with channels of zeros."""
        inputs, *kernel = place
        cuts = [(1, inputs.start, inputs.stop)] if len(fit.inputs) > 1 else []
        for axis, (span, spans) in enumerate(zip(kernel, fit.kernel, strict=True), 2):
            if len(spans) > 1:
                cuts.append((axis, span.start, (span.stop - spans[-1].stop) or TO_THE_END))
        if cuts:
            key = read, *cuts
            if key not in self._made:
                self._made[key] = self._slice(out, read, cuts, self.tensors.unique(f"{read}_part"))
            read = self._made[key]
        return self._pad(out, read, inputs, 2 + len(kernel)) if inputs.padded else read

    def _slice(self, out: list[NodeProto], read: str, cuts: Sequence[tuple[int, int, int]], made: str) -> str:
        axes, starts, ends = zip(*cuts, strict=True)
        return self._add("Slice", out, read, made, starts=starts, ends=ends, axes=axes)

    def _pad(self, out: list[NodeProto], read: str, inputs: Span, rank: int) -> str:
        pads = [0] * (2 * rank)
        pads[rank + 1] = inputs.size - (inputs.stop - inputs.start)
        return self._add("Pad", out, read, self.tensors.unique(f"{read}_padded"), pads=pads)

    def _add(self, op_type: str, out: list[NodeProto], read: str, made: str, **numbers: Sequence[int]) -> str:
        name = self.tensors.unique(f"{made}_{op_type.lower()}")
        out.append(self.tensors.node(op_type, [read], made, name, self.opset, wanted="fit", **numbers))
        return made
