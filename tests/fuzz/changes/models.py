"""Changes of a whole model: versions, functions, training, remarks, unknown fields."""

from __future__ import annotations

from onnx import ModelProto, NodeProto

from .places import DOMAINS, NAMES, UNKNOWN, Change, Random, any_node, any_tensor, any_value


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
    node = any_node(model, own)
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
    any_node(model, own).doc_string = own.choice(NAMES)


def _unknown_field(model: ModelProto, own: Random) -> None:
    message = own.choice((model, model.graph, any_node(model, own), any_tensor(model, own), any_value(model, own)))
    message.MergeFromString(own.choice(UNKNOWN))


MODEL_CHANGES: tuple[Change, ...] = (_opset, _ir_version, _function, _training, _remarks, _unknown_field)
