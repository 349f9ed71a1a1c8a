"""Two tensors of one name, over all runs: how far apart, against which bound, and whether that says anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc2conv.io.escape import counted
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import OutputDifference, Verdict
from fc2conv.verification.arithmetic import TOLERANCES, coarsest
from fc2conv.verification.spread import Spread

_TEXTS = 1 << 16
"""Words that are looked at to tell whether a text output is the same throughout."""


@dataclass
class Likeness:
    """How similar two results are over all runs, for information."""

    both: float = 0.0
    reference: float = 0.0
    found: float = 0.0
    noise: float = 0.0
    agreed: int = 0
    rows: int = 0

    def add(self, reference: NDArray[np.float64], found: NDArray[np.float64]) -> None:
        """Takes in one run of finite numbers."""
        self.both += float((reference * found).sum())
        self.reference += float((reference**2).sum())
        self.found += float((found**2).sum())
        self.noise += float(((reference - found) ** 2).sum())
        if reference.ndim > 1 and reference.shape[-1] > 1:
            same = reference.argmax(-1) == found.argmax(-1)
            self.agreed, self.rows = self.agreed + int(same.sum()), self.rows + same.size

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between them."""
        size = float(np.sqrt(self.reference) * np.sqrt(self.found))
        return self.both / size if size > 0 and np.isfinite(size) else None

    @property
    def snr_db(self) -> float | None:
        """10 log10(signal / noise)."""
        told = self.noise > 0 and self.reference > 0 and np.isfinite(self.reference)
        return float(10 * np.log10(self.reference / self.noise)) if told else None

    @property
    def top1(self) -> float | None:
        """How often the largest element is at the same place."""
        return self.agreed / self.rows if self.rows else None


@dataclass
class Pairing:
    """The runs of one value so far.

    `watched`: it is no output. `moved`: its elements have other places in the two models, and are compared with each
    other in the order of their size. `probe`: it is shown only where it differs; `node` makes it, and `layer` is the
    converted layer whose result it is. `arithmetic` is the coarsest that made it (its own type counts besides). `where`
    tells the largest difference, and `run` is the run of it. `moves` is how far the original itself moves where its
    inputs move by one ulp.
    """

    name: str
    watched: bool = False
    moved: bool = False
    probe: bool = False
    node: str = ""
    layer: str = ""
    arithmetic: str = ""
    where: str = ""
    run: int = 0
    moves: float | None = None
    likeness: Likeness = field(default_factory=Likeness)
    spread: Spread = field(default_factory=Spread)
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
        """Takes in one run."""
        before = self.fault, self.words, self.difference
        self._add(reference, found)
        if before != (self.fault, self.words, self.difference):
            self.run = run

    def _add(self, reference: Any, found: Any, at: tuple[object, ...] = ()) -> None:
        """Takes in a result, or what stands in one at `at`."""
        if type(reference) is not type(found):
            self.fault = self.fault or f"is a {type(found).__name__}, not a {type(reference).__name__}"
        elif isinstance(reference, list):
            self._add_sequence(reference, found, at)
        elif isinstance(reference, dict):
            self._add_map(reference, found, at)
        elif isinstance(reference, np.ndarray):
            self._add_array(reference, found, at)
        elif reference is not None:
            self.skipped = f"a {type(reference).__name__} is not compared"

    def _add_sequence(self, reference: Sequence[Any], found: Sequence[Any], at: tuple[object, ...]) -> None:
        if len(reference) != len(found):
            self.fault = self.fault or f"has {counted(len(found), 'element')}, not {len(reference)}"
            return
        for i, (one, other) in enumerate(zip(reference, found, strict=True)):
            self._add(one, other, (*at, i))

    def _add_map(self, reference: dict[Any, Any], found: dict[Any, Any], at: tuple[object, ...]) -> None:
        if reference.keys() != found.keys():
            self.fault = self.fault or "has other keys"
            return
        for key, one in reference.items():
            self._add(np.asarray(one), np.asarray(found[key]), (*at, key))

    def _add_array(self, reference: NDArray[Any], found: NDArray[Any], at: tuple[object, ...]) -> None:
        self.dtype = str(reference.dtype)
        if self.moved and reference.size == found.size:
            found = found.reshape(reference.shape)
        if reference.shape != found.shape or reference.dtype != found.dtype:
            what = f"is {found.dtype} {list(found.shape)}, not {reference.dtype} {list(reference.shape)}"
            self.fault = self.fault or what
        elif reference.dtype.kind in "SUO":
            self._add_text(reference, found, at)
        elif reference.size:
            self._add_numbers(reference.astype(np.float64), found.astype(np.float64), at)

    def _add_text(self, reference: NDArray[Any], found: NDArray[Any], at: tuple[object, ...]) -> None:
        unlike = reference != found
        if unlike.any():
            place = np.unravel_index(int(np.argmax(unlike)), reference.shape)
            shown = f"it is {found[place]!r}, where it was {reference[place]!r}"
            self.words = self.words or f"holds other text: at {[*at, *map(int, place)]} {shown}"
        self.texts.update(map(str, reference.reshape(-1)[:_TEXTS]))
        self.count += reference.size

    def _add_numbers(self, reference: NDArray[np.float64], found: NDArray[np.float64], at: tuple[object, ...]) -> None:
        special = ~np.isfinite(reference)
        if self.moved:
            first, second = np.sort(reference, axis=None), np.sort(found, axis=None)
        else:
            first, second = reference, found
        if not np.array_equal(~np.isfinite(first), ~np.isfinite(second)) or not np.array_equal(
            first[~np.isfinite(first)], second[~np.isfinite(second)], equal_nan=True
        ):
            self.fault = self.fault or "has NaN or infinity in other places"
        elif not special.all():
            apart = _apart(first, second)
            if apart.max() > self.difference:
                self.difference = float(apart.max())
                place = np.unravel_index(int(_apart(reference, found).argmax()), reference.shape)
                shown = f"it is {found[place]:.9g}, where it was {reference[place]:.9g}"
                self.where = f"at {[*at, *map(int, place)]} {shown}"
            if not self.probe and not self.moved and not special.any():
                with np.errstate(over="ignore", invalid="ignore"):
                    self.likeness.add(reference, found)
            if not self.probe:
                self.spread.add(apart)
            finite = reference[~special]
            self.magnitude = max(self.magnitude, float(np.abs(finite).max()))
            self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
            self.count += finite.size

    def result(self, options: VerifyOptions, proved: bool = False) -> tuple[OutputDifference, str]:
        """The verdict, and why, where it is not a plain agreement.

        What is `proved` to be the same may differ by rounding, however much that is.
        """
        rtol, atol = tolerance(options, self.dtype, self.arithmetic, self.name, self.probe)
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
            cosine=self.likeness.cosine,
            snr_db=self.likeness.snr_db,
            top1_agreement=self.likeness.top1,
            histogram=self.spread.bins(),
        ), why

    def _judged(self, bound: float, atol: float, proved: bool) -> tuple[Verdict, str]:
        made = f"{self.name} (made by {self.node})" if self.node else self.name
        layer = f"; the layer {self.layer} is suspected" if self.layer else ""
        if self.fault:
            return Verdict.DIFFERS, f"{made} {self.fault}{layer}"
        if self.words or self.difference > bound:
            moved = ""
            if self.moves is not None and not self.words:
                moved = f"; the original moves by {self.moves:.3g} under one ulp of its inputs"
            if proved:
                how = self.words or f"differs by {self.difference:.3g}, beyond {bound:.3g}"
                return Verdict.INCONCLUSIVE, f"{made} {how}: rounding alone, as it is proved{moved}"
            how = self.words or f"differs by {self.difference:.3g}, where {bound:.3g} is allowed: {self.where}"
            return Verdict.DIFFERS, f"{made} {how}{moved}{layer}"
        return self._agreeing(atol)

    def _agreeing(self, atol: float) -> tuple[Verdict, str]:
        """The verdict on two results that do not differ: whether that says anything."""
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


def tolerance(
    options: VerifyOptions, dtype: str, arithmetic: str, name: str = "", probe: bool = False
) -> tuple[float, float]:
    """(rtol, atol) of a value; what is no floating-point number is exact, but for the steps of a quantization."""
    quantized = arithmetic == "quantized"
    if dtype not in TOLERANCES:
        rtol, atol = 0.0, 1.0 if quantized and (probe or dtype in ("int8", "uint8")) else 0.0
        if quantized and probe and dtype not in ("int8", "uint8"):
            rtol = TOLERANCES["quantized"][0]  # sums of integers that floats were rounded to
    else:
        rtol, atol = TOLERANCES[coarsest([dtype, arithmetic])]
        rtol = rtol if options.rtol is None else options.rtol
        atol = atol if options.atol is None else options.atol
    return options.per_output.get(name, rtol), atol


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far apart the elements are, 0 where they are not finite."""
    with np.errstate(invalid="ignore"):
        away = np.abs(one - other)
    return np.where(np.isfinite(away), away, 0.0)


def says_nothing(value: object) -> bool:
    """Whether a result is empty, not finite, or one number throughout, so that comparing it proves nothing."""
    if not isinstance(value, np.ndarray) or value.dtype.kind in "SUO":
        return False
    if not value.size:
        return True
    numbers = value.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    return not numbers.size or (value.size > 1 and bool(numbers.min() == numbers.max()))
