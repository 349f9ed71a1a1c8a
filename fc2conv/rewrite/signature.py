"""Inputs and outputs as a target wants them: sizes that are numbers, and results that stay maps.

Both are done to the model before it is converted, so that what is proved has the new signature on both sides. A model
that was made so says it in `metadata_props`, and `verify` does the same to the original.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import field, replace

import msgspec
from onnx import ModelProto, TensorShapeProto, ValueInfoProto

from fc2conv.dataclass import dataclass
from fc2conv.errors import UsageError
from fc2conv.io.parsing import of_json
from fc2conv.io.reader import ModelFile
from fc2conv.io.sizes import declared_size
from fc2conv.ir.constants import scopes
from fc2conv.ir.graph import OWN_INITIALIZERS, Graph, new_node, onnx_opset, op, opset_versions, walk
from fc2conv.ir.propagation import propagate
from fc2conv.ir.shapes import as_input, inferred
from fc2conv.options import Options
from fc2conv.planning.planner import Plan
from fc2conv.rewrite.model import rewrite_model
from fc2conv.rewrite.pool import Pool
from fc2conv.rewrite.scopes import Rewritten
from fc2conv.rewrite.swap import renamed

KEY = "fc2conv.signature"
"""The key of `metadata_props`."""

_RESHAPES = {2: (0, -1, 1, 1), 3: (0, 0, 1, -1)}
"""The shape of an output of each rank as a map; one of rank 3, `[N, L, M]`, is transposed first."""


@dataclass(frozen=True)
class Signature:
    """The shapes of inputs, all of numbers, and the outputs `[N, M]` (`[N, L, M]`) that are maps."""

    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs)

    def __str__(self) -> str:
        shapes = [f"{name} {','.join(map(str, shape))}" for name, shape in self.inputs.items()]
        maps = [f"{name} as a map" for name in self.outputs]
        return "; ".join([*shapes, *maps])


def rewrite_signed(file: ModelFile, options: Options) -> tuple[ModelFile, Sequence[Plan], Rewritten | None]:
    """Rewrite the model with the signature that was asked for; return it, its plans, and what they make of it.

    Leave an output as it is where only a layout node at its end would make it a map.
    """
    signature = wanted(file.model, options)
    while True:
        base = signed(file, signature)
        shapes = {name: shape for name, shape in options.input_shapes.items() if name not in signature.inputs}
        plans, made = rewrite_model(base, replace(options, input_shapes=shapes))
        stay = reshaped((made or base).model, signature)
        if not stay:
            if made is None and base is not file:
                made = Rewritten(base, base.model, base.payloads)
            return base, plans, made
        signature = replace(signature, outputs=tuple(name for name in signature.outputs if name not in stay))


def signed_like(file: ModelFile, other: ModelFile) -> tuple[ModelFile, Signature]:
    """Give a model the signature that another one states; return it as it is where it cannot have that, or has it."""
    signature = signature_of(other.model)
    if signature == signature_of(file.model) or not fits(file.model, signature):
        return file, Signature()
    return signed(file, signature), signature


def wanted(model: ModelProto, options: Options) -> Signature:
    """Return the signature that the options ask for; raise UsageError for a size that nothing says."""
    outputs: tuple[str, ...] = ()
    if options.sliding is not None and (options.static is not None or options.outputs == "4d"):
        what = "--static and --outputs 4d fix what --fully-convolutional frees"
        raise UsageError(what, "leave out one of them")
    if options.outputs == "4d":
        made = {name for node in model.graph.node for name in node.output}
        outputs = tuple(value.name for value in model.graph.output if value.name in made and _rank(value) in _RESHAPES)
    return Signature(_inputs(model, options) if options.static is not None else {}, outputs)


def signature_of(model: ModelProto) -> Signature:
    """Return the signature that a model states; an empty one where it states nothing that fc2conv writes."""
    text = next((entry.value for entry in model.metadata_props if entry.key == KEY), "")
    try:
        return msgspec.convert(of_json(text), Signature)
    except ValueError:  # msgspec's errors are ValueErrors
        return Signature()


def fits(model: ModelProto, signature: Signature) -> bool:
    """Return whether a model has the inputs and outputs of a signature, in shapes that may become those."""
    inputs, outputs = ({value.name: value for value in each} for each in (model.graph.input, model.graph.output))
    for name, shape in signature.inputs.items():
        dims = inputs[name].type.tensor_type.shape.dim if name in inputs else None
        if dims is None or len(dims) != len(shape):
            return False
        if any(size < 1 or declared_size(dim) not in (None, size) for dim, size in zip(dims, shape, strict=True)):
            return False
    return all(name in outputs and _rank(outputs[name]) in _RESHAPES for name in signature.outputs)


def signed(file: ModelFile, signature: Signature) -> ModelFile:
    """Give a copy of a model another signature, noted in its metadata; return it as it is where nothing changes."""
    if not signature:
        return file
    model = deepcopy(file.model)
    _fix_sizes(replace(file, model=model), signature.inputs)
    for name in signature.outputs:
        _leave_map(model, name)
    others = [entry for entry in model.metadata_props if entry.key != KEY]
    model.ClearField("metadata_props")
    model.metadata_props.extend(others)
    plain = json.dumps(msgspec.to_builtins(signature), sort_keys=True, separators=(",", ":"))
    model.metadata_props.add(key=KEY, value=plain)
    return replace(file, model=model)


def reshaped(model: ModelProto, signature: Signature) -> tuple[str, ...]:
    """Return the outputs of a signature that are maps only by a Reshape, Transpose or Identity at their end."""
    wanted, behind = {*signature.outputs}, ("Reshape", "Transpose", "Identity")
    nodes = model.graph.node if wanted else ()
    made = {name for node in nodes if op(node) in behind for name in node.output}
    return tuple(name for name in signature.outputs if name in made)


def _inputs(model: ModelProto, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input that has an open size, or that is given another shape.

    An open size is the batch where it is the first one of an input, or has the symbol of such a size. That of a vector
    counts only where every input is a vector.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [value for value in model.graph.input if value.name not in weights]
    given = {**options.verification.input_shapes, **options.input_shapes}
    rank = min(2, max((len(value.type.tensor_type.shape.dim) for value in values), default=0))
    firsts = (dims[0] for value in values if len(dims := value.type.tensor_type.shape.dim) >= max(rank, 1))
    batches = {dim.dim_param for dim in firsts} - {""}
    out: dict[str, tuple[int, ...]] = {}
    first: dict[str, int | None] = {}
    for value in values:
        dims = value.type.tensor_type.shape.dim
        shape = [declared_size(dim) for dim in dims]
        given_sizes = given.get(value.name, (0,) * len(dims))
        for i, (dim, size) in enumerate(zip(dims, given_sizes, strict=True)):
            is_batch = (i == 0 and len(dims) >= rank) or dim.dim_param in batches
            shape[i] = size or shape[i] or (options.static if is_batch else None)
        if None in shape:
            sizes = ",".join(str(size or f"D{i}") for i, size in enumerate(shape))
            what = f"--static needs all sizes of the input {value.name!r}"
            raise UsageError(what, f"give them: --overwrite-input-shape {value.name}:{sizes}, with numbers")
        if shape != [declared_size(dim) for dim in dims]:
            out[value.name] = tuple(size or 1 for size in shape)
        if shape:
            first[value.name] = shape[0]
    if first and options.static not in (1, *first.values()):
        fixed = ", ".join(f"{name!r} of {size}" for name, size in first.items())
        what = f"--static={options.static}, and the model has a batch of its own: {fixed}"
        raise UsageError(what, "export it with an open batch, or leave the number out")
    return out


def _fix_sizes(file: ModelFile, inputs: Mapping[str, tuple[int, ...]]) -> None:
    """Write the shapes of inputs, and what they say of symbols and of the outputs."""
    if not inputs:
        return
    model = file.model
    symbols: dict[str, int] = {}
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, inputs.get(value.name, ()), strict=False):
            if dim.dim_param:
                symbols[dim.dim_param] = size
            dim.dim_value = size
    values = (value for _, each in walk(model.graph) for value in (*each.input, *each.output, *each.value_info))
    for value in values:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_value = symbols[dim.dim_param]
    graph, constants = next(scopes(file, freeze=False))
    found = propagate(graph, constants, inferred(model, {})[""]).shapes
    for value in model.graph.output:
        dims = value.type.tensor_type.shape.dim
        for dim, known in zip(dims, found.get(value.name, ()), strict=False):
            if declared_size(dim) is None and known.known and known.coefficient > 0:
                dim.dim_value = known.coefficient


def _rank(value: ValueInfoProto) -> int:
    return len(value.type.tensor_type.shape.dim) if value.type.HasField("tensor_type") else 0


def _leave_map(model: ModelProto, name: str) -> None:
    """Put a Reshape after an output, whose value gets another name; a plan lets the node vanish into a map."""
    graph = model.graph
    opsets = opset_versions(model)
    pool = Pool((), Graph.of(model).names, {})
    value = next(each for each in graph.output if each.name == name)
    rank = _rank(value)
    read = inner = pool.unique(f"{name}_flat")
    renamed(graph.node, {name: inner})
    for info in graph.value_info:
        info.name = inner if info.name == name else info.name
    if rank == 3:
        read = pool.unique(f"{name}_turned")
        graph.node.append(new_node("Transpose", [inner], [read], pool.unique(f"{name}_transpose"), perm=[0, 2, 1]))
    node, shape = pool.unique(f"{name}_reshape"), _RESHAPES[rank]
    opset = onnx_opset(opsets)
    graph.node.append(pool.node("Reshape", [read], name, node, opset, wanted=f"{name}_map", shape=shape))
    graph.initializer.extend(pool.new)
    graph.input.extend(as_input(tensor) for tensor in pool.new if model.ir_version < OWN_INITIALIZERS)
    kind, one = value.type.tensor_type, TensorShapeProto.Dimension(dim_value=1)
    items, *rest = kind.shape.dim
    sizes = [*rest, one, one] if rank == 2 else [rest[1], one, rest[0]]
    kind.shape.CopyFrom(TensorShapeProto(dim=[items, *sizes]))
