"""Which dimensions of the inputs are spatial: those that the first convolution on the way takes as spatial.

The nodes before it keep the dimensions of the image, or insert and remove others: whatever is pointwise or works along
the channels. Each value's dimensions are followed as those of the input that they are:

    x [N, H, W, 3]  ->  Split, Concat on the last  ->  Transpose  ->  Conv: N, channels, H, W are dimensions 0, 3, 1, 2

A Reshape may take blocks of pixels out of a dimension, and put several dimensions together: those are the channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

from onnx import NodeProto, ValueInfoProto

from fc2conv.analysis.elementwise import BROADCAST, UNARY
from fc2conv.errors import UsageError
from fc2conv.fcn.forms import BATCH, CHANNELS, SPACE, Image, Layout, regrouped, widened
from fc2conv.fcn.training import Shape
from fc2conv.io.custom_ops import BLOCKED, SCALED
from fc2conv.io.sizes import declared_size
from fc2conv.ir.constants import Constants
from fc2conv.ir.graph import OWN, Graph, int_attribute, ints_attribute, op, permutation
from fc2conv.reasons import Code, Reason

_SPATIAL = frozenset(
    """Conv ConvTranspose ConvInteger QLinearConv com.microsoft::FusedConv MaxPool AveragePool LpPool GlobalAveragePool
GlobalMaxPool InstanceNormalization GroupNormalization LRN BatchNormalization DepthToSpace SpaceToDepth""".split()
)
_USUAL = 224
_LETTERS = {1: "L", 2: "HW", 3: "DHW"}
Dims = list[tuple[int, ...]]
"""For each dimension of a value those of the input that it is; empty for one that was inserted."""


def layouts(
    graph: Graph, constants: Constants, ranks: Mapping[str, int], shapes: Mapping[str, Shape]
) -> dict[str, Layout]:
    """Return for each input that leads to a convolution the map axis of each dimension; several may be the channels."""
    out: dict[str, Layout] = {}
    for name, rank in ranks.items():
        dims = _at_convolution(_Followed(graph, constants, shapes, {name: rank}), rank)
        if dims is not None:
            axes = {dim: axis for axis, group in enumerate(dims) for dim in group}
            out[name] = tuple((axes[dim],) for dim in range(rank))
    return out


def blocker(
    graph: Graph, constants: Constants, ranks: Mapping[str, int], shapes: Mapping[str, Shape]
) -> NodeProto | None:
    """Find the first node before a convolution after which the image's axes are not followed, or None.

    Where all nodes are followed, and the axes are no image there, it is the node that the convolution reads.
    """
    followed = _Followed(graph, constants, shapes, ranks)
    reached = set(ranks)
    first: NodeProto | None = None
    for node in graph.nodes:
        if reached & set(node.input) and op(node) not in ("Shape", "Size"):
            reached.update(node.output)
            if op(node) in _SPATIAL and len(shapes.get(node.input[0], range(SPACE + 1))) > SPACE:
                return first or graph.made_by(node.input[0])
            if not followed.passes(node) and first is None:
                first = node
    return None


def _at_convolution(followed: _Followed, rank: int) -> Dims | None:
    """Return the input's dimensions in the order in which the first spatial node has them.

    Dimensions that were taken apart on the way, item by item or channel by channel, are the batch and the channels.
    """
    for node in followed.graph.nodes:
        dims = followed.dims(node)
        if dims is not None and op(node) in _SPATIAL and len(dims) > SPACE:
            there = [dim for group in dims for dim in group]
            lost = [dim for dim in range(rank) if dim not in there]
            if lost[:1] == [BATCH] and not dims[BATCH]:
                dims, lost = [(BATCH,), *dims[CHANNELS:]], lost[1:]
            dims = [dims[BATCH], tuple(sorted((*dims[CHANNELS], *lost))), *dims[SPACE:]]
            dims = [*dims[:SPACE], *filter(None, dims[SPACE:])]  # without what is put in, as in 1-D exported as 2-D
            images = len(dims) > SPACE and all(len(group) == 1 for group in dims[SPACE:])
            if images and len(there) == len(set(there)) and dims[BATCH] in ((BATCH,), ()):
                return dims
        elif dims is not None:
            followed.passes(node)
    return None


class _Followed:
    """Values whose dimensions are known to be those of an input, from the inputs on."""

    def __init__(
        self, graph: Graph, constants: Constants, shapes: Mapping[str, Shape], ranks: Mapping[str, int]
    ) -> None:
        self.graph, self.constants, self.shapes = graph, constants, shapes
        self.known: dict[str, Dims] = {name: [(dim,) for dim in range(rank)] for name, rank in ranks.items()}

    def dims(self, node: NodeProto) -> Dims | None:
        """Merge the dimensions of all operands of a node, aligned at the last; None where no operand is known."""
        found: Dims | None = None
        for each in (self.known[name] for name in node.input if name in self.known):
            found = each if found is None else _merged(found, each)
        return found

    def passes(self, node: NodeProto) -> bool:
        """Note the dimensions of what a node makes; return False if they are not followed, or it reads no image."""
        dims, rule = self.dims(node), _RULES.get(op(node))
        made = rule(self, node, dims) if dims is not None and rule is not None else None
        if made is not None:
            self.known.update((name, made) for name in node.output if name)
        return made is not None

    def shape(self, name: str) -> Sequence[int] | None:
        return self.shapes.get(name) or self.constants.shape(name)

    def axes(self, node: NodeProto) -> list[int] | None:
        """Return the `axes` of a node, an attribute or an operand; None where they are absent or computed."""
        found = ints_attribute(node, "axes")
        if found is None and len(node.input) > 1 and node.input[1]:
            values = self.constants.ints(node.input[1])
            found = list(values) if values is not None else None
        return found


def _merged(one: Dims, other: Dims) -> Dims:
    rank = max(len(one), len(other))
    pairs = zip([()] * (rank - len(one)) + one, [()] * (rank - len(other)) + other, strict=True)
    return [a or b for a, b in pairs]


def _widened(followed: _Followed, node: NodeProto, dims: Dims) -> Dims | None:
    """Broadcast with values that no image reaches: they may have more dimensions."""
    shapes = (followed.shape(name) for name in (*node.input, *node.output))
    return _merged(dims, [()] * max((len(shape) for shape in shapes if shape is not None), default=0))


def _transpose(_: _Followed, node: NodeProto, dims: Dims) -> Dims | None:
    perm = permutation(node, len(dims))
    return None if perm is None else [dims[i] for i in perm]


def _with_more(followed: _Followed, node: NodeProto, dims: Dims) -> Dims | None:
    """Insert the dimensions of an Unsqueeze or a OneHot."""
    axes = [int_attribute(node, "axis", -1)] if op(node) == "OneHot" else followed.axes(node)
    rank = len(dims) + len(axes or ())
    places = {axis % rank for axis in axes or ()}
    return None if axes is None or len(places) < len(axes) else list(widened(tuple(dims), [*places]))


def _with_less(followed: _Followed, node: NodeProto, dims: Dims) -> Dims | None:
    """Remove the dimensions of a Squeeze, or of a reduction, which may keep those that it reduces."""
    if op(node) != "Squeeze" and int_attribute(node, "keepdims", 1):
        return dims
    axes = followed.axes(node)
    return None if axes is None else _without(dims, axes)


def _gather(followed: _Followed, node: NodeProto, dims: Dims) -> Dims | None:
    table = followed.constants.shape(node.input[0])
    if table and node.input[0] not in followed.known and int_attribute(node, "axis", 0) == 0:
        return [*dims, *[()] * (len(table) - 1)]  # a table of values, looked up for each pixel
    indices = followed.shape(node.input[1])
    axis = int_attribute(node, "axis", 0) % len(dims)
    if node.input[0] not in followed.known or indices is None or len(indices) > 1:
        return None
    return dims if indices else _without(dims, [axis])


def _gather_nd(followed: _Followed, node: NodeProto, dims: Dims) -> Dims | None:
    shape = followed.shape(node.input[1]) or ()
    return dims if len(shape) == SPACE and shape[1] == 1 and not int_attribute(node, "batch_dims", 0) else None


def _without(dims: Dims, axes: Sequence[int]) -> Dims:
    gone = {axis % len(dims) for axis in axes}
    return [dim for i, dim in enumerate(dims) if i not in gone]


def _reshape(followed: _Followed, node: NodeProto, dims: Dims) -> Dims | None:
    """Follow a Reshape that keeps or merges dimensions, or takes blocks out of one, whose outer part remains it."""
    sizes, target = followed.shapes.get(node.input[0]), followed.shapes.get(node.output[0])
    if sizes is None or target is None or len(sizes) != len(dims):
        return None
    groups = regrouped(tuple(((dim, size),) for dim, size in enumerate(sizes)), target)
    if groups is None:
        return None
    seen: set[int] = set()
    made: Dims = []
    for group in groups:
        outer = [dim for dim, _ in group if dim not in seen]
        seen.update(outer)
        kept = [dim for dim in outer if sizes[dim] > 1] or outer[:1]
        made.append(tuple(each for dim in kept for each in dims[dim]))
    return made


_KEPT = """CastLike Concat CumSum DequantizeLinear Dropout DynamicQuantizeLinear Hardmax LayerNormalization LogSoftmax
LpNormalization MatMul MeanVarianceNormalization PRelu Pad QuantizeLinear RMSNormalization Resize Slice Softmax Split
Tile TopK Upsample""".split()
"""Operators whose results have the dimensions of what they read."""
_Rule = Callable[[_Followed, NodeProto, Dims], Dims | None]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys([*UNARY, *_KEPT, *OWN.values(), *SCALED, *BLOCKED], lambda _, __, dims: dims),
    **dict.fromkeys([*BROADCAST, "Expand"], _widened),
    **dict.fromkeys([f"Reduce{name}" for name in "Mean Max Sum Min L1 L2 SumSquare".split()], _with_less),
    "Transpose": _transpose,
    "Squeeze": _with_less,
    **dict.fromkeys(["Unsqueeze", "OneHot"], _with_more),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Reshape": _reshape,
}
"""What becomes of the dimensions, by operator."""


def lifted(layout: Layout) -> Layout:
    """Lift the layout of an input of one spatial dimension to that of a map with a height of 1; keep any other."""
    return layout if any(axis > SPACE for (axis,) in layout) else tuple((axis + (axis == SPACE),) for (axis,) in layout)


def chosen(found: Mapping[str, Layout], given: Mapping[str, Sequence[int]]) -> dict[str, Image]:
    """Return the inputs with the axes that grow; raise UsageError for a choice that makes no sense."""
    spatial = {name: [dim for dim, (axis,) in enumerate(layout) if axis >= SPACE] for name, layout in found.items()}
    for name, dims in given.items():
        if name not in found:
            known = ", ".join(found) or "none"
            what = f"--input-axes names {name!r}, which no convolution reads"
            raise UsageError(what, f"those that slide are {known}")
        for dim in dims:
            if dim not in spatial[name]:
                what = f"--input-axes gives dimension {dim} of {name!r}, which is not spatial"
                raise UsageError(what, f"its spatial dimensions are {', '.join(map(str, spatial[name]))}")
    dims_of = spatial if not given else {name: given.get(name, []) for name in found}
    return {name: Image(layout, frozenset(layout[dim][0] for dim in dims_of[name])) for name, layout in found.items()}


def rank_of(constants: Constants, value: ValueInfoProto) -> int:
    """Return the rank of an input; where it has no shape, that of the kernel of a convolution that reads it."""
    tensor = value.type.tensor_type
    return len(tensor.shape.dim) if tensor.HasField("shape") else len(_kernel(constants, value.name))


def of_size(constants: Constants, value: ValueInfoProto, size: int) -> tuple[int, ...]:
    """Return the shape of an input with open dimensions of this size, batch 1, and the channels of a kernel."""
    rank = rank_of(constants, value)
    usual = [1, *_kernel(constants, value.name)[CHANNELS:SPACE], *[size] * rank]
    declared = [*map(declared_size, value.type.tensor_type.shape.dim)] or [None] * rank
    return tuple(known or often for known, often in zip(declared, usual, strict=False))


def _kernel(constants: Constants, name: str) -> Shape:
    """Return the shape of the kernel, as of one group, of a convolution that reads an input; () without a kernel."""
    nodes = (constants.graph.nodes[i] for i in constants.graph.uses.get(name, ()))
    node = next((node for node in nodes if op(node) == "Conv" and node.input[0] == name), None)
    kernel = constants.shape(node.input[1]) if node is not None else None
    if node is None or kernel is None or len(kernel) <= CHANNELS:
        return ()
    return (kernel[0], kernel[CHANNELS] * int_attribute(node, "group", 1), *kernel[SPACE:])


def unknown(constants: Constants, value: ValueInfoProto) -> Reason:
    """Return the reason for an input whose size at training is not known."""
    shape = ",".join(str(dim.dim_value or dim.dim_param or "?") for dim in value.type.tensor_type.shape.dim)
    sizes = ",".join(map(str, of_size(constants, value, _USUAL)))
    remedy = f"Give the size that it was trained on, for example --overwrite-input-shape {value.name}:{sizes}."
    return Reason(Code.SIZE_UNKNOWN, value.name, f"its shape is {shape or 'not known'}", remedy)


def letters(rank: int) -> list[str]:
    """Return a letter for each axis of a map: N, C, and H and W (or L; or D, H and W)."""
    spatial = _LETTERS.get(rank - SPACE)
    return ["N", "C", *(spatial or (f"D{i}" for i in range(1, rank - CHANNELS)))]


def symbol(value: ValueInfoProto, dim: int, axis: int, rank: int, taken: Set[str]) -> str:
    """Return the symbol of a sliding dimension: its own, or its letter, after the input's name if it is taken."""
    dim_param = str(value.type.tensor_type.shape.dim[dim].dim_param)
    letter = letters(rank)[axis]
    return dim_param or (f"{value.name}_{letter}" if letter in taken else letter)
