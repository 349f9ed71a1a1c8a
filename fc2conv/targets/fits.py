"""How a convolution is cut to a target's limits: a kernel into a sum of smaller ones, channels into parts.

A span is a part of one dimension, and may be larger than what it holds: the rest is zeros. A kernel of several spans is
a sum over Slices of the map, several spans of input channels are a sum as well, several of outputs a Concat.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import lcm, prod

import msgspec

from fc2conv.dataclass import dataclass
from fc2conv.reasons import Code, Reason
from fc2conv.targets.legality import Geometry, applies, reasons
from fc2conv.targets.profile import Convolutions, Limit, Profile

MOST_PARTS = 4096
"""The most convolutions that one layer may become."""

_CURABLE = (Code.TARGET_KERNEL, Code.TARGET_CHANNELS, Code.TARGET_RANK)
"""What a cut may help against; of several reasons one that it cannot help against comes first."""

_CUT = tuple("kernel_height kernel_width kernel_area kernels kernel_law rank input_channels output_channels".split())
"""The limits of a profile that a cut may keep."""

_UNPADDED = "Zeros pad no such weight: quantize it symmetrically as QDQ (zero point 0), or leave out the multiple."
_WHOLE = "A weight in blocks, or with a zero point for each output, is not cut: quantize it per output, without blocks."
_FLOATS = "Use --qdq: the target takes the layer as a convolution between DequantizeLinear and QuantizeLinear."
_ROUNDED = "Use --qdq: a result that is rounded once, as QLinearConv rounds it, is no sum of several."


@dataclass(frozen=True)
class Span:
    """The indices start..stop of a dimension, as a dimension of `size`."""

    start: int
    stop: int
    size: int

    @property
    def padded(self) -> bool:
        """Whether it holds more than the indices."""
        return self.size > self.stop - self.start


_ONE = (Span(0, 1, 1),)
"""A side of a kernel that is 1."""


@dataclass(frozen=True)
class Fit:
    """A layer's convolution as the target takes it.

    `read` is the shape that its input is given by a Reshape first, and `back` the one that the result is given (none:
    they stay). With `point` the cells of the map are channels, and the kernel is 1x1.
    """

    kernel: tuple[tuple[Span, ...], ...]
    inputs: tuple[Span, ...]
    outputs: tuple[Span, ...]
    point: bool = False
    read: tuple[int, ...] = ()
    back: tuple[int, ...] = ()

    @property
    def parts(self) -> int:
        """How many convolutions it has."""
        return self.summands * len(self.outputs)

    @property
    def summands(self) -> int:
        """How many convolutions are added for one part of the outputs."""
        return prod(map(len, self.kernel)) * len(self.inputs)

    @property
    def padded(self) -> bool:
        """Whether some span is padded."""
        return any(span.padded for spans in (*self.kernel, self.inputs, self.outputs) for span in spans)

    @property
    def plain(self) -> bool:
        """Whether nothing has to be done for it."""
        return self.parts == 1 and not (self.padded or self.point or self.read or self.back)

    def shapes(self) -> Iterator[tuple[int, ...]]:
        """Yield the kernels' shapes [M, C, *S], in the order in which they are written."""
        for outputs, inputs, *kernel in product(self.outputs, self.inputs, *self.kernel):
            yield (outputs.size, inputs.size, *(span.size for span in kernel))


@dataclass(frozen=True)
class Means:
    """What may be done to a layer: cells made channels, a sum, padding with zeros, a cut at all, --qdq instead."""

    cells: bool = True
    sums: bool = True
    pads: bool = True
    cuts: bool = True
    floats: bool = True


def _curable(why: Reason) -> bool:
    """Return whether a cut may help against a reason: no cut makes the map larger or smaller, or the groups fewer."""
    return why.code in _CURABLE and not why.detail.startswith(("map ", "groups "))


def fit(layer: Geometry, profile: Profile, means: Means) -> Fit | Reason:
    """Return the convolution that the target runs best of those that it takes; the reason where it takes none."""
    found = _fitted(layer, profile, means)
    if found is not None:
        return found
    why = sorted(_reasons(layer, profile), key=_curable)
    if not why:
        return Reason(Code.TARGET_KERNEL, layer.node, f"more than {MOST_PARTS} convolutions")
    if _curable(why[0]):
        cause = _cause(layer, profile, means) or why[0]
        return replace(cause, remedy=_remedy(layer, profile, means) or cause.remedy)
    floating = replace(layer, op_type="Conv", type="float32")
    quantized = layer.op_type != "Conv" and means.floats and profile.form != "keep"
    helps = quantized and _fitted(floating, profile, Means()) is not None
    return replace(why[0], remedy=_FLOATS) if helps else why[0]


def _fitted(layer: Geometry, profile: Profile, means: Means) -> Fit | None:
    """Cut a layer in the profile's form; take a map where cells as channels need a sum, and the map does not."""
    maps = [cut for each, form in _as_map(layer, profile) if (cut := _cut(each, form, profile, means)) is not None]
    if not maps or (profile.form != "map" and means.cells):
        points = _as_point(layer, profile.conv) if means.cells else []
        found = [cut for each, form in points if (cut := _cut(each, form, profile, means)) is not None]
        maps = maps if maps and maps[0].summands == 1 and found and found[0].summands > 1 else found or maps
    return maps[0] if maps else None


def _cause(layer: Geometry, profile: Profile, means: Means) -> Reason | None:
    """Return the reason without whose limit the layer would fit; None where it takes more than one."""
    for field in _CUT:
        conv = msgspec.structs.replace(profile.conv, **{field: []})
        free = msgspec.structs.replace(profile, conv=conv)
        less = _reasons(layer, free)
        gone = [why for why in _reasons(layer, profile) if why not in less]
        if gone and _fitted(layer, free, means) is not None:
            return gone[0]
    return None


def _remedy(layer: Geometry, profile: Profile, means: Means) -> str:
    """Return what helps where a layer cannot be brought to the limits; "" for the remedy of the reason's code."""
    if not means.cuts:
        return _WHOLE
    if layer.groups > 1:
        return ""
    able = replace(means, sums=True)
    if not means.sums and any(_cut(each, form, profile, able) for each, form in _as_map(layer, profile)):
        return _ROUNDED
    if not means.pads:
        return _UNPADDED
    return _ROUNDED if not means.sums else ""


def _reasons(layer: Geometry, profile: Profile) -> list[Reason]:
    """Return what is against a convolution, except sizes that are open: those are as open without it."""
    return reasons(replace(layer, batch=layer.batch or 1), profile, opened=False)


def _as_map(layer: Geometry, profile: Profile) -> list[tuple[Geometry, Fit]]:
    """Return the convolution as it is, or one of rank 4 where the target does not take its rank."""
    plain = Fit(tuple((Span(0, size, size),) for size in layer.kernel), (), ())
    ranks = profile.conv.rank
    if layer.rank is None or all(limit.takes(layer.rank) for limit in ranks) or any(not r.takes(4) for r in ranks):
        return [(layer, plain)]
    if layer.rank == 3:
        spans = (_ONE, *plain.kernel)
        lifted = replace(layer, rank=4, kernel=(1, *layer.kernel), spatial=(1, *layer.spatial))
        return [(lifted, replace(plain, kernel=spans, read=(0, 0, 1, -1), back=(0, 0, -1)))]
    outer, last = layer.spatial[:-1], layer.spatial[-1]
    if prod(layer.kernel) > 1 or any(size is None for size in layer.spatial[1:]):
        return []
    known = [size for size in layer.spatial[1:] if size is not None]
    cells = None if layer.spatial[0] is None else prod(size or 1 for size in outer)
    flat = replace(layer, rank=4, kernel=(1, 1), spatial=(cells, last))
    return [(flat, Fit((_ONE, _ONE), (), (), read=(0, 0, -1, known[-1]), back=(0, 0, -1, *known)))]


def _as_point(layer: Geometry, conv: Convolutions) -> list[tuple[Geometry, Fit]]:
    """Return the convolution with the cells of its map as channels, where its kernel covers the whole of a map."""
    whole = layer.groups == 1 and layer.spatial == layer.kernel and prod(layer.kernel) > 1
    inputs = (layer.inputs or 0) * prod(layer.kernel)
    if not whole or not inputs or not all(limit.takes(inputs) for limit in _applying(conv.flattened, layer)):
        return []
    flat = replace(layer, rank=4, kernel=(1, 1), inputs=inputs, spatial=(1, 1))
    back = () if layer.rank == 4 else (0, -1, *(1 for _ in layer.kernel))
    return [(flat, Fit((_ONE, _ONE), (), (), point=True, read=(0, -1, 1, 1), back=back))]


def _cut(layer: Geometry, form: Fit, profile: Profile, means: Means) -> Fit | None:
    """Cut a layer in one form into the fewest convolutions that the target takes; return None where no cut is taken."""
    best: Fit | None = None
    for cut in _cuts(layer, form, profile.conv):
        if not _allowed(cut, layer, means) or (best is not None and _cost(cut) >= _cost(best)):
            continue
        if not any(_reasons(part, profile) for part in _parts(layer, cut)):
            best = cut
            if _cost(cut) == _LEAST:
                break
    return best


def _allowed(cut: Fit, layer: Geometry, means: Means) -> bool:
    if not means.cells and any(span.padded for spans in cut.kernel for span in spans):
        return False  # on a larger map a padded kernel would seem to read cells that it multiplies by zero
    if cut.parts > MOST_PARTS or (cut.padded and not means.pads) or (cut.summands > 1 and not means.sums):
        return False
    return cut.plain or (means.cuts and (layer.groups == 1 or (cut.parts == 1 and not cut.padded)))


_LEAST = (1, False, 1)
"""The cost of one convolution with nothing padded."""


def _cost(cut: Fit) -> tuple[int, bool, int]:
    return cut.parts, cut.padded, prod(map(len, cut.kernel))


def _parts(layer: Geometry, cut: Fit) -> Iterable[Geometry]:
    """Return the convolutions of a cut, each kind of them once."""
    seen = {}
    for outputs, inputs, *kernel in product(cut.outputs, cut.inputs, *cut.kernel):
        shape = tuple(span.size for span in kernel)
        maps = tuple(
            size if size is None or len(spans) == 1 else size - (spans[-1].stop - (span.stop - span.start))
            for size, span, spans in zip(layer.spatial, kernel, cut.kernel, strict=True)
        )
        seen[outputs.size, inputs.size, shape, maps] = replace(
            layer, outputs=outputs.size, inputs=inputs.size, kernel=shape, spatial=maps
        )
    return seen.values()


def _cuts(layer: Geometry, form: Fit, conv: Convolutions) -> Iterator[Fit]:
    """Yield every way to cut a layer by one size of kernel."""
    kernels = [spans[-1].stop for spans in form.kernel]
    limits = [conv.kernel_height] * (len(kernels) - 1) + [conv.kernel_width]
    sides = [_sizes(size, _applying(own, layer)) for size, own in zip(kernels, limits, strict=False)]
    areas = [limit.most for limit in _applying(conv.kernel_area, layer) if limit.most is not None]
    laws = [law for law in conv.kernel_law if applies(law, layer.type)]
    lanes = lcm(*(law.lanes for law in laws))
    outputs = _channels(layer.outputs, _applying(conv.output_channels, layer), [], 1)
    for sizes in _kernels([side[::-1] for side in sides], conv) if outputs else ():
        if areas and prod(sizes) > min(areas):
            continue
        height, width = sizes[-2] if len(sizes) > 1 else 1, sizes[-1] if sizes else 1
        room = [law.most // (height * width) * law.lanes for law in laws]
        inputs = _channels(layer.inputs, _applying(conv.input_channels, layer), room, lanes)
        if inputs:
            exact = bool(conv.kernels) and len(kernels) > 1
            kernel = tuple(
                _spans(whole, size, [size] if exact else side)
                for whole, size, side in zip(kernels, sizes, sides, strict=False)
            )
            yield replace(form, kernel=kernel, inputs=inputs, outputs=outputs)


def _applying(limits: Sequence[Limit], layer: Geometry) -> list[Limit]:
    return [limit for limit in limits if applies(limit, layer.type)]


def _kernels(sides: Sequence[Sequence[int]], conv: Convolutions) -> Iterator[tuple[int, ...]]:
    if not conv.kernels or len(sides) < 2:
        yield from product(*sides)
    elif len(sides) == 2:
        yield from dict.fromkeys(pair for pairs in conv.kernels for pair in pairs.sizes)


def _sizes(whole: int, limits: Sequence[Limit], room: Sequence[int] = ()) -> Sequence[int]:
    """Return the sizes that all limits take, in order, up to the first that has room for the whole."""
    listed = [limit.allowed for limit in limits if limit.allowed]
    least = max((limit.least for limit in limits if limit.least is not None), default=1)
    unit = lcm(*(limit.multiple for limit in limits))
    odd = any(limit.odd for limit in limits)
    sizes: Sequence[int] = ()
    if listed:
        sizes = sorted(size for size in {*listed[0]} if all(limit.takes(size) for limit in limits))
    elif unit % 2 or not odd:
        step = 2 * unit if odd else unit
        first = unit + step * max(0, -(-(least - unit) // step))
        sizes = range(first, max(whole, first) + step, step)
    most = min((*(limit.most for limit in limits if limit.most is not None), *room), default=None)
    sizes = sizes[: bisect_left(sizes, whole) + 1]
    return sizes if most is None else sizes[: bisect_right(sizes, most)]


def _channels(whole: int | None, limits: Sequence[Limit], room: Sequence[int], lanes: int) -> tuple[Span, ...]:
    """Return the fewest spans of channels within the limits, as equal as may be; () where no size is within them."""
    sizes = () if whole is None else _sizes(whole, limits, room)
    if whole is None or not sizes:
        return ()
    count = -(-whole // sizes[-1])
    each = -(-whole // count)
    full = bisect_left(sizes, -(-each // lanes) * lanes) if count > 1 else len(sizes)
    return _spans(whole, sizes[full if full < len(sizes) else bisect_left(sizes, each)], sizes)


def _spans(whole: int, size: int, sizes: Sequence[int]) -> tuple[Span, ...]:
    """Return spans of one size; what is left over has the least size that has room for it."""
    spans = ((start, min(start + size, whole)) for start in range(0, whole, size))
    return tuple(Span(start, stop, sizes[bisect_left(sizes, stop - start)]) for start, stop in spans)
