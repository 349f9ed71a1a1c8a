"""Small tensors of numbers, some of which depend on sizes that nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from fractions import Fraction
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from fc2conv.dataclass import dataclass
from fc2conv.ir.arithmetic.amount import Amount, Cell, UndecidedError, of_size, plain, to_size, unnamed
from fc2conv.ir.arithmetic.cells import ratio
from fc2conv.ir.graph import int_attribute, ints_attribute, text_attribute
from fc2conv.layout.axes import Size

INT64, BOOL = np.dtype(np.int64), np.dtype(np.bool_)
MOST = 1024
"""The most elements of a tensor whose numbers are followed."""
_WIDE = 4
"""The bytes of an integer that holds every size; what depends on sizes wraps around in a narrower one."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """A tensor of `dtype` whose elements are `cells`: an array of objects, plain numbers or amounts."""

    cells: np.ndarray
    dtype: np.dtype[Any]

    @staticmethod
    def of(array: np.ndarray) -> Numbers | None:
        """Return the numbers of an array; None for a large one, or one with an element that is no finite number."""
        if array.size > MOST or not has_numbers(array.dtype) or not np.isfinite(array).all():
            return None
        if array.dtype.kind != "f":
            return Numbers(array.astype(object), array.dtype)
        values = array.astype(np.float64).ravel().tolist()
        cells = filled([int(value) if value.is_integer() else Fraction(value) for value in values])
        return Numbers(cells.reshape(array.shape), array.dtype)

    @staticmethod
    def sizes(sizes: Iterable[Size]) -> Numbers:
        return Numbers(filled([of_size(size) for size in sizes]), INT64)

    @cached_property
    def known(self) -> bool:
        """Whether no element depends on an unknown size."""
        return not any(isinstance(cell, Amount) for cell in self.cells.flat)

    def array(self) -> np.ndarray:
        """Return the numbers as an array of their type; raise UndecidedError unless all are known."""
        if not self.known:
            raise UndecidedError("a number that depends on sizes")
        return self.cells.astype(self.dtype)

    def ints(self) -> list[int]:
        """Return the numbers as a flat list of integers; raise UndecidedError unless all are known."""
        return [int(cell) for cell in self.array().flat]

    def as_sizes(self) -> tuple[Size, ...]:
        """Return the numbers, flattened, as sizes."""
        return tuple(to_size(cell) for cell in self.cells.flat)

    def moved(self, cells: np.ndarray) -> Numbers:
        """Return elements of this tensor in another arrangement."""
        return Numbers(cells if isinstance(cells, np.ndarray) else filled(cells, ()), self.dtype)


def has_numbers(dtype: np.dtype[Any]) -> bool:
    """Return whether elements of this type are numbers that Python has."""
    return dtype.kind in "iub" or dtype in (np.float16, np.float32, np.float64)


def filled(cells: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Make an array of objects: of a list of cells, or of one cell in every place of a shape."""
    out = np.empty(len(cells) if shape is None else shape, object)
    out[...] = cells
    return out


def settled(cell: Cell, dtype: np.dtype[Any]) -> Cell:
    """Wrap or round a number to an element of a type; raise UndecidedError where the type cannot represent it."""
    if isinstance(cell, Amount):
        if dtype.kind != "f" and (dtype.itemsize < _WIDE or not cell.whole):
            raise UndecidedError(f"{cell} as {dtype}")
        return cell
    if dtype.kind == "f":
        return plain(Fraction(float(dtype.type(float(cell)))))  # an OverflowError where it is not finite
    if dtype.kind == "b":
        return bool(cell)
    least, bits = int(np.iinfo(dtype).min), 8 * dtype.itemsize
    return (int(cell) - least) % (1 << bits) + least


@dataclass(frozen=True, eq=False)
class Call:
    """A node with the numbers of its operands (None: absent, or not known), and the first operand's shape.

    What is unknown of the results has `prefix` in its name.
    """

    node: NodeProto
    opset: int
    operands: tuple[Numbers | None, ...]
    shape: tuple[Size, ...] | None = None
    prefix: str = ""
    _names: Iterator[int] = field(default_factory=count)

    def operand(self, position: int) -> Numbers:
        """Return an operand that is known at least in terms of sizes; raise UndecidedError for any other."""
        found = self.given(position)
        if found is None:
            raise UndecidedError(f"operand {position}")
        return found

    def given(self, position: int) -> Numbers | None:
        """Return an operand, or None where it is absent; raise UndecidedError for one that is present but not known."""
        found = self.operands[position] if position < len(self.operands) else None
        if found is None and position < len(self.node.input) and self.node.input[position]:
            raise UndecidedError(f"operand {position}")
        return found

    def listed(self, name: str, position: int) -> list[int] | None:
        """Return known integers that older opsets have as an attribute, newer ones as an operand; None where absent."""
        found = self.given(position)
        if found is not None:
            return found.ints()
        return ints_attribute(self.node, name)

    def number(self, name: str, default: int) -> int:
        return int_attribute(self.node, name, default)

    def text(self, name: str, default: str) -> str:
        return text_attribute(self.node, name, default)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the element type that an attribute names; raise UndecidedError for one without numbers here."""
        kind = self.number(name, TensorProto.FLOAT)
        known = kind in TensorProto.DataType.values() and kind != TensorProto.UNDEFINED
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind)) if known else None
        if dtype is None or not has_numbers(dtype):
            raise UndecidedError(f"element type {kind}")
        return dtype

    def each(
        self, function: Callable[..., Cell], dtype: np.dtype[Any], *operands: Numbers, rounds: bool = False
    ) -> Numbers:
        """Apply a function to the operands' elements, broadcast; a result without a form becomes an unknown symbol.

        A floating-point result that depends on sizes is kept where it is exact, or a quotient that `function` rounds.
        """
        arrays = np.broadcast_arrays(*(each.cells for each in operands))
        floats = any(each.dtype.kind == "f" for each in operands) and not rounds
        out = np.empty(arrays[0].shape, object)
        for i, cells in enumerate(zip(*(array.flat for array in arrays), strict=True)):
            try:
                made = settled(function(*cells), dtype)
                to_check = cells if function is ratio else (*cells, made)
                if floats and any(isinstance(cell, Amount) and not cell.exact for cell in to_check):
                    raise UndecidedError("a rounded number")
                out.flat[i] = made
            except (ArithmeticError, ValueError):
                name = f"{self.prefix}{self.node.output[0]}"
                out.flat[i] = unnamed(name, next(self._names), whole=dtype.kind != "f")
        return Numbers(out, dtype)
