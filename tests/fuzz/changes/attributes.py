"""Changes of attributes: their values, lengths, types, names and number."""

from __future__ import annotations

from typing import Any

from onnx import ModelProto, helper

from .places import INTEGERS, NAMES, NUMBERS, Change, Random, all_nodes, any_attribute, any_node


def _attribute_value(model: ModelProto, own: Random) -> None:
    one = any_attribute(model, own)
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
    ints = own.choice([each for node in all_nodes(model) for each in node.attribute if each.ints]).ints
    if own.random() < 0.5:
        del ints[own.randrange(len(ints))]
    else:
        ints.insert(own.randrange(len(ints) + 1), own.choice(INTEGERS))


def _attribute_type(model: ModelProto, own: Random) -> None:
    any_attribute(model, own).type = own.randrange(15)  # type: ignore[assignment]


def _attribute_name(model: ModelProto, own: Random) -> None:
    any_attribute(model, own).name = own.choice(("axis", "perm", "transB", "alpha", "shape", "value", *NAMES))


def _remove_attribute(model: ModelProto, own: Random) -> None:
    attributes = own.choice([node for node in all_nodes(model) if node.attribute]).attribute
    del attributes[own.randrange(len(attributes))]


def _add_attribute(model: ModelProto, own: Random) -> None:
    name = own.choice("axis transA transB alpha beta allowzero keepdims group to perm axes num_outputs blocks".split())
    value: Any = own.choice((own.choice(INTEGERS), own.choice((0, 1)), own.uniform(-2, 2), [0, 2, 1], "text"))
    any_node(model, own).attribute.append(helper.make_attribute(name, value))


def _duplicate_attribute(model: ModelProto, own: Random) -> None:
    attributes = own.choice([node for node in all_nodes(model) if node.attribute]).attribute
    attributes.add().CopyFrom(own.choice(attributes))


ATTRIBUTE_CHANGES: tuple[Change, ...] = (
    _attribute_value, _attribute_value, _attribute_value, _attribute_length, _attribute_type, _attribute_name,
    _remove_attribute, _add_attribute, _add_attribute, _duplicate_attribute,
)  # fmt: skip
