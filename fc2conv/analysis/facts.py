"""What inference says of a scope: the view of every value, and how each node could run on spatial forms.

Nothing here decides or changes anything: a `Recipe` is a fact about a node ("run me on the spatial forms with axis =
1"), which the plan may use and the rewriter carries out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

import numpy as np

from fc2conv.dataclass import dataclass
from fc2conv.layers import FCLayer
from fc2conv.layout.axes import Layout, Size
from fc2conv.layout.contraction import Contraction
from fc2conv.layout.view import View
from fc2conv.reasons import Reason


@dataclass(frozen=True)
class FormOf:
    """An operand: the spatial form of a value, reshaped or transposed first where a layout is given (from, to)."""

    value: str
    move: tuple[Layout, Layout] | None = None


@dataclass(frozen=True)
class AsIs:
    """An operand: a name that means the same on the spatial forms (a scalar, a per-channel vector, or nothing)."""

    name: str


@dataclass(frozen=True, eq=False)
class Relaid:
    """An operand: a constant (by name, or values that a handler computed) moved to the layout of the spatial form."""

    constant: str | np.ndarray
    source: Layout
    target: Layout


@dataclass(frozen=True)
class NewInts:
    """An operand: a one-dimensional int64 constant."""

    values: tuple[int, ...]

    @classmethod
    def of(cls, sizes: Sequence[Size]) -> NewInts | None:
        """Return sizes as a constant operand; None where a size is not known."""
        return cls(tuple(size.coefficient for size in sizes)) if all(size.known for size in sizes) else None


Operand = FormOf | AsIs | Relaid | NewInts


@dataclass(frozen=True)
class Step:
    """One node on spatial forms; a number n as an operand is the result of step n, -1 of the step before.

    `makes` is the position of the node's result that the step makes; the last step makes the first result.
    """

    op_type: str
    operands: tuple[Operand | int, ...]
    attributes: Mapping[str, object] | None = None
    domain: str = ""
    makes: int | None = None


@dataclass(frozen=True)
class Remap:
    """The node itself, run on spatial forms, with some attributes changed (None: removed).

    `result` is a move of its first result (from, to), where what it makes is laid out in another way than the spatial
    form. A node that `lifts` a network to the rank that was asked for does not stay as it is.
    """

    operands: tuple[Operand, ...]
    attributes: Mapping[str, object] = field(default_factory=dict)
    result: tuple[Layout, Layout] | None = None
    lifts: bool = False


@dataclass(frozen=True)
class Expand:
    """Other nodes that do on spatial forms what this one does (a per-feature norm over a flattened map).

    `norm` says that they are the reductions of a norm, which are written only where that removes layout nodes.
    """

    steps: tuple[Step, ...]
    norm: bool = False


@dataclass(frozen=True)
class Elide:
    """A node that only regroups dimensions: its result has the operand's spatial form, if need be moved (from, to)."""

    value: str
    move: tuple[Layout, Layout] | None = None


@dataclass(frozen=True)
class Drop:
    """Not needed where its readers run on spatial forms: arithmetic on shapes for a reshape, a Concat for branches."""


Recipe = Remap | Expand | Elide | Drop


@dataclass(frozen=True)
class Branch:
    """One of the values that a layer reads side by side, with the weight's rows start..stop, as a convolution.

    `spatial_form` is the value's spatial form as it is read, where that is what is convolved, or a constant in the
    layout of the frame; else the frame is made of the original.
    """

    value: str
    contraction: Contraction
    start: int
    stop: int
    spatial_form: FormOf | Relaid | None = None


@dataclass(frozen=True)
class LayerFacts:
    """A fully connected layer: as a convolution (or the sum of one for each branch), or why it cannot be one."""

    layer: FCLayer
    contraction: Contraction | None
    obstacle: Reason | None
    reads: View | None
    addend: Operand | None = None
    branches: tuple[Branch, ...] = ()

    @property
    def contractions(self) -> list[Contraction]:
        """The convolutions that the layer becomes: one, or one for each branch."""
        return [each.contraction for each in self.branches] or [
            each for each in (self.contraction,) if each is not None
        ]


@dataclass(frozen=True)
class NodeFacts:
    """What is known of one node: its recipe on spatial forms, or the layer that it is, or the layer that absorbs it."""

    recipe: Recipe | None = None
    layer: LayerFacts | None = None
    part_of: int | None = None


@dataclass(frozen=True)
class Facts:
    """The inference's answer for one scope; `nodes` is parallel to `Graph.nodes`.

    `requests` are spatial forms that would let further nodes run on spatial forms, by the value at which they would be
    made. `sizes` are the sizes that weights fix for symbols.
    """

    views: Mapping[str, View]
    nodes: tuple[NodeFacts, ...]
    requests: Mapping[str, Layout]
    sizes: Mapping[str, int] = field(default_factory=dict)
