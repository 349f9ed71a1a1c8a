"""The images on which a sliding network is tried, and what sizes its values have on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from math import lcm

from fc2conv.io.reader import ModelFile
from fc2conv.io.sizes import declared_size
from fc2conv.verification import feeds
from fc2conv.verification.exact.positions import unseen
from fc2conv.verification.exact.terms import Shape, Table, Term
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.nodes import label
from fc2conv.verification.spec import Claims
from fc2conv.verification.spec import Sizes as Runs

_STEPS = 2
"""How many cells a map grows by on a larger image."""

Images = Mapping[str, Shape]
Values = Mapping[str, Term]


class Sizes:
    """The sizes of images for one sliding network, from what is claimed of it; `given` are shapes from the caller."""

    def __init__(self, claims: Claims, sliding: ModelFile, given: Mapping[str, Shape]) -> None:
        self.claims, self.sliding, self._given = claims, sliding, given
        self._batches: dict[str, int] = {}
        for value in feeds.inputs(sliding.model):
            if value.name in claims.inputs:
                declared = declared_size(value.type.tensor_type.shape.dim[0])
                self._batches[value.name] = given[value.name][0] if value.name in given else declared or 0

    def given(self, images: Images) -> dict[str, Shape]:
        """Return the shapes of inputs as a caller gives them; an open batch stays open."""
        return {**self._given, **{name: (self._batches[name], *shape[1:]) for name, shape in images.items()}}

    def shapes(self, images: Images) -> feeds.Shapes:
        """Return the shapes of all inputs, for one item."""
        return feeds.shapes(self.sliding.model, next(iter(feeds.settings())), self.given(images))

    def values(self, images: Images) -> dict[str, Term]:
        """Return all values of the network on images of this size, with their shapes."""
        return Walk(self.sliding, Table(), 1, self.shapes(images), lambda tensor: tensor.name.encode()).run()

    @cached_property
    def _training(self) -> Values:
        return self.values(self.claims.inputs)

    def larger(self) -> Iterator[Images]:
        """Yield larger images: for some cells more, and of a size that is no multiple of the stride."""
        for add, odd in ((_STEPS, 0), (1, 1)):
            shapes = dict(self.claims.inputs)
            for name, axes in self.claims.axes.items():
                sizes = list(shapes[name])
                for axis, dim in axes.items():
                    period, single = self._period(axis)
                    size = sizes[dim] + period * (add if single else 1) + (odd if period > 1 else 0)
                    sizes[dim] = self.claims.sizes.get(name, {}).get(axis, Runs()).above(size)
                shapes[name] = tuple(sizes)
            yield shapes

    def _period(self, axis: int) -> tuple[int, bool]:
        """By how many pixels an image grows for whole cells more of every map, and whether that is one cell of each."""
        every = {(claim.periods[axis], claim.every[axis]) for claim in self.claims.maps
                 if axis in claim.windowed and axis in claim.periods}  # fmt: skip
        if not every:
            return 0, True
        return lcm(*(period for period, _ in every)), len(every) == 1 and min(cells for _, cells in every) == 1

    def beyond(self, values: Values) -> Iterator[str]:
        """Say which nodes name a position of an axis that grows, beyond what it has on larger images: in `values`."""
        for node in self.sliding.model.graph.node:
            if position := unseen(node, self._training, values):
                yield f"{label(node)} names the position {position} of an axis that grows, beyond what is run"

    def described(self, images: Images) -> str:
        """Return the sizes of images along the axes that grow."""
        every = [[images[name][dims[axis]] for axis in sorted(dims)] for name, dims in self.claims.axes.items() if dims]
        return ", ".join("x".join(map(str, sizes)) for sizes in every)
