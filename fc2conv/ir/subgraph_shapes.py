"""Declared shapes that inference must not rely on, found by what inference makes of them.

The bodies of Loop, Scan and SequenceMap declare their inputs, and onnxruntime does not compare that with what they get.
A state has a shape throughout if its first value has it, and if a body that is given it returns it (induction over
the iterations). Inference takes some operands for absent where it does not know their shape.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

from onnx import GraphProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto, numpy_helper

from fc2conv.dataclass import dataclass
from fc2conv.io.sizes import POOLS, declared_size, rounded_down, scaled_up
from fc2conv.ir.graph import int_attribute, ints_attribute, op, scope_path, subgraphs, walk
from fc2conv.layout.axes import Size, nameless, product

Shapes = dict[str, tuple[Size, ...]]
Known = Mapping[str, tuple[Size, ...]]
MOST_ELEMENTS = 1 << 63
"""More elements than a tensor has: their number is an int64."""


def sizes_of(value: ValueInfoProto, zeros: bool = False) -> tuple[Size, ...] | None:
    """Return the declared shape of a value; None where it has none, unknown sizes where no tensor is so large.

    A size of 0 is an unknown size, or with `zeros` that of a value without elements.
    """
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    found = tuple(_size(dim, f"?{value.name}.{i}", zeros) for i, dim in enumerate(kind.shape.dim))
    if product(found).coefficient < MOST_ELEMENTS:
        return found
    return tuple(Size(1, (f"?{value.name}.{i}",)) for i in range(len(found)))


def declared_in(graph: GraphProto) -> Shapes:
    """Return the shapes that a graph declares; values of one type share a shape where each size of it has a name."""
    found: Shapes = {}
    known: dict[bytes, tuple[Size, ...]] = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.SerializeToString()
        if (shape := known.get(kind)) is None:
            shape = sizes_of(value, zeros=True)
            if shape is not None and not any(nameless(symbol) for size in shape for symbol in size.symbols):
                known[kind] = shape
        if shape is not None:
            found[value.name] = shape
    return found


def known_sizes(shape: Sequence[Size] | None) -> list[int | None]:
    """Return the sizes of a shape that are numbers, and None for others."""
    return [size.coefficient if size.known else None for size in shape or ()]


_ZERO = "?0?"


def empty(shape: Sequence[Size]) -> bool:
    """Return whether a value of this shape is empty: a size of 0 is a symbol, as no axis is known to be empty."""
    return any(symbol.startswith(_ZERO) for size in shape for symbol in size.symbols)


def _size(dim: TensorShapeProto.Dimension, unknown: str, zeros: bool) -> Size:
    size = declared_size(dim)
    if size is not None:
        return Size(size)
    if zeros and dim.HasField("dim_value") and dim.dim_value == 0:
        return Size(1, (_ZERO + unknown,))
    return Size(1, (dim.dim_param or unknown,))


@dataclass(frozen=True)
class _Operand:
    """An input of a body: it gets `given` (without the axis that a Scan runs over), and `back` in later iterations."""

    value: ValueInfoProto
    given: str = ""
    axis: int | None = None
    back: str = ""


_MISREAD = {"Slice": (3, 4), "Pad": (3,)}
"""Operands without which a node means something else; inference takes one of unknown shape for absent."""

_SCALED = ("Resize", "Upsample")
_COUNTED = (*POOLS, *_SCALED)
CORRECTED = frozenset((*_MISREAD, *_COUNTED))
"""Operators other than those with bodies for which inference may find shapes that do not hold."""

_RANK = -1
"""Instead of a dimension: a body declares no shape of an input, and the shape of what is given is tried."""

_UNKNOWN = "Unknown"
"""The name of no operator of ONNX's own, so that inference knows nothing of the node."""


class Corrections:
    """Corrections of declared shapes that do not hold, made until all that are left hold."""

    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self._corrected: set[tuple[str, str, int]] = set()
        self._stated: set[tuple[str, str]] = set()

    def made(self, shapes: Mapping[str, Shapes]) -> bool:
        """Correct the graph and return whether it changed: then the inferred shapes are no longer its own.

        A body's input gets the sizes of what it is given, and no sizes where those do not hold either. A node with an
        operand that inference would misread becomes an operator that inference does not know.
        """
        return self._scope(self._graph, "", ChainMap(), shapes)

    def _scope(
        self, graph: GraphProto, path: str, outer: ChainMap[str, tuple[Size, ...]], shapes: Mapping[str, Shapes]
    ) -> bool:
        seen = outer.new_child(_seen(graph, shapes.get(path, {})))
        changed = False
        for node in graph.node:
            if any(node.input[i] and node.input[i] not in seen for i in misread(node)):
                node.op_type = _UNKNOWN
                changed = True
            if op(node) in _COUNTED and _recounted(graph, node, known_sizes(seen.get(_at(node.input, 0)))):
                return True  # the nodes after it have other sizes
            for name, body in subgraphs(node):
                inner = scope_path(path, node, name)
                within = seen.new_child(_seen(body, shapes.get(inner, {})))
                if self._scope(body, inner, seen, shapes):
                    changed = True
                    continue  # what a body returns may depend on the loops within
                corrected = [self._operand(operand, inner, seen, within) for operand in _operands(node, body)]
                if any(corrected):
                    changed = True
                    self._forget(body, inner)
                if op(node) == "Loop" and not changed:
                    changed = self._state_results(graph, path, node, body, seen, within)
        return changed

    def _operand(self, operand: _Operand, path: str, seen: Known, within: Known) -> bool:
        shape = operand.value.type.tensor_type.shape
        declared = sizes_of(operand.value)
        given = _without(seen.get(operand.given), operand.axis)
        if declared is None:
            if given is None or operand.value.name in within or not self._first(path, operand, _RANK):
                return False
            _declare(operand.value, given)
            return True
        back = within.get(operand.back) if operand.back else given
        if given is None or back is None or not len(given) == len(back) == len(declared):
            # The file still declares the rank: inference would refuse a Conv after it.
            operand.value.type.tensor_type.ClearField("shape")
            return True
        changed = False
        for i, dim in enumerate(shape.dim):
            size = declared[i]
            if (dim.HasField("dim_value") or dim.dim_param) and not size == given[i] == back[i]:
                _write(dim, given[i] if size != given[i] and self._first(path, operand, i) else None)
                changed = True
        return changed

    def _first(self, path: str, operand: _Operand, i: int) -> bool:
        """Return whether a dimension is corrected for the first time, and note that: the given size is tried once."""
        key = (path, operand.value.name, i)
        known = key in self._corrected
        self._corrected.add(key)
        return not known

    def _state_results(
        self, graph: GraphProto, path: str, node: NodeProto, body: GraphProto, seen: Known, within: Known
    ) -> bool:
        """Declare results of a Loop's states that have a rank throughout, with the sizes that stay; say if any is new.

        Inference knows no shape of them, as the states of an iteration may have any shape.
        """
        found, declared = False, {value.name for value in graph.value_info}
        for i, value in enumerate(body.input[2:]):
            result, back = _at(node.output, i), _at([each.name for each in body.output], i + 1)
            shapes = [seen.get(_at(node.input, i + 2)), within.get(back), sizes_of(value)]
            known = [shape for shape in shapes if shape is not None]
            if not result or result in declared or result in seen:
                continue
            if len(known) < len(shapes) or len({*map(len, known)}) > 1:
                continue
            info = graph.value_info.add(name=result)
            info.type.tensor_type.elem_type = value.type.tensor_type.elem_type
            _declare(info, [sizes[0] if len({*sizes}) == 1 else None for sizes in zip(*known, strict=True)])
            self._stated.add((path, result))
            found = True
        return found

    def _forget(self, body: GraphProto, path: str) -> None:
        """Remove the declared results of Loops within a body that is given something else from now on."""
        for inner, graph in walk(body, path):
            for value in [value for value in graph.value_info if (inner, value.name) in self._stated]:
                graph.value_info.remove(value)


def _seen(graph: GraphProto, shapes: Known) -> MutableMapping[str, tuple[Size, ...]]:
    return {tensor.name: tuple(map(Size, tensor.dims)) for tensor in graph.initializer} | dict(shapes)


def misread(node: NodeProto) -> Iterator[int]:
    """Yield the positions of operands that make inference misread a node where their shapes are unknown."""
    return (i for i in _MISREAD.get(op(node), ()) if i < len(node.input))


def scales_of(node: NodeProto) -> str:
    """Return the operand that has the scales of a Resize or an Upsample; "" for other nodes."""
    return _at(node.input, 2 if len(node.input) > 2 else 1) if op(node) in _SCALED else ""


def _recounted(graph: GraphProto, node: NodeProto, sizes: Sequence[int | None]) -> bool:
    """Change a pool or a Resize for which inference counts other cells than runtimes; return whether it changed."""
    counted = rounded_down(node, sizes)
    if counted is node:
        return _rescaled(graph, node, sizes)
    node.CopyFrom(counted)
    return True


def _rescaled(graph: GraphProto, node: NodeProto, sizes: Sequence[int | None]) -> bool:
    """Give a Resize scales of its own where inference finds other sizes by the old ones; return whether it changed."""
    name = scales_of(node)
    if not name or not sizes:
        return False
    made = (a.t for each in graph.node if name in each.output for a in each.attribute if a.name == "value")
    tensor = next((each for each in graph.initializer if each.name == name), None) or next(made, None)
    if tensor is None or tensor.data_type != TensorProto.FLOAT or sum(tensor.dims) > len(sizes) or tensor.external_data:
        return False
    scales = numpy_helper.to_array(tensor).reshape(-1)
    new = scaled_up(node, sizes, scales)
    if (new == scales).all():
        return False
    graph.initializer.append(numpy_helper.from_array(new, f"{node.output[0]} scales"))
    node.input[2 if len(node.input) > 2 else 1] = f"{node.output[0]} scales"
    return True


def _operands(node: NodeProto, body: GraphProto) -> Iterator[_Operand]:
    """Yield the inputs of a body, except a Loop's iteration number and condition."""
    inputs, outputs = list(body.input), [value.name for value in body.output]
    if op(node) == "Loop":
        for i, value in enumerate(inputs[2:], 2):
            yield _Operand(value, _at(node.input, i), None, _at(outputs, i - 1))
    elif op(node) == "Scan" and len(node.input) == len(inputs):  # version 8 has an operand more, and a batch
        states = len(inputs) - int_attribute(node, "num_scan_inputs", 0)
        axes = ints_attribute(node, "scan_input_axes") or [0] * len(inputs)
        for i, value in enumerate(inputs):
            state = i < states
            axis = None if state else axes[min(i - states, len(axes) - 1)]
            yield _Operand(value, _at(node.input, i), axis, _at(outputs, i) if state else "")
    else:
        yield from map(_Operand, inputs)


def _at(names: Sequence[str], i: int) -> str:
    return names[i] if i < len(names) else ""


def _without(shape: tuple[Size, ...] | None, axis: int | None) -> tuple[Size, ...] | None:
    if shape is None or axis is None:
        return shape
    axis %= len(shape) or 1
    return (*shape[:axis], *shape[axis + 1 :])


def _declare(value: ValueInfoProto, sizes: Sequence[Size | None]) -> None:
    shape = value.type.tensor_type.shape
    shape.SetInParent()  # a scalar has no dimension to say
    for size in sizes:
        _write(shape.dim.add(), size)


def _write(dim: TensorShapeProto.Dimension, size: Size | None) -> None:
    dim.Clear()
    if size is not None and size.known:
        dim.dim_value = size.coefficient
    elif size is not None and not nameless(size.symbols[0]):
        dim.dim_param = size.symbols[0]
