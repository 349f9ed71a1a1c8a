"""Damaged models: a base model and some random changes of its protobuf or of its bytes, all from one seed.

Each change draws from a generator of its own, so that a mutant stays what it is when one of its changes is left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

DATA_FILE = "weights.bin"
UNKNOWN = (b"\xaa\x3f\x05hello", b"\xa8\x3f\x96\x01", b"\xad\x3f\0\0\0\0", b"\xa9\x3f\0\0\0\0\0\0\0\0")
"""A field 1013 that no message of ONNX has, of each wire type."""

INTEGERS = (-(1 << 63), -(1 << 31), -5, -2, -1, 0, 0, 1, 1, 2, 3, 4, 7, 8, 16, 1000, 1 << 20, 1 << 31, (1 << 63) - 1)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
UNARY = "Relu Sigmoid Tanh Neg Identity Abs Sqrt Exp Dropout Softmax Flatten Transpose Shape Floor GlobalAveragePool"
OPERATORS = tuple(
    f"""{UNARY} Gemm MatMul Conv Add Mul Sub Div Reshape Squeeze Unsqueeze Concat Split Slice Gather Reduce
    ReduceMean ReduceSum Clip LeakyRelu PRelu BatchNormalization LayerNormalization InstanceNormalization MaxPool
    AveragePool GlobalMaxPool ConvTranspose Resize Expand Tile Pad Where Cast Constant ConstantOfShape If Loop Scan
    QuantizeLinear DequantizeLinear QLinearConv QLinearMatMul MatMulInteger ConvInteger Einsum LSTM GRU Optional
    SequenceConstruct NonZero TopK ArgMax LogSoftmax Hardmax Max Min Sum Mean Pow Size Range DepthToSpace""".split()
)
DOMAINS = ("", "", "ai.onnx", "com.microsoft", "ai.onnx.ml", "local", "\N{SNOWMAN}")
TYPES = (*range(29), 99, -1)
NAMES = ("", "x", "y", "N", "../../etc", "a\nb", "\x1b[31m", "\N{SNOWMAN}", "n" * 300)
SHARE_OF_BYTES, SHARE_OF_BOTH, SHARE_EXTERNAL = 0.2, 0.1, 0.08


@dataclass(frozen=True)
class Base:
    """A model to damage; `sizes` gives symbolic dimensions their size when it is run."""

    name: str
    model: ModelProto
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Mutant:
    """The file to convert, its data file ("" for none), and what was done to the base."""

    base: Base
    serialized: bytes
    data: bytes
    changes: tuple[str, ...]


Random: TypeAlias = random.Random
Change: TypeAlias = Callable[[ModelProto, Random], None]
ByteChange: TypeAlias = Callable[[bytes, Random, bytes], bytes]


def mutant(seed: int, bases: Sequence[Base], without: frozenset[int] = frozenset()) -> Mutant:
    """The mutant of a seed; the changes whose numbers are in `without` are left out."""
    draw = random.Random(seed)
    base, other = draw.choice(bases), draw.choice(bases)
    kind, count, external = draw.random(), 1 + min(int(draw.expovariate(0.8)), 7), draw.random() < SHARE_EXTERNAL
    model = ModelProto.FromString(base.model.SerializeToString())
    data = _externalise(model, draw) if external else b""
    changes: list[str] = []
    number = 0
    if kind >= SHARE_OF_BYTES:
        for number in range(count):
            own = random.Random(f"{seed}:{number}")
            change = own.choice(CHANGES + EXTERNAL_CHANGES if external else CHANGES)
            if number not in without and _tried(change, model, own):
                changes.append(f"{number}:{change.__name__.strip('_')}")
    serialized = model.SerializeToString()
    if kind < SHARE_OF_BYTES + SHARE_OF_BOTH:
        for step in range(number + 1, number + 1 + count):
            own = random.Random(f"{seed}:{step}")
            byte_change = own.choice(BYTE_CHANGES)
            if step not in without and serialized:
                serialized = byte_change(serialized, own, other.model.SerializeToString())
                changes.append(f"{step}:{byte_change.__name__.strip('_')}")
    return Mutant(base, serialized, data, tuple(changes))


def _tried(change: Change, model: ModelProto, own: Random) -> bool:
    """Whether the change found something to change; a value that protobuf refuses is no change either."""
    try:
        change(model, own)
    except (LookupError, ValueError, TypeError, DecodeError):
        return False
    return True


# ------------------------------------------------------------------ where


def _graphs(model: ModelProto) -> list[GraphProto]:
    found, todo = [], [model.graph]
    while todo:
        graph = todo.pop()
        found.append(graph)
        todo += [each.g for node in graph.node for each in node.attribute if each.HasField("g")]
    return found


def _nodes(model: ModelProto) -> list[NodeProto]:
    nodes = [node for graph in _graphs(model) for node in graph.node]
    return nodes + [node for function in model.functions for node in function.node]


def _node(model: ModelProto, own: Random) -> NodeProto:
    return own.choice(_nodes(model))


def _tensor(model: ModelProto, own: Random) -> TensorProto:
    tensors = [tensor for graph in _graphs(model) for tensor in graph.initializer]
    tensors += [each.t for node in _nodes(model) for each in node.attribute if each.HasField("t")]
    return own.choice(tensors)


def _attribute(model: ModelProto, own: Random) -> AttributeProto:
    return own.choice([each for node in _nodes(model) for each in node.attribute])


def _name(model: ModelProto, own: Random) -> str:
    """Mostly a name of the model, now and then another."""
    names = [name for node in _nodes(model) for name in (*node.input, *node.output)]
    return own.choice(NAMES) if own.random() < 0.15 or not names else own.choice(names)


def _value(model: ModelProto, own: Random) -> Any:
    graph = own.choice(_graphs(model))
    return own.choice([*graph.input, *graph.output, *graph.value_info])


# ------------------------------------------------------------------ changes of nodes


def _operator(model: ModelProto, own: Random) -> None:
    _node(model, own).op_type = own.choice((*OPERATORS, *NAMES[:2]))


def _domain(model: ModelProto, own: Random) -> None:
    _node(model, own).domain = own.choice(DOMAINS)


def _remove_node(model: ModelProto, own: Random) -> None:
    nodes = own.choice(_graphs(model)).node
    del nodes[own.randrange(len(nodes))]


def _bypass_node(model: ModelProto, own: Random) -> None:
    """Removes a node; who read its result reads its first operand."""
    nodes = model.graph.node
    node = nodes.pop(own.randrange(len(nodes)))
    nodes.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
    _sort_last(model, own)


def _duplicate_node(model: ModelProto, own: Random) -> None:
    node = _node(model, own)
    twin = model.graph.node.add()
    twin.CopyFrom(node)
    if own.random() < 0.6:
        twin.output[:] = [f"{name}_again" for name in node.output]
        model.graph.output.add(name=twin.output[0]).CopyFrom(own.choice(model.graph.output))
        model.graph.output[-1].name = twin.output[0]


def _swap_nodes(model: ModelProto, own: Random) -> None:
    nodes = model.graph.node
    one, other = own.randrange(len(nodes)), own.randrange(len(nodes))
    kept = ModelProto()
    kept.graph.node.extend(nodes)
    nodes[one].CopyFrom(kept.graph.node[other])
    nodes[other].CopyFrom(kept.graph.node[one])


def _sort_last(model: ModelProto, own: Random) -> None:
    """Moves the last node in front of the first that reads its result."""
    del own
    nodes = list(model.graph.node)
    last = nodes.pop()
    at = next((i for i, node in enumerate(nodes) if set(node.input) & set(last.output)), len(nodes))
    nodes.insert(at, last)
    kept = ModelProto()
    kept.graph.node.extend(nodes)
    model.graph.ClearField("node")
    model.graph.node.extend(kept.graph.node)


def _swap_inputs(model: ModelProto, own: Random) -> None:
    inputs = own.choice([node for node in _nodes(model) if len(node.input) > 1]).input
    one, other = own.sample(range(len(inputs)), 2)
    inputs[one], inputs[other] = inputs[other], inputs[one]


def _rewire(model: ModelProto, own: Random) -> None:
    inputs = own.choice([node for node in _nodes(model) if node.input]).input
    inputs[own.randrange(len(inputs))] = _name(model, own)


def _add_input(model: ModelProto, own: Random) -> None:
    _node(model, own).input.append(_name(model, own))


def _remove_input(model: ModelProto, own: Random) -> None:
    inputs = _node(model, own).input
    del inputs[own.randrange(len(inputs))]


def _rename_output(model: ModelProto, own: Random) -> None:
    outputs = _node(model, own).output
    outputs[own.randrange(len(outputs))] = _name(model, own)


def _rename_node(model: ModelProto, own: Random) -> None:
    _node(model, own).name = own.choice((_node(model, own).name, *NAMES))


def _insert(model: ModelProto, own: Random, node: NodeProto) -> None:
    """Puts a node between a value and one of its readers; the node's first operand and its result are set here."""
    reader = own.choice([each for each in model.graph.node if each.input])
    at = own.randrange(len(reader.input))
    node.input.insert(0, reader.input[at])
    node.output.append(f"mutant_{own.randrange(1 << 30)}")
    reader.input[at] = node.output[0]
    model.graph.node.append(node)
    _sort_last(model, own)


def _insert_unary(model: ModelProto, own: Random) -> None:
    _insert(model, own, helper.make_node(own.choice(UNARY.split()), [], []))


def _insert_transpose(model: ModelProto, own: Random) -> None:
    perm = list(range(own.choice((2, 3, 4, 4))))
    own.shuffle(perm)
    _insert(model, own, helper.make_node("Transpose", [], [], perm=perm))


def _insert_flatten(model: ModelProto, own: Random) -> None:
    _insert(model, own, helper.make_node("Flatten", [], [], axis=own.choice((-1, 0, 1, 2, 3))))


def _insert_softmax(model: ModelProto, own: Random) -> None:
    _insert(model, own, helper.make_node(own.choice(("Softmax", "LogSoftmax")), [], [], axis=own.choice((-1, 0, 1, 2))))


def _insert_reshape(model: ModelProto, own: Random) -> None:
    target = [own.choice((-1, 0, 0, 1, 2, 3, 4)) for _ in range(own.choice((1, 2, 3, 4)))]
    name = f"target_{own.randrange(1 << 30)}"
    model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(target)], target))
    _insert(model, own, helper.make_node("Reshape", [name], []))


def _insert_arithmetic(model: ModelProto, own: Random) -> None:
    name = f"number_{own.randrange(1 << 30)}"
    shape = own.choice(([], [1], [1, 1], [1, 1, 1, 1]))
    model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, shape, [own.uniform(-2, 2)]))
    _insert(model, own, helper.make_node(own.choice(("Add", "Mul", "Sub", "Div")), [name], []))


def _nest(model: ModelProto, own: Random) -> None:
    """Gives a node the graph itself as an attribute, up to a few levels deep."""
    node = _node(model, own)
    for _ in range(own.choice((1, 1, 2, 6))):
        held = GraphProto.FromString(model.graph.SerializeToString())
        node.attribute.add(name=own.choice(("then_branch", "body", "g")), type=AttributeProto.GRAPH).g.CopyFrom(held)
        if model.ByteSize() > 100_000:
            return


# ------------------------------------------------------------------ changes of attributes


def _attribute_value(model: ModelProto, own: Random) -> None:
    one = _attribute(model, own)
    if one.ints:
        one.ints[own.randrange(len(one.ints))] = own.choice(INTEGERS)
    elif one.HasField("i"):
        one.i = own.choice(INTEGERS)
    elif one.HasField("f"):
        one.f = own.choice(NUMBERS)
    elif one.HasField("s"):
        one.s = own.choice((b"", b"SAME_UPPER", b"VALID", b"NOTSET", b"\xff\xfe", b"...ij,...jk->...ik", b"linear"))
    elif one.floats:
        one.floats[own.randrange(len(one.floats))] = own.choice(NUMBERS)
    else:
        raise LookupError


def _attribute_length(model: ModelProto, own: Random) -> None:
    ints = own.choice([each for node in _nodes(model) for each in node.attribute if each.ints]).ints
    if own.random() < 0.5:
        del ints[own.randrange(len(ints))]
    else:
        ints.insert(own.randrange(len(ints) + 1), own.choice(INTEGERS))


def _attribute_type(model: ModelProto, own: Random) -> None:
    _attribute(model, own).type = own.randrange(15)  # type: ignore[assignment]


def _attribute_name(model: ModelProto, own: Random) -> None:
    _attribute(model, own).name = own.choice(("axis", "perm", "transB", "alpha", "shape", "value", *NAMES))


def _remove_attribute(model: ModelProto, own: Random) -> None:
    attributes = own.choice([node for node in _nodes(model) if node.attribute]).attribute
    del attributes[own.randrange(len(attributes))]


def _add_attribute(model: ModelProto, own: Random) -> None:
    name = own.choice("axis transA transB alpha beta allowzero keepdims group to perm axes num_outputs blocks".split())
    value: Any = own.choice((own.choice(INTEGERS), own.choice((0, 1)), own.uniform(-2, 2), [0, 2, 1], "text"))
    _node(model, own).attribute.append(helper.make_attribute(name, value))


def _duplicate_attribute(model: ModelProto, own: Random) -> None:
    attributes = own.choice([node for node in _nodes(model) if node.attribute]).attribute
    attributes.add().CopyFrom(own.choice(attributes))


# ------------------------------------------------------------------ changes of tensors and of values


def _tensor_dims(model: ModelProto, own: Random) -> None:
    dims = _tensor(model, own).dims
    kind = own.randrange(4)
    if kind == 0:
        dims[own.randrange(len(dims))] = own.choice(INTEGERS)
    elif kind == 1:
        dims[:] = own.sample(list(dims), len(dims))
    elif kind == 2:
        dims.insert(own.randrange(len(dims) + 1), own.choice((0, 1, 1, 2)))
    else:
        del dims[own.randrange(len(dims))]


def _tensor_type(model: ModelProto, own: Random) -> None:
    _tensor(model, own).data_type = own.choice(TYPES)


def _tensor_numbers(model: ModelProto, own: Random) -> None:
    tensor = _tensor(model, own)
    if tensor.int64_data:
        tensor.int64_data[own.randrange(len(tensor.int64_data))] = own.choice(INTEGERS)
    elif tensor.data_type == TensorProto.INT64 and len(tensor.raw_data) >= 8:
        at = 8 * own.randrange(len(tensor.raw_data) // 8)
        new = own.choice(INTEGERS).to_bytes(8, "little", signed=True)
        tensor.raw_data = tensor.raw_data[:at] + new + tensor.raw_data[at + 8 :]
    elif tensor.float_data:
        tensor.float_data[own.randrange(len(tensor.float_data))] = own.choice(NUMBERS)
    elif tensor.raw_data:
        at = own.randrange(len(tensor.raw_data))
        tensor.raw_data = tensor.raw_data[:at] + own.randbytes(4) + tensor.raw_data[at + 4 :]
    else:
        raise LookupError


def _tensor_data(model: ModelProto, own: Random) -> None:
    """Too little, too much, or in two forms."""
    tensor = _tensor(model, own)
    kind = own.randrange(3)
    if kind == 0:
        tensor.raw_data = tensor.raw_data[: own.randrange(len(tensor.raw_data) + 1)]
    elif kind == 1:
        tensor.raw_data += own.randbytes(own.choice((1, 4, 8)))
    else:
        tensor.float_data.append(1.0)


def _tensor_name(model: ModelProto, own: Random) -> None:
    _tensor(model, own).name = _name(model, own)


def _duplicate_initializer(model: ModelProto, own: Random) -> None:
    model.graph.initializer.add().CopyFrom(own.choice(model.graph.initializer))


def _remove_initializer(model: ModelProto, own: Random) -> None:
    del model.graph.initializer[own.randrange(len(model.graph.initializer))]


def _initializer_to_input(model: ModelProto, own: Random) -> None:
    """Lists an initializer as an input too, which a caller may then replace."""
    tensor = own.choice(model.graph.initializer)
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


def _initializer_to_constant(model: ModelProto, own: Random) -> None:
    tensor = model.graph.initializer.pop(own.randrange(len(model.graph.initializer)))
    model.graph.node.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
    _sort_last(model, own)


def _sparse(model: ModelProto, own: Random) -> None:
    tensor = own.choice(model.graph.initializer)
    sparse = model.graph.sparse_initializer.add(dims=tensor.dims)
    sparse.values.CopyFrom(tensor)
    sparse.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [1], [own.choice(INTEGERS)]))


def _value_dims(model: ModelProto, own: Random) -> None:
    dims = _value(model, own).type.tensor_type.shape.dim
    kind = own.randrange(4)
    if kind == 0:
        own.choice(dims).dim_value = own.choice(INTEGERS)
    elif kind == 1:
        own.choice(dims).dim_param = own.choice(("N", "M", "", "H W"))
    elif kind == 2:
        own.choice(dims).Clear()
    else:
        del dims[own.randrange(len(dims))]


def _value_type(model: ModelProto, own: Random) -> None:
    value = _value(model, own)
    kind = own.randrange(4)
    if kind == 0:
        value.type.tensor_type.elem_type = own.choice(TYPES)
    elif kind == 1:
        value.type.tensor_type.ClearField("shape")
    elif kind == 2:
        value.ClearField("type")
    else:
        value.type.sequence_type.elem_type.tensor_type.elem_type = own.choice(TYPES)


def _value_name(model: ModelProto, own: Random) -> None:
    _value(model, own).name = _name(model, own)


def _false_value_info(model: ModelProto, own: Random) -> None:
    shape = [own.choice((1, 2, 3, 4, "N")) for _ in range(own.choice((1, 2, 3, 4)))]
    model.graph.value_info.append(helper.make_tensor_value_info(_name(model, own), TensorProto.FLOAT, shape))


def _inner_output(model: ModelProto, own: Random) -> None:
    name = own.choice([name for node in model.graph.node for name in node.output])
    model.graph.output.add().CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _remove_output(model: ModelProto, own: Random) -> None:
    del model.graph.output[own.randrange(len(model.graph.output))]


# ------------------------------------------------------------------ changes of the model


def _opset(model: ModelProto, own: Random) -> None:
    kind = own.randrange(3)
    if kind == 0:
        own.choice(model.opset_import).version = own.choice((*range(1, 27), 0, -1, 999, 1 << 40))
    elif kind == 1:
        model.opset_import.add(domain=own.choice(DOMAINS), version=own.choice((1, 7, 13, 17, 999)))
    else:
        del model.opset_import[own.randrange(len(model.opset_import))]


def _ir_version(model: ModelProto, own: Random) -> None:
    model.ir_version = own.choice((*range(14), 99, -1, 1 << 40))


def _function(model: ModelProto, own: Random) -> None:
    """Makes a node a call of a function that holds it, or that calls itself."""
    node = _node(model, own)
    body = NodeProto.FromString(node.SerializeToString())
    if own.random() < 0.3:
        body.op_type, body.domain = "Called", "local"
    function = model.functions.add(name="Called", domain="local", input=list(node.input), output=list(node.output))
    function.opset_import.extend(model.opset_import)
    function.node.append(body)
    node.op_type, node.domain = "Called", "local"
    del node.attribute[:]
    model.opset_import.add(domain="local", version=1)


def _training(model: ModelProto, own: Random) -> None:
    del own
    model.training_info.add().algorithm.CopyFrom(model.graph)


def _remarks(model: ModelProto, own: Random) -> None:
    model.doc_string = own.choice(NAMES)
    model.metadata_props.add(key=own.choice(NAMES), value=own.choice(NAMES))
    _node(model, own).doc_string = own.choice(NAMES)


def _unknown_field(model: ModelProto, own: Random) -> None:
    message = own.choice((model, model.graph, _node(model, own), _tensor(model, own), _value(model, own)))
    message.MergeFromString(own.choice(UNKNOWN))


# ------------------------------------------------------------------ external data


def _externalise(model: ModelProto, own: Random) -> bytes:
    """Moves the raw data of some initializers to a data file, and returns it."""
    data = bytearray()
    for tensor in model.graph.initializer:
        if tensor.raw_data and own.random() < 0.8:
            entries = {"location": DATA_FILE, "offset": len(data), "length": len(tensor.raw_data)}
            data += tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, text in entries.items():
                tensor.external_data.add(key=key, value=str(text))
    return bytes(data)


def _entry(model: ModelProto, own: Random) -> None:
    entries = own.choice([each for each in model.graph.initializer if each.external_data]).external_data
    kind = own.randrange(4)
    if kind == 0:
        del entries[own.randrange(len(entries))]
    elif kind == 1:
        entries.add(key=own.choice(("checksum", "offset", "location", "")), value=own.choice(("0", "x", DATA_FILE)))
    else:
        places = ("..", "/dev/zero", "../in.onnx", "in.onnx", "gone", "", "a/b", "C:\\x", *NAMES)
        entry = own.choice(entries)
        entry.value = own.choice(places if entry.key == "location" else ("-1", "1e3", "", *map(str, INTEGERS)))


# ------------------------------------------------------------------ changes of bytes


def _flip(old: bytes, own: Random, _: bytes) -> bytes:
    new = bytearray(old)
    for _ in range(own.choice((1, 1, 2, 8))):
        new[own.randrange(len(new))] ^= 1 << own.randrange(8)
    return bytes(new)


def _set_byte(old: bytes, own: Random, _: bytes) -> bytes:
    at = own.randrange(len(old))
    return old[:at] + bytes([own.choice((0, 1, 0x7F, 0x80, 0xFF))]) + old[at + 1 :]


def _truncate(old: bytes, own: Random, _: bytes) -> bytes:
    return old[: own.randrange(len(old))]


def _insert_bytes(old: bytes, own: Random, _: bytes) -> bytes:
    at = own.randrange(len(old))
    return old[:at] + own.choice((own.randbytes(own.choice((1, 2, 9))), b"\xff" * 10, *UNKNOWN)) + old[at:]


def _delete_bytes(old: bytes, own: Random, _: bytes) -> bytes:
    at = own.randrange(len(old))
    return old[:at] + old[at + own.choice((1, 2, 8, 40)) :]


def _repeat_bytes(old: bytes, own: Random, _: bytes) -> bytes:
    at, count = own.randrange(len(old)), own.choice((2, 16, 100))
    return old[: at + count] + old[at:]


def _splice(old: bytes, own: Random, other: bytes) -> bytes:
    at, start = own.randrange(len(old)), own.randrange(len(other))
    return old[:at] + other[start : start + own.choice((8, 64, 400))] + old[at:]


def _concatenate(old: bytes, own: Random, other: bytes) -> bytes:
    """Two messages one after the other are one message to protobuf: it merges them."""
    return own.choice((old + other, other + old, old + old))


CHANGES: tuple[Change, ...] = (
    _operator, _domain, _remove_node, _bypass_node, _duplicate_node, _swap_nodes, _swap_inputs, _rewire, _add_input,
    _remove_input, _rename_output, _rename_node, _insert_unary, _insert_unary, _insert_transpose, _insert_transpose,
    _insert_flatten, _insert_softmax, _insert_reshape, _insert_reshape, _insert_arithmetic, _insert_arithmetic, _nest,
    _attribute_value, _attribute_value, _attribute_value, _attribute_length, _attribute_type, _attribute_name,
    _remove_attribute, _add_attribute, _add_attribute, _duplicate_attribute, _tensor_dims, _tensor_dims, _tensor_type,
    _tensor_numbers, _tensor_numbers, _tensor_data, _tensor_name, _duplicate_initializer, _remove_initializer,
    _initializer_to_input, _initializer_to_constant, _sparse, _value_dims, _value_dims, _value_type, _value_name,
    _false_value_info, _inner_output, _remove_output, _opset, _ir_version, _function, _training, _remarks,
    _unknown_field,
)  # fmt: skip
EXTERNAL_CHANGES: tuple[Change, ...] = (_entry,) * 30
BYTE_CHANGES: tuple[ByteChange, ...] = (
    _flip, _flip, _set_byte, _truncate, _insert_bytes, _delete_bytes, _repeat_bytes, _splice, _concatenate,
)  # fmt: skip
