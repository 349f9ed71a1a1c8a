"""Small models, one for each place in which a weight may stand, and what the tests do to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fc2conv.errors import InputError
from fc2conv.io.reader import ModelFile, read_model
from fc2conv.io.writer import stage
from fc2conv.options import Form

SIZE = 32
"""A weight is SIZE x SIZE float32: 4096 bytes, which is large."""

RNG = np.random.default_rng(7)
OPSET = helper.make_opsetid("", 17)
UNKNOWN = b"\xaa\x3f\x05hello"
"""A field 1013 that no message of ONNX has."""


def weight(name: str = "W") -> TensorProto:
    return numpy_helper.from_array(RNG.standard_normal((SIZE, SIZE), dtype=np.float32), name)


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIZE])


def product(output: str = "y", tensor: str = "W") -> onnx.NodeProto:
    return helper.make_node("MatMul", ["x", tensor], [output], name=f"to_{output}")


def model_of(
    nodes: list[onnx.NodeProto],
    initializers: list[TensorProto] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
    sparse: list[onnx.SparseTensorProto] | None = None,
) -> ModelProto:
    graph = helper.make_graph(
        nodes, "g", [value("x")], [value("y")], initializers or [], sparse_initializer=sparse or []
    )
    opsets = [OPSET, helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions or [], ir_version=8)


def initializer() -> ModelProto:
    return model_of([product()], [weight(), numpy_helper.from_array(np.arange(3.0), "small")])


def constant() -> ModelProto:
    return model_of([helper.make_node("Constant", [], ["W"], value=weight()), product()])


def subgraph() -> ModelProto:
    body = helper.make_graph([product("t")], "then", [], [value("t")], [weight()])
    other = helper.make_graph(
        [helper.make_node("Constant", [], ["V"], value=weight()), product("e", "V")], "else", [], [value("e")]
    )
    branch = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=other)
    return model_of([branch], [helper.make_tensor("c", TensorProto.BOOL, [], [True])])


def function() -> ModelProto:
    body = [helper.make_node("Constant", [], ["W"], value=weight()), product()]
    local = helper.make_function("local", "Fc", ["x"], ["y"], body, [OPSET])
    return model_of([helper.make_node("Fc", ["x"], ["y"], domain="local")], functions=[local])


def sparse() -> ModelProto:
    values = numpy_helper.from_array(RNG.standard_normal(500, dtype=np.float32), "W")
    indices = numpy_helper.from_array(np.arange(500, dtype=np.int64), "at")
    return model_of([product()], sparse=[helper.make_sparse_tensor(values, indices, [SIZE, SIZE])])


def training() -> ModelProto:
    model = initializer()
    info = model.training_info.add()
    info.algorithm.CopyFrom(helper.make_graph([], "step", [], [], [weight("momentum")]))
    return model


def list_attribute() -> ModelProto:
    model = initializer()
    model.graph.node[0].attribute.add(name="t", type=onnx.AttributeProto.TENSORS).tensors.extend([weight(), weight()])
    return model


def unknown_fields() -> ModelProto:
    tensor = TensorProto.FromString(weight().SerializeToString() + UNKNOWN)
    return ModelProto.FromString(model_of([product()], [tensor]).SerializeToString() + UNKNOWN)


def explicit_location() -> ModelProto:
    model = initializer()
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    return model


EVERYWHERE = (
    initializer, constant, subgraph, function, sparse, training, list_attribute, unknown_fields, explicit_location,
)  # fmt: skip


def save(model: ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def save_external(model: ModelProto, path: Path, location: str = "weights.bin") -> Path:
    """Writes a model whose large tensors are in one data file."""
    copy = ModelProto.FromString(model.SerializeToString())
    path.parent.joinpath(location).parent.mkdir(exist_ok=True)
    onnx.save(copy, path, save_as_external_data=True, location=location, size_threshold=1024, convert_attribute=True)
    return path


def external_tensor(**entries: object) -> TensorProto:
    """A weight that is somewhere else."""
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[SIZE, SIZE])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=str(text))
    return tensor


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder: file contents by relative path, None for folders."""
    return {str(each.relative_to(folder)): each.read_bytes() if each.is_file() else None for each in folder.rglob("*")}


def write(file: ModelFile, path: Path, form: Form = "keep") -> None:
    """Writes a model, and reads it where it was staged and where it was published."""
    with stage(file.model, file.payloads, path, form=form, source=file) as result:
        assert read_model(result.path).nbytes == result.nbytes
        result.publish()
        assert read_model(path).nbytes == result.nbytes


def refuse(path: Path, *words: str) -> None:
    """The file is refused in one printable line that names it and says these words, and with a remedy."""
    with pytest.raises(InputError) as caught:
        read_model(path)
    message, remedy = caught.value.message, caught.value.remedy
    assert message.isprintable()
    assert remedy
    assert path.name.split("\n")[0] in message
    for word in words:
        assert word in f"{message}: {remedy}"
