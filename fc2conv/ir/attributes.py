"""Attributes of new nodes; lists of integers are made once, as a network has few kernel shapes and perms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from onnx import AttributeProto, helper


def made_attribute(name: str, value: Any) -> AttributeProto:
    """Return an attribute; those of integers are shared, as a node copies an attribute that it takes."""
    listed = isinstance(value, list) and all(type(each) is int for each in value)
    return _integers(name, tuple(value)) if listed else helper.make_attribute(name, value)


@lru_cache(maxsize=1024)
def _integers(name: str, values: tuple[int, ...]) -> AttributeProto:
    return helper.make_attribute(name, values, attr_type=AttributeProto.INTS)
