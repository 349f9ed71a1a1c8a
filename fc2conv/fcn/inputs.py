"""Which dimensions of the inputs are spatial: those that the first convolution on the way takes for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from onnx import NodeProto, ValueInfoProto

from fc2conv.analysis.elementwise import BROADCAST, UNARY
from fc2conv.errors import UsageError
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Layout
from fc2conv.io.sizes import declared_size
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import Graph, ints_attribute, op, permutation
from fc2conv.reasons import Code, Reason

_SPATIAL = frozenset(
    """Conv ConvTranspose ConvInteger QLinearConv com.microsoft::FusedConv MaxPool AveragePool LpPool GlobalAveragePool
GlobalMaxPool InstanceNormalization GroupNormalization LRN BatchNormalization DepthToSpace SpaceToDepth""".split()
)
_SAME = frozenset([*UNARY, *BROADCAST, "Dropout", "Pad", "DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear"])
_USUAL = 224
_LETTERS = {1: "L", 2: "HW", 3: "DHW"}


def layouts(graph: Graph, constants: Constants, ranks: Mapping[str, int]) -> dict[str, Layout]:
    """For each input that leads to a convolution: the axes of the map that its dimensions are."""
    out: dict[str, Layout] = {}
    for name, rank in ranks.items():
        dims = _at_convolution(graph, constants, name, rank)
        if dims is None or sorted(dim for dim in dims if dim is not None) != list(range(rank)):
            continue
        axes = {dim: axis for axis, dim in enumerate(dims) if dim is not None}
        if axes.get(0) == BATCH:
            out[name] = tuple((axes[dim],) for dim in range(rank))
    return out


def blocker(graph: Graph, constants: Constants, ranks: Mapping[str, int]) -> NodeProto | None:
    """The first node in front of a convolution behind which the axes of an image are not followed; None for none."""
    reached = set(ranks)
    first: NodeProto | None = None
    known = {name: list[int | None](range(rank)) for name, rank in ranks.items()}
    for node in graph.nodes:
        if not reached & set(node.input):
            continue
        reached.update(node.output)
        source = next((known[each] for each in node.input if each in known), None)
        moved = _moved(constants, node, source) if source is not None else None
        if moved is not None:
            known[node.output[0]] = moved
        elif op(node) in _SPATIAL:
            return first
        elif source is not None and first is None:
            first = node
    return None


def _at_convolution(graph: Graph, constants: Constants, name: str, rank: int) -> list[int | None] | None:
    """The input's dimensions in the order in which the first spatial node has them (None: one that was put in)."""
    known: dict[str, list[int | None]] = {name: list(range(rank))}
    for node in graph.nodes:
        source = next((known[each] for each in node.input if each in known), None)
        if source is None:
            continue
        if op(node) in _SPATIAL:
            if len(source) > SPACE:
                return source
            continue
        moved = _moved(constants, node, source)
        if moved is not None:
            known[node.output[0]] = moved
    return None


def _moved(constants: Constants, node: NodeProto, dims: list[int | None]) -> list[int | None] | None:
    kind = op(node)
    if kind in _SAME:
        return dims
    if kind == "Transpose":
        perm = permutation(node, len(dims))
        return None if perm is None else [dims[i] for i in perm]
    if kind == "Unsqueeze":
        axes = ints_attribute(node, "axes")
        if axes is None and len(node.input) > 1:
            found = constants.ints(node.input[1])
            axes = list(found) if found is not None else None
        if axes is None:
            return None
        rank = len(dims) + len(axes)
        places = {axis % rank for axis in axes}
        if len(places) < len(axes):
            return None
        rest = list(dims)
        return [None if i in places else rest.pop(0) for i in range(rank)]
    return None


def chosen(found: Mapping[str, Layout], given: Mapping[str, Sequence[int]]) -> dict[str, frozenset[int]]:
    """The axes of each input's map that grow; raises UsageError for a choice that makes no sense."""
    for name, dims in given.items():
        if name not in found:
            known = ", ".join(found) or "none"
            raise UsageError(
                f"--input-axes names {name!r}, which no convolution reads", f"those that slide are {known}"
            )
        for dim in dims:
            if dim >= len(found[name]) or found[name][dim][0] < SPACE:
                spatial = ", ".join(str(d) for d, axes in enumerate(found[name]) if axes[0] >= SPACE)
                what = f"--input-axes gives dimension {dim} of {name!r}, which is not spatial"
                raise UsageError(what, f"its spatial dimensions are {spatial}")
    out: dict[str, frozenset[int]] = {}
    for name, layout in found.items():
        every = [dim for dim, axes in enumerate(layout) if axes[0] >= SPACE]
        dims = given.get(name, []) if given else every
        out[name] = frozenset(layout[dim][0] for dim in dims)
    return out


def of_size(value: ValueInfoProto, size: int) -> tuple[int, ...]:
    """The shape of an input whose open dimensions have this size, the batch 1."""
    dims = value.type.tensor_type.shape.dim
    return tuple(declared_size(dim) or (size if i else 1) for i, dim in enumerate(dims))


def unknown(value: ValueInfoProto) -> Reason:
    """The reason for an input whose size at training is not known."""
    shape = ",".join(str(dim.dim_value or dim.dim_param or "?") for dim in value.type.tensor_type.shape.dim)
    sizes = ",".join(map(str, of_size(value, _USUAL)))
    remedy = f"Give the size that it was trained on, for example --overwrite-input-shape {value.name}:{sizes}."
    return Reason(Code.SIZE_UNKNOWN, value.name, f"its shape is {shape}", remedy)


def letters(rank: int) -> list[str]:
    """A letter for each axis of a map: N, C, and H and W (or L; or D, H and W)."""
    spatial = _LETTERS.get(rank - SPACE)
    return ["N", "C", *(spatial or (f"D{i}" for i in range(1, rank - CHANNELS)))]


def symbol(value: ValueInfoProto, dim: int, axis: int, rank: int, taken: Set[str]) -> str:
    """The symbol of a sliding dimension: its own, or its letter, behind the input's name if it is taken."""
    held = str(value.type.tensor_type.shape.dim[dim].dim_param)
    letter = letters(rank)[axis]
    return held or (f"{value.name}_{letter}" if letter in taken else letter)
