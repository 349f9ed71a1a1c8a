"""The report: one set of frozen types, rendered as text and JSON (and what else asks for it).

The JSON form is a contract (report/schema.json, `schema_version`): sorted keys, and
no time of day or duration outside `run`.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

SCHEMA_VERSION = 1

Verdict = Literal["pass", "fail", "inconclusive", "skipped"]


class ReasonReport(msgspec.Struct, frozen=True, kw_only=True):
    """A reason as it is told: stable code, meaning, remedy, the node at which it arose, and the case's detail."""

    code: str
    meaning: str
    remedy: str
    node: str
    detail: str = ""


class SiteReport(msgspec.Struct, frozen=True, kw_only=True):
    """One fully connected layer and what was decided of it.

    `scope` is the path of subgraphs or the function that holds the layer ("" is the main graph);
    shapes are in elements, `None` where not known or not applicable. `parts` are the weights' shapes where the layer
    became the sum of several convolutions, which have no one kernel.
    """

    node: str
    op_type: str
    decision: Literal["convert", "keep"]
    scope: str = ""
    weight: str | None = None
    weight_before: list[int] | None = None
    weight_after: list[int] | None = None
    kernel_shape: list[int] | None = None
    parts: list[list[int]] = []
    reason: ReasonReport | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One rung of the verification: its name, verdict, and one line that says what was seen."""

    name: str
    verdict: Verdict
    detail: str = ""


class OutputDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The largest difference of one output over all runs, against its largest magnitude and the bound.

    A number that is not finite, or was not measured, is null in JSON, which knows no NaN. For information: the cosine
    of the two outputs, the signal-to-noise ratio in dB (null where nothing differs), and how often the
    largest element of the last axis is the same one.
    """

    output: str
    max_abs_difference: float | None
    max_abs_reference: float | None
    bound: float | None
    verdict: Verdict
    cosine: float | None = None
    snr_db: float | None = None
    top1_agreement: float | None = None


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was proved and compared; `verdict` is the worst of the rungs that ran.

    `reproduce` is the command that shows a difference again, where the inputs that show it were saved.
    """

    verdict: Verdict
    checks: list[Check] = []
    outputs: list[OutputDifference] = []
    reproduce: str = ""


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a file: its path as given ("" for a model in memory) and its bytes, external data included.

    `sha256` has the SHA-256 of each of its files by name, where it was asked for.
    """

    path: str
    bytes: int
    sha256: dict[str, str] = {}


class LayoutNodes(msgspec.Struct, frozen=True, kw_only=True):
    """How many Reshape, Flatten, Squeeze, Unsqueeze and Transpose nodes the model holds."""

    before: int
    after: int


class HeadReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run of converted layers and the nodes between them: the layers' nodes, and its layout nodes before and after.

    `scope` is as in SiteReport. The nodes that only lead to the head or away from it count where they can change.
    """

    sites: list[str]
    layout_before: int
    layout_after: int
    scope: str = ""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from run to run: seconds by stage, and the process's peak resident memory in bytes."""

    seconds: dict[str, float] = {}
    peak_memory_bytes: int = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that fc2conv has to say of one model."""

    outcome: Literal["converted", "unchanged", "planned"]
    scope: str
    input: FileInfo
    output: FileInfo | None
    sites: list[SiteReport]
    heads: list[HeadReport] = []
    layout_nodes: LayoutNodes
    verification: Verification | None
    versions: dict[str, str]
    run: Run
    schema_version: int = SCHEMA_VERSION

    @property
    def layers(self) -> list[SiteReport]:
        """The sites without what only looks like a layer: products of two activations or of two constants."""
        return [site for site in self.sites if site.reason is None or site.reason.code not in ("FC201", "FC207")]

    @property
    def converted(self) -> list[SiteReport]:
        """The layers that became, or would become, convolutions."""
        return [site for site in self.sites if site.decision == "convert"]

    @property
    def kept(self) -> list[SiteReport]:
        """The layers that were left, each with its reason."""
        return [site for site in self.sites if site.decision == "keep"]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What `fc2conv verify A B` has to say: the two models as they were named, and what their comparison found."""

    a: str
    b: str
    verification: Verification
    schema_version: int = SCHEMA_VERSION


Outcome = Literal[
    "converted",
    "unchanged",
    "kept",
    "invalid",
    "mismatch",
    "inconclusive",
    "timeout",
    "out-of-memory",
    "crashed",
    "error",
]
"""What came of one model of a batch. `unchanged` has no fully connected layer, `kept` has some and none was converted
(the report tells why); the rest wrote nothing: the exit codes 3, 4, 5, the three kinds of 8, and all others."""


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a batch: its path below SRC with `/` between, what came of it, and the line that says why.

    `key` is the hash of its content, of the options and of the versions; `exit_code` is what `fc2conv IN OUT` would
    have said; `signal` names what killed its process; `stderr` is the tail of what that wrote; `report` is there
    where one was made.
    """

    name: str
    outcome: Outcome
    key: str = ""
    exit_code: int = 0
    message: str = ""
    signal: str = ""
    stderr: str = ""
    report: Report | None = None
    run: Run = Run()


class BatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that fc2conv has to say of a batch: where it read and wrote, and a row for each model, sorted by name."""

    source: str
    destination: str
    rows: list[BatchRow]
    versions: dict[str, str] = {}
    run: Run = Run()
    schema_version: int = SCHEMA_VERSION

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many rows have each outcome that occurs, in the order of `Outcome`."""
        outcomes = [row.outcome for row in self.rows]
        return {outcome: outcomes.count(outcome) for outcome in get_args(Outcome) if outcome in outcomes}


Document = Report | Comparison | BatchReport
"""What a command has to say, whatever it is rendered as."""
