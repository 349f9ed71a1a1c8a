"""Terms: a value of a model as an operator applied to other terms, shared by all models of one table.

Two nodes with the same operator, schema version, attributes and operands are one term, whichever model has them, so
that what both models have need not be computed. A constant is distinguished from others by its type, shape and bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.verification.nodes import content

Array = NDArray[Any]
Shape = tuple[int, ...]

RESHAPES = frozenset("Reshape Flatten Squeeze Unsqueeze".split())
"""Operators that give the same elements in the same order another shape."""
TURNS = RESHAPES | {"Transpose"}
"""Operators that give the same elements in another place."""
PICKS = TURNS | frozenset("Slice Split Gather Expand Tile DepthToSpace SpaceToDepth".split())
CHOOSE = PICKS | frozenset("MaxPool ReduceMax ReduceMin".split())
"""Operators whose results are elements of the first operand: at a place, or the greatest of some."""
WINDOWS = frozenset("Conv ConvInteger MaxPool AveragePool LpPool".split())
"""Operators whose result has a cell for each step of a window."""

SMALL = 4096
"""Constants of up to this many elements are evaluated as numbers where all operands of their node are."""
MOST = 1 << 40
"""A value of more elements is one whole, without known elements."""

COUNTS = ""
"""The name, among the shapes of inputs, of the sizes that values decide: how many boxes are found, and the like.

Nothing is known of these sizes. So each is one more open size, which both models have in common where the same operator
reads equal operands.
"""
MOST_COUNTS = 64
STEPS = (0, 1, 2, 3, 5, 9, 17, 33, 65)
"""The steps of these sizes at which two models are compared; the first two are always run."""
_SPREAD = 31


def counts(step: int) -> Shape:
    """Return all sizes that values decide at one of the steps.

    Each grows by another number, and each sum of two by another one too: i and i * i modulo a prime distinguish them.
    """
    return tuple(2 + i + (1 + i * i % _SPREAD) * step for i in range(MOST_COUNTS))


@dataclass(frozen=True)
class Op:
    """What a node computes: operator, version of its schema, attributes that are not the default."""

    name: str
    version: int
    attributes: Mapping[str, Any]
    node: NodeProto
    label: str
    digest: bytes


NO_OP = Op("", 0, {}, NodeProto(), "", b"")
"""The operator of a value which no node makes."""


@dataclass(eq=False)
class Term:
    """One value.

    `value` holds small constants as numbers; `load` reads a larger constant, and `blob` names its bytes. `leaf` is the
    key of a fresh variable. `shape` is None where it is not known, and the whole value is then one residue. `sides` is
    the set of models (1, 2, both: 3) that compute it. `atoms`: some element is a constant that is not finite. An
    integer with `bounds` is known not to have wrapped around, and to lie within them. `computed`: it is made from
    stored numbers. An operand that is left out is `ABSENT`.
    """

    key: bytes
    label: str
    shape: Shape | None
    kind: int
    op: Op = NO_OP
    inputs: tuple[Term, ...] = ()
    index: int = 0
    value: Array | None = None
    load: Callable[[], Array] | None = None
    blob: bytes = b""
    leaf: object = None
    sides: int = 0
    atoms: bool = False
    bounds: tuple[float, float] | None = None
    computed: bool = False

    @property
    def has_op(self) -> bool:
        """Whether a node makes it."""
        return self.op is not NO_OP

    @property
    def there(self) -> list[Term]:
        """The operands that are given."""
        return [each for each in self.inputs if each is not ABSENT]

    def operand(self, index: int) -> Term:
        """Return an operand, or `ABSENT` where it is not given."""
        return self.inputs[index] if index < len(self.inputs) else ABSENT

    def listed(self, name: str, index: int = 1) -> list[int]:
        """Return integers that are an attribute in older definitions, else a known operand."""
        value = self.operand(index).value
        return [int(n) for n in self.op.attributes.get(name) or ([] if value is None else value.reshape(-1))]

    @property
    def foldable(self) -> bool:
        """Whether the numbers are the model's own, stored or computed from stored ones."""
        return self.load is not None or self.value is not None or self.computed

    @property
    def constant(self) -> bool:
        """Whether the term holds numbers that are stored in a model."""
        return self.load is not None or (self.value is not None and not self.has_op)

    @property
    def size(self) -> int:
        """The number of elements; 1 where it is not known."""
        return prod(self.shape) if self.shape is not None else 1

    @property
    def integer(self) -> bool:
        """Whether its elements are integers or truth values."""
        return self.kind in INTEGERS

    @cached_property
    def copies(self) -> bool:
        """Whether a convolution, of a kernel with one 1 in each row and zeros, gives elements of its operand."""
        padded = any(self.op.attributes.get("pads", ())) or "auto_pad" in self.op.attributes
        if self.op.name != "Conv" or padded or len(self.there) != 2 or not self.inputs[1].constant:
            return False
        kernel = self.inputs[1].numbers()
        rows = kernel.reshape(kernel.shape[0], -1)
        return all(bool(((each != 0).sum(1) == 1).all() and (each.max(1) == 1).all()) for each in (rows[:1], rows))

    def numbers(self) -> Array:
        """Return the elements of a constant."""
        if self.value is not None:
            return self.value
        assert self.load is not None
        return self.load()


ABSENT = Term(b"", "", (), -1)
"""An operand that is left out."""

Signature = tuple[str, tuple[bytes, ...]]

INTEGERS = frozenset(
    getattr(TensorProto, name)
    for name in "BOOL INT8 UINT8 INT16 UINT16 INT32 UINT32 INT64 UINT64 INT4 UINT4 INT2 UINT2".split()
    if hasattr(TensorProto, name)
)


def digest(*parts: object) -> bytes:
    """Hash plain values and keys of terms to 16 bytes."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def limits(kind: int) -> tuple[int, int] | None:
    """Return the least and the largest number of an integer type; None for other types."""
    if kind == TensorProto.BOOL:
        return 0, 1
    name = TensorProto.DataType.Name(kind).lower()
    if kind not in INTEGERS:
        return None
    bits = int("".join(filter(str.isdigit, name)))
    return (0, (1 << bits) - 1) if name.startswith("u") else (-(1 << bits - 1), (1 << bits - 1) - 1)


@dataclass
class Table:
    """All terms of the models that are compared, by key; and which models store each blob, in any shape.

    `numbers` are the results of nodes that give whole numbers of the model, by what they compute. `kinds` are the types
    and shapes that were inferred, by operator and operands. `counted` are the results of nodes with sizes that values
    decide, in the order of the first model. `bodies` are operands of nodes and the results of their subgraphs, by name.
    `walked` says whether a Loop of the first model is walked step by step, by its number of steps.
    """

    terms: dict[bytes, Term] = field(default_factory=dict)
    blobs: dict[bytes, int] = field(default_factory=dict)
    numbers: dict[bytes, list[Term]] = field(default_factory=dict)
    kinds: dict[tuple[object, ...], list[tuple[int, Shape | None]]] = field(default_factory=dict)
    counted: list[list[Term]] = field(default_factory=list)
    bodies: dict[bytes, tuple[tuple[str, int], list[Term]]] = field(default_factory=dict)
    walked: dict[int | None, bool] = field(default_factory=dict)

    def known(self, key: bytes, side: int) -> Term | None:
        """Return the term of a key, and note that a model computes it."""
        found = self.terms.get(key)
        if found is not None:
            found.sides |= side
        return found

    def add(self, term: Term, side: int) -> Term:
        """Return the table's term of this key; add this one where there is no term yet."""
        kept = self.terms.setdefault(term.key, term)
        kept.sides |= side
        if term.blob:
            self.blobs[term.blob] = self.blobs.get(term.blob, 0) | side
        return kept


def number(array: Array, label: str, kind: int = 0) -> Term:
    """Return a small constant as a term; its key is a hash of its content."""
    kind = kind or int(helper.np_dtype_to_tensor_dtype(array.dtype))
    key = digest("number", kind, array.shape, content(array))
    finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
    bounds = (int(array.min()), int(array.max())) if kind in INTEGERS and array.size else None
    return Term(key, label, tuple(array.shape), kind, value=array, atoms=not finite, bounds=bounds)


def fresh(key: object, label: str, shape: Shape | None, kind: int) -> Term:
    """Return a fresh variable: only its type and shape are known."""
    return Term(digest("fresh", key, shape, kind), label, shape, kind, leaf=key, bounds=limits(kind))


def signature(term: Term) -> Signature:
    return term.op.name, tuple(each.key for each in term.inputs if each.constant)


def unmoved(term: Term, moves: Collection[str] = PICKS) -> Term:
    """Return the term that a value has its elements from, past operators that only move or choose them."""
    while term.operand(0).kind == term.kind and (term.op.name in moves or ("Gather" in moves and term.copies)):
        term = term.inputs[0]  # of another type are the places of elements
    return term


def behind(term: Term, inside: Callable[[Term], bool] = lambda _: True) -> Iterator[Term]:
    """Yield a term, and all terms that it is computed from, as far as these lie `inside`."""
    seen: set[bytes] = set()
    stack = [term]
    while stack:
        top = stack.pop()
        if top.key not in seen and inside(top):
            seen.add(top.key)
            yield top
            stack.extend(top.there)
