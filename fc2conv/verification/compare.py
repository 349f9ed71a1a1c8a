"""Two values of one name, over all runs: how far apart, against which bound, and whether that says anything.

The bound goes by the coarsest arithmetic on the way to a value. A head in float32 whose result is cast to double, or
put into a map of Python's floats, is as exact as float32. Each node on the way counts with the type of its results. One
that only moves elements does not count, and one that quantizes counts above all, as the last bit of a float may tip a
step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from fc2conv.dataclass import dataclass
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Bin, OutputDifference, Verdict
from fc2conv.verification.exact.terms import Term
from fc2conv.verification.exact.walk import Walk

_TEXTS = 1 << 16
"""Words that are looked at to tell whether a text output is the same throughout."""
_PER_DECADE = 2

Numbers = NDArray[np.float64]


@dataclass
class Likeness:
    """How similar two results are over all runs, for information.

    Differences are counted by half decades, `10 ** (key / 2) <= |d| < 10 ** ((key + 1) / 2)`; None counts zeros.
    """

    sums: Numbers = field(default_factory=lambda: np.zeros(6))
    spread: Counter[int | None] = field(default_factory=Counter)

    def add(self, reference: Numbers, found: Numbers) -> None:
        """Count one run of finite numbers in."""
        rows = same = 0
        if reference.ndim > 1 and reference.shape[-1] > 1:
            agreed = reference.argmax(-1) == found.argmax(-1)
            rows, same = agreed.size, int(agreed.sum())
        with np.errstate(over="ignore", invalid="ignore"):
            products = (reference * found, reference**2, found**2, (reference - found) ** 2)
            self.sums += [*(float(each.sum()) for each in products), same, rows]

    def add_apart(self, apart: Numbers) -> None:
        """Count one run of differences in, which are finite and not negative."""
        some = apart[apart > 0]
        self.spread.update({None: apart.size - some.size} if apart.size > some.size else {})
        self.spread.update(np.floor(np.log10(some) * _PER_DECADE).astype(np.int64).tolist())

    def shown(self) -> dict[str, Any]:
        """Return the cosine, 10 log10(signal / noise), how often the largest element is the same, and the histogram."""
        both, reference, found, noise, agreed, rows = self.sums.tolist()
        size = float(np.sqrt(reference) * np.sqrt(found))
        finite = noise > 0 and reference > 0 and np.isfinite(reference)
        some = [key for key in self.spread if key is not None]
        keys = range(min(some), max(some) + 1) if some else range(0)
        bins = [Bin(low=0.0, high=0.0, count=self.spread[None])] if self.spread[None] else []
        return {
            "cosine": both / size if size > 0 and np.isfinite(size) else None,
            "snr_db": float(10 * np.log10(reference / noise)) if finite else None,
            "top1_agreement": agreed / rows if rows else None,
            "histogram": bins + [Bin(low=_edge(k), high=_edge(k + 1), count=self.spread[k]) for k in keys],
        }


def _edge(key: int) -> float:
    return float(f"{10 ** (key / _PER_DECADE):.3g}")


@dataclass
class Value:
    """The runs of one value so far.

    A `probe` is no output: it is shown only where it differs. It is `loose` where its name need not mean the same in
    both models. `node` makes the value, and `arithmetic` is the coarsest on the way to it. `where` is the largest
    difference in words, and `run` the run that has it. `moves` is how far the original itself moves where its inputs
    move by one ulp. With `unsteady` it then has another shape, or is not finite in other places.
    """

    name: str
    probe: bool = False
    node: str = ""
    arithmetic: str = ""
    loose: bool = False
    where: str = ""
    run: int = 0
    moves: float | None = None
    unsteady: bool = False
    likeness: Likeness = field(default_factory=Likeness)
    dtype: str = ""
    difference: float = 0.0
    magnitude: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    count: int = 0
    texts: set[str] = field(default_factory=set)
    fault: str = ""
    words: str = ""
    skipped: str = ""

    def add(self, reference: Any, found: Any, run: int = 0) -> None:
        """Compare the value in one more run."""
        before = self.fault, self.words, self.difference
        old, new = list(_leaves(reference)), list(_leaves(found))
        if [(at, type(each)) for at, each in old] != [(at, type(each)) for at, each in new]:
            self.fault = self.fault or "is built of other parts"
        else:
            for (at, one), (_, other) in zip(old, new, strict=True):
                if isinstance(one, np.ndarray):
                    self._add_array(one, other, at)
                elif one is not None:
                    self.skipped = f"a {type(one).__name__} is not compared"
        if before != (self.fault, self.words, self.difference):
            self.run = run

    def _add_array(self, reference: NDArray[Any], found: NDArray[Any], at: tuple[object, ...]) -> None:
        self.dtype = str(reference.dtype)
        if reference.shape != found.shape or reference.dtype != found.dtype:
            what = f"is {found.dtype} {list(found.shape)}, not {reference.dtype} {list(reference.shape)}"
            self.fault = self.fault or what
        elif reference.dtype.kind in "SUO":
            if (apart := reference != found).any():
                self.words = self.words or f"holds other text: {_place(reference, found, apart, at, repr)}"
            self.texts.update(map(str, reference.reshape(-1)[:_TEXTS]))
            self.count += reference.size
        elif reference.size:
            distance = _distance(reference, found) if reference.dtype.kind in "iu" else None
            self._add_numbers(reference.astype(np.float64), found.astype(np.float64), at, distance)

    def _add_numbers(
        self, reference: Numbers, found: Numbers, at: tuple[object, ...], distance: Numbers | None
    ) -> None:
        finite = np.isfinite(reference)
        if not np.array_equal(finite, np.isfinite(found)) or not np.array_equal(
            reference[~finite], found[~finite], equal_nan=True
        ):
            self.fault = self.fault or "has NaN or infinity in other places"
        elif finite.any():
            apart = np.zeros_like(reference)
            apart[finite] = np.abs(reference[finite] - found[finite]) if distance is None else distance[finite]
            if apart.max() > self.difference:
                self.difference = float(apart.max())
                self.where = _place(reference, found, apart, at, "{:.9g}".format)
            if not self.probe:
                self.likeness.add_apart(apart)
                if finite.all():
                    self.likeness.add(reference, found)
            some = reference[finite]
            self.magnitude = max(self.magnitude, float(np.abs(some).max()))
            self.low, self.high = min(self.low, float(some.min())), max(self.high, float(some.max()))
            self.count += some.size

    def result(self, options: VerifyOptions, proved: bool = False) -> tuple[OutputDifference, str]:
        """Return the verdict on the value, and the reason where it is not a plain agreement.

        A value that is `proved` to be the same may differ by rounding, however much that is.
        """
        rtol, atol = tolerance(options, self.dtype, self.arithmetic, self.name)
        bound = atol + rtol * self.magnitude
        verdict, why = self._judged(bound, atol, proved)
        return OutputDifference(
            output=self.name,
            verdict=verdict,
            numeric=verdict,
            max_abs_difference=self.difference,
            max_abs_reference=self.magnitude,
            bound=bound,
            input_ulp=self.moves,
            **self.likeness.shown(),
        ), why

    def parts(self, options: VerifyOptions) -> bool:
        """Return whether the two models part here, proved or not."""
        return self.result(options)[0].verdict is Verdict.DIFFERS

    def _judged(self, bound: float, atol: float, proved: bool) -> tuple[Verdict, str]:
        made = f"{self.name} (made by {self.node})" if self.node else self.name
        if self.fault and proved and self.unsteady:
            return Verdict.INCONCLUSIVE, f"{made} {self.fault}: rounding alone, as it is proved{_UNSTEADY}"
        if self.fault:
            return Verdict.DIFFERS, f"{made} {self.fault}"
        if self.words or self.difference > bound:
            moved = "" if self.moves is None or self.words else _MOVES.format(self.moves)
            if proved:
                how = self.words or f"differs by {self.difference:.3g}, beyond {bound:.3g}"
                return Verdict.INCONCLUSIVE, f"{made} {how}: rounding alone, as it is proved{moved}"
            how = self.words or f"differs by {self.difference:.3g}, where {bound:.3g} is allowed: {self.where}"
            return Verdict.DIFFERS, f"{made} {how}{moved}"
        said = ""
        if self.skipped:
            said = f"{self.name}: {self.skipped}"
        elif not self.count:
            said = f"{self.name} holds no finite number and no text"
        elif self.count > 1 and (len(self.texts) == 1 or (not self.texts and self.low == self.high)):
            said = f"{self.name} is {next(iter(self.texts), f'{self.low:.3g}')!s} throughout"
        elif not self.texts and self.magnitude <= atol:
            said = f"{self.name} stays below the tolerance of {atol:.3g}"
        return (Verdict.INCONCLUSIVE, said) if said else (Verdict.AGREES, "")


_UNSTEADY = "; the original differs from itself so under one ulp of its inputs"
_MOVES = "; the original moves by {:.3g} under one ulp of its inputs"


def _leaves(value: Any, at: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], Any]]:
    """Yield the arrays of a result, each with its place in sequences and maps."""
    if isinstance(value, list):
        for i, each in enumerate(value):
            yield from _leaves(each, (*at, i))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield (*at, key), np.asarray(each)
    else:
        yield at, value


def _distance(one: NDArray[Any], other: NDArray[Any]) -> Numbers:
    """Return how far integers are apart; those beyond 2^53 would be the same as floats."""
    larger, smaller = np.maximum(one, other).astype(np.uint64), np.minimum(one, other).astype(np.uint64)
    apart: Numbers = (larger - smaller).astype(np.float64)
    return apart


def _place(one: NDArray[Any], other: NDArray[Any], apart: NDArray[Any], at: tuple[object, ...], shown: Any) -> str:
    """Describe the element that is furthest apart."""
    place = np.unravel_index(int(apart.argmax()), one.shape)
    return f"at {[*at, *map(int, place)]} it is {shown(other[place])}, where it was {shown(one[place])}"


def tolerance(options: VerifyOptions, dtype: str, arithmetic: str, name: str = "") -> tuple[float, float]:
    """Return (rtol, atol) of a value; other types than floats are exact, but for the steps of a quantization."""
    if dtype in TOLERANCES:
        rtol, atol = TOLERANCES[coarsest([dtype, arithmetic])]
        rtol = rtol if options.rtol is None else options.rtol
        atol = atol if options.atol is None else options.atol
    else:
        rtol, atol = 0.0, 1.0 if arithmetic == "quantized" and dtype in ("int8", "uint8") else 0.0
    return options.per_output.get(name, rtol), atol


def says_nothing(value: object) -> bool:
    """Return whether a result is empty, not finite or one number throughout: comparing it proves nothing."""
    if not isinstance(value, np.ndarray) or value.dtype.kind in "SUO":
        return False
    numbers = value.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    return not numbers.size or (value.size > 1 and bool(numbers.min() == numbers.max()))


# ------------------------------------------------------------------ arithmetic

TOLERANCES = {
    "": (0.0, 0.0),
    "float64": (1e-10, 1e-12),
    "float32": (1e-4, 1e-6),
    "bfloat16": (1e-2, 1e-3),
    "float16": (1e-2, 1e-3),
    "quantized": (5e-2, 1e-5),
}
"""(rtol, atol) by arithmetic, from no rounding to the coarsest, against the largest magnitude of the value.

Sums of 25088 float32 products in another order part by about 1e-6 of the range, wrong layouts by about 1. Where a model
quantizes, the results part by a step.
"""

FLOATS = {
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT: "float32",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.FLOAT16: "float16",
    **{kind: "quantized" for name, kind in TensorProto.DataType.items() if name.startswith(("FLOAT8", "FLOAT4"))},
}
"""The arithmetic of each floating-point element type; a type of 8 bits has so few numbers that they are steps."""

_QUANTIZE = ("QLinear", "QGemm", "QAttention", "QEmbed")
_MOVE = frozenset(
    """Identity Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Concat Gather Expand Tile Pad Where Relu Max Min
MaxPool ArgMax TopK Shape Size Constant Cast CastLike ZipMap""".split()
)
"""Operators that give elements of an operand, or labels of elements; a Cast rounds where it narrows."""


def coarsest(kinds: Iterable[str]) -> str:
    """Return the arithmetic that rounds most; "" where no arithmetic is given."""
    return max(kinds, key=list(TOLERANCES).index, default="")


def arithmetic(walk: Walk) -> dict[str, str]:
    """Return the coarsest arithmetic on the way to each value of a model that was walked."""
    known: dict[bytes, str] = {}
    for term in walk.table.terms.values():
        read = (known.get(each.key, "") for each in term.inputs)
        known[term.key] = coarsest([_own(term), *read])
    return {name: known.get(term.key, "") for name, term in walk.values.items()}


def _own(term: Term) -> str:
    """Return the arithmetic of one node; `ai.onnx.ml` computes in float32, whatever it reads."""
    if not term.has_op:
        return ""
    name, first = term.op.name.rpartition("::")[2], term.operand(0)
    if "Quantize" in name or name.startswith(_QUANTIZE):
        return "quantized"
    if name not in _MOVE:
        return FLOATS.get(term.kind, "") if term.kind else "float32"
    if name in ("Cast", "CastLike") and first.kind in FLOATS:
        made = FLOATS.get(term.kind, "")
        return made if coarsest([FLOATS[first.kind], made]) != FLOATS[first.kind] else ""
    return ""
