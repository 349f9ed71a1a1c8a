"""Models that compute nearly what another does: one number, attribute, operator or operand is another one.

Some part only at some sizes of the batch: a Slice that cuts later items off, a size that is compared, items in each
other's place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from execute import Array, feeds, run
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as errors

import fc2conv
from fc2conv.errors import ExitCode, Fc2convError

from .builder import RandomModel

Draw = np.random.Generator
ALIKE = [
    each.split()
    for each in (
        "Add Sub Mul",
        "Max Min Sum Mean",
        "Relu Abs Neg Identity Sigmoid Tanh Softplus Elu LeakyRelu Softsign HardSigmoid Erf Sin Exp Selu Celu",
        "Softmax LogSoftmax",
        "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare",
        "MaxPool AveragePool",
        "GlobalAveragePool GlobalMaxPool",
    )
]
LENIENT = frozenset({"Einsum", "PRelu"})
"""Operators that onnxruntime runs at sizes which ONNX does not allow."""
PARTS = 2e-3
"""Of the largest number of an output: more than rounding."""
AXES_ARE_OPERANDS = 13
_LAST = 2**31 - 1
_REFUSED = (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.RuntimeException, errors.NotImplemented)


@dataclass(frozen=True)
class Pair:
    """What `verify` says of two models, and whether they part somewhere in onnxruntime ("" where neither runs)."""

    change: str
    verdict: str
    parts: bool

    @property
    def fault(self) -> str:
        """What is wrong: models that part are accepted, or the comparison ends with a fault."""
        wrong = (self.parts and self.verdict in ("proved", "agrees")) or self.verdict.startswith("fault")
        return f"{self.change}: {self.verdict}" if wrong else ""


def compared(random_model: RandomModel, draw: Draw) -> Pair | None:
    """Compare a model with one that computes nearly the same; None where no change was found, or it does not run."""
    model = ModelProto.FromString(random_model.model.SerializeToString())
    change = CHANGES[int(draw.integers(len(CHANGES)))]
    if not change(_Changing(model, draw)):
        return None
    nodes = [*random_model.model.graph.node, *model.graph.node]
    one_batch = not random_model.dynamic or any(node.op_type in LENIENT for node in nodes)
    found = [_parts(random_model.model, model, n) for n in ([random_model.batch] if one_batch else (1, 2, 3, 4, 7))]
    if not any(each is not None for each in found):
        return None
    try:
        verdict = fc2conv.verify(random_model.model, model).verdict.value
    except Fc2convError as error:
        verdict = f"fault: {error}" if error.exit_code is ExitCode.FAULT else f"exit {error.exit_code.value}"
    return Pair(change.__name__.strip("_"), verdict, any(found))


def _parts(one: ModelProto, other: ModelProto, items: int) -> bool | None:
    """Whether two models part with so many items; None where the first does not run, or neither."""
    before = _run(one, items)
    if before is None or not all(each.size for each in before):
        return None
    after = _run(other, items)
    return None if after is None else any(_apart(*pair) for pair in zip(before, after, strict=True))


def _run(model: ModelProto, items: int) -> list[Array] | None:
    try:
        return run(model, feeds(model, {"N": items}))
    except _REFUSED:
        return None


def _apart(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return True
    return not np.allclose(one, other, rtol=0, atol=PARTS * max(1e-3, float(np.nanmax(np.abs(one)))), equal_nan=True)


@dataclass
class _Changing:
    model: ModelProto
    draw: Draw
    made: list[NodeProto] = field(default_factory=list)

    def below(self, bound: int) -> int:
        return int(self.draw.integers(bound))

    def node(self) -> tuple[int, NodeProto]:
        at = self.below(len(self.model.graph.node))
        return at, self.model.graph.node[at]

    def tensor(self, kinds: Sequence[int]) -> TensorProto | None:
        there = [t for t in self.model.graph.initializer if t.data_type in kinds and numpy_helper.to_array(t).size]
        return there[self.below(len(there))] if there else None

    def add(self, op: str, *inputs: str | list[int] | int, **attributes: object) -> str:
        """A node of names and of integers; the name of its result."""
        names = []
        for each in inputs:
            names.append(each if isinstance(each, str) else f"other{len(self.model.graph.initializer)}")
            if not isinstance(each, str):
                self.model.graph.initializer.append(numpy_helper.from_array(np.array(each, np.int64), names[-1]))
        made = f"other_{op}_{len(self.made)}"
        self.made.append(helper.make_node(op, names, [made], **attributes))
        return made

    def in_front(self, make: Callable[[str], str]) -> bool:
        """Put what is made of a node's first operand in its place."""
        at, node = self.node()
        if not node.input or not node.input[0] or self.model.opset_import[0].version < AXES_ARE_OPERANDS:
            return False
        node.input[0] = make(node.input[0])
        for i, each in enumerate(self.made):
            self.model.graph.node.insert(at + i, each)
        return True


def _integer(of: _Changing) -> bool:
    tensor = of.tensor([TensorProto.INT64])
    if tensor is None:
        return False
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[of.below(values.size)] += (-1, 1, 2)[of.below(3)]
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return True


def _weight(of: _Changing) -> bool:
    tensor = of.tensor([TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8])
    if tensor is None:
        return False
    values = numpy_helper.to_array(tensor).copy()
    at = of.below(values.size)
    values.reshape(-1)[at] += 1 if values.dtype.kind != "f" else np.float32(0.02)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return True


def _attribute(of: _Changing) -> bool:
    _, node = of.node()
    there = [a for a in node.attribute if a.ints]
    if not there:
        return False
    attribute = there[of.below(len(there))]
    one, other = of.below(len(attribute.ints)), of.below(len(attribute.ints))
    if attribute.name == "perm":
        attribute.ints[one], attribute.ints[other] = attribute.ints[other], attribute.ints[one]
    else:
        attribute.ints[one] += (-1, 1)[of.below(2)]
    return True


def _operator(of: _Changing) -> bool:
    _, node = of.node()
    others = [name for group in ALIKE if node.op_type in group for name in group if name != node.op_type]
    node.op_type = others[of.below(len(others))] if others else node.op_type
    return bool(others)


def _operand(of: _Changing) -> bool:
    at, node = of.node()
    before = [name for each in list(of.model.graph.node)[:at] for name in each.output]
    before += [value.name for value in of.model.graph.input]
    if node.input:
        node.input[of.below(len(node.input))] = before[of.below(len(before))]
    return bool(node.input)


def _cut(of: _Changing) -> bool:
    end = 1 + of.below(4)
    return of.in_front(lambda x: of.add("Slice", x, [0], [end], [0]))


def _size(of: _Changing) -> bool:
    """A number is added where the batch is less than, more than, or as large as another."""
    compare, number = ("Less", "Greater", "Equal")[of.below(3)], 1 + of.below(3)

    def more(x: str) -> str:
        size = of.add("Slice", of.add("Shape", of.model.graph.input[0].name), [0], [1])
        return of.add("Add", x, of.add("Cast", of.add(compare, size, [number]), to=TensorProto.FLOAT))

    return of.in_front(more)


def _items(of: _Changing) -> bool:
    """Items in each other's place, the difference of two of them added to all, or sums over them."""

    def turned(x: str) -> str:
        first, rest = of.add("Slice", x, [0], [1], [0]), of.add("Slice", x, [1], [_LAST], [0])
        return of.add("Concat", rest, first, axis=0)

    def shifted(x: str) -> str:
        first, last = of.add("Slice", x, [0], [1], [0]), of.add("Slice", x, [-1], [_LAST], [0])
        return of.add("Add", x, of.add("Sub", first, last))

    return of.in_front((turned, shifted, lambda x: of.add("CumSum", x, 0))[of.below(3)])


CHANGES: Sequence[Callable[[_Changing], bool]] = (
    _integer, _weight, _attribute, _operator, _operand, _cut, _size, _items,
)  # fmt: skip
