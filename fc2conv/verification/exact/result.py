"""The results of the check `exact`: of one output, and of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from fc2conv.dataclass import dataclass
from fc2conv.report.verification import Check, Parting, Verdict
from fc2conv.verification.exact.terms import ABSENT, Term

NAME = "exact"


@dataclass(frozen=True)
class Found:
    """The result of exact arithmetic for one output: `equal` (None: not known), and the assumption that it needs.

    `residues` is a hash of the equal residues, and `at` the node that is in the way. `unseen`: the output depends on
    branches that only one model has, and numbers run only one branch.
    """

    name: str
    equal: bool | None
    why: str = ""
    assumed: str = ""
    residues: str = ""
    at: Term = ABSENT
    unseen: bool = False


@dataclass(frozen=True)
class Exact:
    """The check, the verdict on each output, and where the models part.

    The outputs that are `followed` are proved, or part; on all others numbers decide. `unseen`: some of these may part
    in a branch that numbers do not run, or beyond the `position` of an open axis that one model alone names. `stopped`:
    the original does not take the second number of items that is tried. The last size that grew is a factor of values
    `degree` times.
    """

    check: Check
    outputs: Mapping[str, Verdict] = field(default_factory=dict)
    followed: frozenset[str] = frozenset()
    parting: Parting | None = None
    unseen: bool = False
    position: int = 0
    degree: int = 0
    stopped: bool = False
    primes: Sequence[int] = ()
    residues: Mapping[str, str] = field(default_factory=dict)

    @property
    def same(self) -> frozenset[str]:
        """The outputs that are the same functions in both models."""
        return frozenset(name for name, verdict in self.outputs.items() if verdict is Verdict.PROVED)

    @property
    def proved(self) -> bool:
        """Whether all outputs are the same functions."""
        return self.check.verdict is Verdict.PROVED

    @property
    def parted(self) -> bool:
        """Whether some output is followed and is not the same function."""
        return self.followed != self.same

    @property
    def position_unseen(self) -> bool:
        """Whether a position beyond the items that are run is all that is known against a proof."""
        return self.parting is not None and self.parting.cause == "position"
