"""What a verification says of two models: one verdict for the whole, for each output and for each check."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec

from fc2conv.errors import ExitCode
from fc2conv.report.shown import Records, Shown


class Verdict(StrEnum):
    """What is known of two models, of one of their outputs, or of what one check looks at.

    `proved`: exact arithmetic proves that they are the same real functions. `agrees`: nothing speaks against it, and
    what was compared is the same. `differs`: they are not the same. `inconclusive`: nothing decides. `skipped`: not
    looked at.
    """

    PROVED = "proved"
    AGREES = "agrees"
    DIFFERS = "differs"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"

    @property
    def accepted(self) -> bool:
        """Whether the models count as the same."""
        return self in (Verdict.PROVED, Verdict.AGREES)

    @property
    def exit_code(self) -> ExitCode:
        """What a command exits with."""
        if self.accepted:
            return ExitCode.DONE
        return ExitCode.MISMATCH if self is Verdict.DIFFERS else ExitCode.INCONCLUSIVE


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict of a whole from those of its parts; a part that was skipped says nothing."""
    found = set(verdicts) - {Verdict.SKIPPED}
    order = (Verdict.DIFFERS, Verdict.INCONCLUSIVE, Verdict.AGREES, Verdict.PROVED)
    return next((each for each in order if each in found), Verdict.SKIPPED)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check of the verification: its name, verdict, and one line that says what was seen."""

    name: str
    verdict: Verdict
    detail: str = ""


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """How many elements differ by `low` <= |d| < `high`, over all runs; `low` and `high` are 0 where they are equal."""

    low: float
    high: float
    count: int


class OutputDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One output: its verdict, what `exact` arithmetic and the numbers (`numeric`) say of it, and the numbers.

    The numbers are the largest difference over all runs, the largest magnitude and the bound. A number that is not
    finite, or was not measured, is null in JSON, which knows no NaN. `input_ulp` is how far the first model itself
    moves where each of its inputs moves by one unit in the last place, measured where a difference is beyond the bound.
    For information: the cosine of the two outputs, the signal-to-noise ratio in dB (null where nothing differs), how
    often the largest element of the last axis is the same one, and how many elements differ by how much. An inner value
    is listed where it differs; exact arithmetic says nothing of it.
    """

    output: str
    verdict: Verdict
    exact: Verdict = Verdict.SKIPPED
    numeric: Verdict = Verdict.SKIPPED
    max_abs_difference: float | None = None
    max_abs_reference: float | None = None
    bound: float | None = None
    input_ulp: float | None = None
    cosine: float | None = None
    snr_db: float | None = None
    top1_agreement: float | None = None
    histogram: list[Bin] = []


Cause = Literal["arithmetic", "shape", "functions", "rounding", "opaque", "position"]
"""Why exact arithmetic does not call two models the same.

`arithmetic`: they part by sums and products alone. `shape`: an output has another shape. `functions`: one applies a
function that the other does not. `rounding`: a constant of one may be what rounding made of several of the other.
`opaque`: a node cannot be followed. `position`: a node names a position of an open axis that no run reaches.
"""


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """Where two models part, or the node that keeps exact arithmetic from following them.

    `value` is the first value of the first model that the second has as well and that is another function there,
    `node` and `op_type` make it, and `index` is the first of its elements that differs (null where that is not known).
    `only_a` and `only_b` are the functions that one of the two models alone applies.
    """

    cause: Cause
    value: str = ""
    node: str = ""
    op_type: str = ""
    index: list[int] | None = None
    only_a: list[str] = []
    only_b: list[str] = []


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What exact arithmetic was run on, so that it can be run again: files, seed, shapes, primes, and what came out.

    `a` and `b` are the SHA-256 of each model's files, in the order of the hashes. `input_shapes` are those that the
    caller gave. `residues` has a hash of the residues of each output that is proved.
    """

    a: list[str]
    b: list[str]
    seed: int
    primes: list[int]
    residues: dict[str, str]
    input_shapes: dict[str, list[int]] = {}


class Verification(Shown, msgspec.Struct, frozen=True, kw_only=True):
    """What was proved and compared: the verdict of the whole, of each check, and of each output.

    `certificate` is there where exact arithmetic ran, and `parting` where it does not call the models the same.
    `notes` are differences of two models of which nothing that they compute depends: metadata, names, dead nodes.
    `reproduce` is the command that shows a difference again, where the inputs that show it were saved.
    """

    verdict: Verdict
    checks: list[Check] = []
    outputs: list[OutputDifference] = []
    parting: Parting | None = None
    certificate: Certificate | None = None
    notes: list[str] = []
    reproduce: str = ""

    def records(self) -> Records:
        """List the outputs, one flat dict each, for a data frame."""
        return [{name: _plain(getattr(each, name)) for name in _OUTPUT_FIELDS} for each in self.outputs]


_OUTPUT_FIELDS = [name for name in OutputDifference.__struct_fields__ if name != "histogram"]


def _plain(value: object) -> object:
    return value.value if isinstance(value, Verdict) else value
