"""Changes of tensors, and of what a graph says of its values."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, helper

from .places import INTEGERS, NUMBERS, TYPES, Change, Random, any_name, any_tensor, any_value, sort_last


def _tensor_dims(model: ModelProto, own: Random) -> None:
    dims = any_tensor(model, own).dims
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
    any_tensor(model, own).data_type = own.choice(TYPES)


def _tensor_numbers(model: ModelProto, own: Random) -> None:
    tensor = any_tensor(model, own)
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
    tensor = any_tensor(model, own)
    kind = own.randrange(3)
    if kind == 0:
        tensor.raw_data = tensor.raw_data[: own.randrange(len(tensor.raw_data) + 1)]
    elif kind == 1:
        tensor.raw_data += own.randbytes(own.choice((1, 4, 8)))
    else:
        tensor.float_data.append(1.0)


def _tensor_name(model: ModelProto, own: Random) -> None:
    any_tensor(model, own).name = any_name(model, own)


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
    sort_last(model, own)


def _sparse(model: ModelProto, own: Random) -> None:
    tensor = own.choice(model.graph.initializer)
    sparse = model.graph.sparse_initializer.add(dims=tensor.dims)
    sparse.values.CopyFrom(tensor)
    sparse.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [1], [own.choice(INTEGERS)]))


def _value_dims(model: ModelProto, own: Random) -> None:
    dims = any_value(model, own).type.tensor_type.shape.dim
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
    value = any_value(model, own)
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
    any_value(model, own).name = any_name(model, own)


def _false_value_info(model: ModelProto, own: Random) -> None:
    shape = [own.choice((1, 2, 3, 4, "N")) for _ in range(own.choice((1, 2, 3, 4)))]
    model.graph.value_info.append(helper.make_tensor_value_info(any_name(model, own), TensorProto.FLOAT, shape))


def _inner_output(model: ModelProto, own: Random) -> None:
    name = own.choice([name for node in model.graph.node for name in node.output])
    model.graph.output.add().CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _remove_output(model: ModelProto, own: Random) -> None:
    del model.graph.output[own.randrange(len(model.graph.output))]


TENSOR_CHANGES: tuple[Change, ...] = (
    _tensor_dims, _tensor_dims, _tensor_type, _tensor_numbers, _tensor_numbers, _tensor_data, _tensor_name,
    _duplicate_initializer, _remove_initializer, _initializer_to_input, _initializer_to_constant, _sparse,
    _value_dims, _value_dims, _value_type, _value_name, _false_value_info, _inner_output, _remove_output,
)  # fmt: skip
