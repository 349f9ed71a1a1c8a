"""What the tests of the proof share: a fixture made sliding, and what is shown of it behind a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import onnx
from onnx import ModelProto, NodeProto

from fc2conv import Options, SlidingOptions, VerifyOptions
from fc2conv.fcn.model import Slid, slide
from fc2conv.io.forms import materialize
from fc2conv.io.reader import model_file_from_proto
from fc2conv.rewrite.model import rewrite_model
from fc2conv.verification.sliding import Shown, prove

Load = Callable[[str], ModelProto]


def made(original: ModelProto, **options: object) -> Slid:
    """The pass over a network, made once for all that is asked of it; nobody changes it."""
    return _made(original.SerializeToString(deterministic=True), tuple(sorted(options.items())))


@cache
def _made(serialized: bytes, chosen: tuple[tuple[str, object], ...]) -> Slid:
    original, options = ModelProto.FromString(serialized), dict(chosen)
    given = Options(sliding=SlidingOptions(**options))  # type: ignore[arg-type]
    file = model_file_from_proto(original)
    _, rewritten = rewrite_model(file, given)
    base = file if rewritten is None else replace(file, model=rewritten.model, payloads=rewritten.payloads)
    _, slid = slide(base, file.model, given)
    assert slid is not None
    return slid


def shown(original: ModelProto, slid: Slid, fault: Callable[[ModelProto], None], crops: bool = False) -> Shown:
    model = materialize(slid.model, slid.payloads)
    fault(model)
    sliding = model_file_from_proto(model)
    return prove(model_file_from_proto(original), sliding, slid.claims, VerifyOptions(), crops=crops)


def nothing(_: ModelProto) -> None:
    pass


def node(model: ModelProto, op_type: str, index: int = -1) -> NodeProto:
    return [each for each in model.graph.node if each.op_type == op_type][index]


def with_attribute(found: NodeProto, name: str, values: list[int]) -> None:
    """Another attribute."""
    rest = [a for a in found.attribute if a.name != name]
    del found.attribute[:]
    found.attribute.extend([*rest, onnx.helper.make_attribute(name, values)])
