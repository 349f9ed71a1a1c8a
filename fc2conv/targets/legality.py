"""Whether a target takes a layer: its geometry against the profile's limits, and the reason where it does not.

A reason names the limit, its value, the layer's value, and the source of the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any, Literal

from fc2conv.dataclass import dataclass
from fc2conv.reasons import Code, Reason
from fc2conv.targets.profile import Fact, Limit, Names, Profile

OPEN = "open"
"""What a reason says of a size that is no number."""

_BATCH = "Export the model with a batch that the target takes."
_ALLOW = "Allow other kernels with {}, or name another --target."
_VOLUME = "Export the network with two-dimensional convolutions: a kernel over a volume is none over a map."
_GROUPED = "Export the product as one layer for each group, or name another --target."
_SIZES = "Give the model maps that the target takes, or name another --target."
_NOT_LIFTED = (
    "Export the network with two-dimensional convolutions: "
    "one with a computed kernel, or in a branch or a loop, is not lifted."
)


@dataclass(frozen=True)
class Geometry:
    """One convolution, fully connected layer or product of two computed values.

    `kernel` has a size for each spatial dimension, `inputs` and `outputs` are channels (`inputs` those of one group),
    `spatial` the sizes of the map that is read; None is a size that is not known. `batch` is None where it is open.
    `type` is the weight's element type as NumPy calls it, "" where it is not known, and `plain` says of a Gemm that
    alpha = beta = 1 and transA = 0.
    """

    node: str
    op_type: str
    kind: Literal["conv", "fc", "product"]
    kernel: tuple[int, ...] = ()
    inputs: int | None = None
    outputs: int | None = None
    groups: int = 1
    rank: int | None = None
    spatial: tuple[int | None, ...] = ()
    batch: int | None = 1
    type: str = ""
    plain: bool = True

    @property
    def height(self) -> int:
        """The kernel's height, or its depth where that is more; 1 in one dimension."""
        return max(self.kernel[:-1], default=1)

    @property
    def width(self) -> int:
        return self.kernel[-1] if self.kernel else 1


def reasons(layer: Geometry, profile: Profile, *, opened: bool = True) -> list[Reason]:
    """Return everything that keeps the target from running a layer as it is; nothing where it runs it.

    Without `opened` an open size is no reason.
    """
    checks = {"conv": _convolution, "fc": _fully_connected, "product": _product}
    found = [*lacking(layer.node, layer.op_type, profile), *checks[layer.kind](layer, profile)]
    return [*found, *(_open(layer, profile) if opened and layer.kind != "product" else ())]


def applies(fact: Fact, kind: str) -> bool:
    """Return whether a fact holds for an element type; one that is not known is taken for float32."""
    types = getattr(fact, "types", ())
    return not types or (kind or "float32") in types


def _convolution(layer: Geometry, profile: Profile) -> Iterator[Reason]:
    conv = profile.conv
    yield from _kernel(layer, profile)
    for law in conv.kernel_law:
        weights = layer.height * layer.width * -(-(layer.inputs or 1) // law.lanes)
        if applies(law, layer.type) and weights > law.most:
            yield _reason(layer, profile, Code.TARGET_KERNEL, "weights of one output", weights, law)
    channels: list[tuple[str, int | None, Sequence[Limit]]] = [
        ("input channels", layer.inputs, conv.input_channels),
        ("output channels", layer.outputs, conv.output_channels),
        ("groups", layer.groups, conv.groups),
    ]
    for what, size, limits in channels:
        for why in _limited(layer, profile, Code.TARGET_CHANNELS, what, size, limits):
            yield replace(why, remedy=_GROUPED) if layer.groups > 1 else why
    height = layer.spatial[-2] if len(layer.spatial) > 1 else None
    width = layer.spatial[-1] if layer.spatial else 1
    sizes = (("rank", layer.rank, conv.rank), ("map height", height, conv.height), ("map width", width, conv.width))
    for what, size, limits in sizes:
        for why in _limited(layer, profile, Code.TARGET_RANK, what, size, limits):
            yield replace(why, remedy=_rank_remedy(layer, profile) if what == "rank" else _SIZES)
    yield from _limited(layer, profile, Code.TARGET_TYPE, "type", layer.type or None, conv.types)
    yield from _sized(layer, profile, profile.model.batch)


def _kernel(layer: Geometry, profile: Profile) -> Iterator[Reason]:
    """Yield what the target has against the sides and the area of a kernel, with the option that allows others."""
    conv, code = profile.conv, Code.TARGET_KERNEL
    height = layer.height if layer.kernel[1:] else None
    sides = [*_limited(layer, profile, code, "kernel height", height, conv.kernel_height)]
    sides += _limited(layer, profile, code, "kernel width", layer.width, conv.kernel_width)
    for pairs in conv.kernels if len(layer.kernel) > 1 else ():
        if (layer.height, layer.width) not in pairs.sizes:
            sides.append(_reason(layer, profile, code, "kernel", f"{layer.height}x{layer.width}", pairs))
    area = _limited(layer, profile, code, "kernel area", prod(layer.kernel), conv.kernel_area)
    for option, found in (("--max-kernel", sides), ("--max-kernel-area", area)):
        yield from (replace(why, remedy=_ALLOW.format(option)) for why in found)


def _rank_remedy(layer: Geometry, profile: Profile) -> str:
    """Return what helps against the rank of a convolution, but nothing that was tried."""
    asked = [*profile.prefers.conv_rank, *(limit for limit in profile.conv.rank if limit.source.startswith("--"))]
    tried = any(4 in limit.allowed for limit in asked)
    return _VOLUME if len(layer.kernel) > 2 else _NOT_LIFTED if tried else ""


def _fully_connected(layer: Geometry, profile: Profile) -> Iterator[Reason]:
    fc = profile.fc
    for flag in fc.runs:
        if not flag.value:
            yield _reason(layer, profile, Code.TARGET_OPERATOR, "layers as they are", layer.op_type, flag)
    yield from _limited(layer, profile, Code.TARGET_OPERATOR, "operator", layer.op_type, fc.operators)
    for flag in fc.plain:
        if flag.value and not layer.plain:
            what = "alpha, beta or transA of its own"
            yield _reason(layer, profile, Code.TARGET_OPERATOR, layer.op_type, what, flag, "a plain one")
    yield from _limited(layer, profile, Code.TARGET_CHANNELS, "inputs", layer.inputs, fc.inputs)
    yield from _limited(layer, profile, Code.TARGET_CHANNELS, "outputs", layer.outputs, fc.outputs)
    yield from _limited(layer, profile, Code.TARGET_RANK, "rank", layer.rank, fc.rank)
    yield from _limited(layer, profile, Code.TARGET_TYPE, "type", layer.type or None, fc.types)
    yield from _sized(layer, profile, fc.batch)


def _product(layer: Geometry, profile: Profile) -> Iterator[Reason]:
    for flag in profile.product.runs:
        if not flag.value:
            what = "product of two computed values"
            yield _reason(layer, profile, Code.TARGET_OPERATOR, what, layer.op_type, flag, "none")


def lacking(node: str, op_type: str, profile: Profile) -> list[Reason]:
    """Return the reason for an operator that the target lacks; [] for any other."""
    fact = profile.lacks.get(op_type)
    what = "" if fact is None else f"{op_type}: {profile.name} lacks it ({profile.said(fact.source)})"
    return [Reason(Code.TARGET_OPERATOR, node, what)] if what else []


def _limited(
    layer: Geometry, profile: Profile, code: Code, what: str, value: Any, facts: Sequence[Limit | Names]
) -> Iterator[Reason]:
    """Yield a reason for each fact that does not take a value; None is a value that is not known."""
    for fact in facts:
        if value is not None and applies(fact, layer.type) and not fact.takes(value):
            yield _reason(layer, profile, code, what, value, fact)


def _sized(layer: Geometry, profile: Profile, batch: Sequence[Limit]) -> Iterator[Reason]:
    for why in _limited(layer, profile, Code.TARGET_STATIC, "batch", layer.batch, batch):
        yield replace(why, remedy=_BATCH)


def _open(layer: Geometry, profile: Profile) -> Iterator[Reason]:
    opened = "batch" if layer.batch is None else "size of the map" if None in layer.spatial else ""
    for flag in profile.model.static:
        if flag.value and opened:
            yield _reason(layer, profile, Code.TARGET_STATIC, opened, OPEN, flag, "a number")


def _reason(
    layer: Geometry, profile: Profile, code: Code, what: str, value: object, fact: Fact, takes: str = ""
) -> Reason:
    detail = f"{what} {value}, and {profile.name} takes {takes or fact} ({profile.said(fact.source)})"
    return Reason(code, layer.node, detail)
