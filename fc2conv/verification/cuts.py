"""Cuts of the batch at a number: a Slice that ends at 3 does nothing to a batch of 3, and something to one of 5."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, NodeProto, TensorProto

from fc2conv.io.reader import ModelFile
from fc2conv.verification.nodes import label

MOST = 64
"""The largest number for which a batch of one item more is run."""

_TO_THE_END = (1 << 31) - 1
_SMALL = 8
"""Elements of the operands of a Slice that are looked at."""


def other_batch(original: ModelFile, converted: ModelFile, least: int) -> int:
    """A batch beyond every number up to `MOST` at which one of the two models alone cuts the first dimension."""
    numbers = [number for number, _ in _alone(original, converted) if number <= MOST]
    return max([least, *(number + 1 for number in numbers)])


def beyond_all_runs(original: ModelFile, converted: ModelFile) -> str:
    """A cut in one of the two models alone that no run reaches, in words; "" if there is none."""
    found = next(((n, node) for n, node in _alone(original, converted) if n > MOST), None)
    return f"{label(found[1])} cuts the first dimension at {found[0]}, which no run reaches" if found else ""


def _alone(original: ModelFile, converted: ModelFile) -> Iterator[tuple[int, NodeProto]]:
    """The numbers that one of the models alone cuts at, each with the node that does."""
    one, other = (dict(_cuts(file)) for file in (original, converted))
    for number in sorted(one.keys() ^ other.keys()):
        yield number, one.get(number) or other[number]


def _cuts(file: ModelFile) -> Iterator[tuple[int, NodeProto]]:
    graph = file.model.graph
    constants = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    fed = _fed(graph)
    for node in graph.node:
        if node.op_type == "Slice" and node.input[0] in fed:
            starts, ends, axes = (_numbers(file, node, constants, *each) for each in _OPERANDS)
            for i, bounds in enumerate(zip(starts, ends, strict=False)):
                if i >= len(axes) or axes[i] <= 0:  # a negative one may be the first as well
                    yield from ((abs(n), node) for n in bounds if 0 < abs(n) < _TO_THE_END)


_OPERANDS = ((1, "starts"), (2, "ends"), (3, "axes"))


def _numbers(file: ModelFile, node: NodeProto, constants: dict[str, TensorProto], place: int, name: str) -> list[int]:
    """One operand of a Slice, which was an attribute once; empty where it is no small constant."""
    for attribute in node.attribute:
        if attribute.name == name:
            return list(attribute.ints)
    tensor = constants.get(node.input[place]) if len(node.input) > place else None
    if tensor is None or len(tensor.dims) > 1 or max(tensor.dims, default=1) > _SMALL:
        return [0] if name == "axes" and len(node.input) > place and node.input[place] else []
    numbers = file.array(tensor).reshape(-1)
    return [int(n) for n in numbers] if numbers.dtype.kind in "iu" else []


def _fed(graph: GraphProto) -> set[str]:
    """The values that hold elements of the inputs, and not sizes of them."""
    fed = {v.name for v in graph.input} - {t.name for t in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") and fed.intersection(node.input):
            fed.update(node.output)
    return fed
