"""The report: one set of frozen types, rendered as text, JSON and other forms.

The JSON form is a contract (report/schema.json, `schema_version`): sorted keys, and
no time of day or duration outside `run`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

import msgspec

from fc2conv.report.parts import (
    Counts,
    Figures,
    HeadDrawing,
    LayoutNodes,
    ReasonReport,
    ScopeReport,
    TargetReport,
    is_layer,
)
from fc2conv.report.shown import Records, Saved
from fc2conv.report.sliding import SlidingReport
from fc2conv.report.verification import Bin, Certificate, Check, OutputDifference, Parting, Verdict, Verification

SCHEMA_VERSION = 2


class SiteReport(msgspec.Struct, frozen=True, kw_only=True):
    """One fully connected layer and what was decided of it.

    `scope` is the path of subgraphs or the function that holds the layer ("" is the main graph);
    shapes are in elements, `None` where not known or not applicable. `parts` are the weights' shapes where the layer
    became several convolutions. `form` is what it became: `keep`, `map` (a kernel over the map), `point` (1x1 on one
    cell), `tokens [N,C,H,W]`, `tokens [N,C,1,L]` or `tokens [N,C,L]` (1x1 on many). `requantized` is how far the weight
    moved when it was quantized per output, relative to its largest value.
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
    form: str = "keep"
    requantized: float | None = None
    reason: ReasonReport | None = None

    @property
    def path(self) -> str:
        """The name of the node, after the path of its scope."""
        return f"{self.scope}/{self.node}" if self.scope else self.node

    @property
    def code(self) -> str:
        """The code of the reason; "" for a layer that is converted."""
        return "" if self.reason is None else self.reason.code


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a file: its path as given ("" for a model in memory) and its bytes, external data included.

    `data` names the files of its external data, relative to the model's folder. `sha256` has the SHA-256 of each of
    its files by its path from there, where it was asked for.
    """

    path: str
    bytes: int
    data: list[str] = []
    sha256: dict[str, str] = {}


class HeadReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run of converted layers and the nodes between them: the layers' nodes, and its layout nodes before and after.

    `scope` is as in SiteReport. The nodes that only lead to the head or away from it count where they can change.
    """

    sites: list[str]
    layout_before: int
    layout_after: int
    scope: str = ""
    drawing: HeadDrawing | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from run to run: seconds by stage, and the process's peak resident memory in bytes."""

    seconds: dict[str, float] = {}
    peak_memory_bytes: int = 0


class Report(Saved, msgspec.Struct, frozen=True, kw_only=True):
    """All that fc2conv has to say of one model.

    `outcome` is `converted`; `unchanged` (nothing was to be converted, OUT is IN); `planned` (of `check` and
    `--dry-run`, without an `output`); or `differs` or `inconclusive` (nothing was written, exit codes 4 and 5).
    `sites` are in the order of the graph. `verification` is null where none was made, and `sliding` without
    `--fully-convolutional`. With that, the outputs of the verification are those of the converted network first, and
    then `NAME (training size)` and `NAME (windows)` of the sliding one, and the answers beside the maps.
    `options` are those that are not the default, by their names in the library, as text. `before` and `after` are
    there where a page was asked for.
    `other_scope` is there in a plan of a model that keeps its size, and `target` where one was named. `operators`
    counts the nodes of each operator in the model as it was read and as it was written, and `signature` is what
    `--static` and `--outputs` changed of its inputs and outputs.
    """

    outcome: Literal["converted", "unchanged", "planned", "differs", "inconclusive"]
    scope: str
    input: FileInfo
    output: FileInfo | None
    sites: list[SiteReport]
    heads: list[HeadReport] = []
    layout_nodes: LayoutNodes
    verification: Verification | None
    versions: dict[str, str]
    run: Run
    options: dict[str, str] = {}
    before: Figures | None = None
    after: Figures | None = None
    sliding: SlidingReport | None = None
    other_scope: ScopeReport | None = None
    target: TargetReport | None = None
    operators: dict[str, Counts] = {}
    signature: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def layers(self) -> list[SiteReport]:
        """The sites without what only looks like a layer: products of two activations or of two constants."""
        return [site for site in self.sites if is_layer(site.code)]

    @property
    def converted(self) -> list[SiteReport]:
        """The layers that became, or would become, convolutions."""
        return [site for site in self.sites if site.decision == "convert"]

    @property
    def forms(self) -> dict[str, int]:
        """How many layers have each form, the most frequent first."""
        return dict(Counter(site.form for site in self.layers).most_common())

    @property
    def kept(self) -> list[SiteReport]:
        """The layers that were left, each with its reason."""
        return [site for site in self.layers if site.decision == "keep"]

    @property
    def files(self) -> list[FileInfo]:
        """The model as it was read, and as it was written where it was."""
        return [file for file in (self.input, self.output) if file is not None]

    def records(self) -> Records:
        """List the layers, one flat dict each, for a data frame."""
        return [_record(site) for site in self.sites]


class Comparison(Saved, msgspec.Struct, frozen=True, kw_only=True):
    """What `fc2conv verify A B` has to say: the two models as they were named, and what their comparison found.

    `options` are those that are not the default, as text.
    """

    a: str
    b: str
    verification: Verification
    options: dict[str, str] = {}
    versions: dict[str, str] = {}
    schema_version: int = SCHEMA_VERSION

    def records(self) -> Records:
        """List the outputs, one flat dict each, for a data frame."""
        return self.verification.records()


Outcome = Literal[
    "converted",
    "unchanged",
    "kept",
    "invalid",
    "differs",
    "inconclusive",
    "timeout",
    "out-of-memory",
    "crashed",
    "error",
]
"""The outcome of one model of a batch. `unchanged` has no fully connected layer, `kept` has some and converted none
(the report tells why); the rest wrote nothing: the exit codes 3, 4, 5, the three kinds of 8, and all others."""

WRITTEN: tuple[Outcome, ...] = ("converted", "unchanged", "kept")
"""The outcomes after which there is an output; in the last two it is a copy of the input."""


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a batch: its path below SRC with `/` between, what came of it, and the line that says why.

    `key` is the hash of its content, of the options and of the versions ("" where its process died before it was
    known); `exit_code` is what `fc2conv IN OUT` would have said; `signal` names what killed its process; `stderr` is
    the tail of what that wrote, or a traceback; `outputs` has the SHA-256 of each file that was written, by its path
    below DST; `report` is there where one was made.
    """

    name: str
    outcome: Outcome
    key: str = ""
    exit_code: int = 0
    message: str = ""
    signal: str = ""
    stderr: str = ""
    outputs: dict[str, str] = {}
    report: Report | None = None
    run: Run = Run()

    @property
    def failed(self) -> bool:
        """Whether it is one of the outcomes that wrote nothing."""
        return self.outcome not in WRITTEN


class BatchReport(Saved, msgspec.Struct, frozen=True, kw_only=True):
    """All that fc2conv has to say of a batch: where it read and wrote, and a row for each model, sorted by name.

    `models` is how many the batch has; there are fewer rows where the run was stopped.
    """

    source: str
    destination: str
    rows: list[BatchRow]
    models: int = 0
    versions: dict[str, str] = {}
    run: Run = Run()
    schema_version: int = SCHEMA_VERSION

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many rows have each outcome that occurs, in the order of `Outcome`."""
        outcomes = [row.outcome for row in self.rows]
        return {outcome: outcomes.count(outcome) for outcome in get_args(Outcome) if outcome in outcomes}

    def records(self) -> Records:
        """List the models, one flat dict each, for a data frame."""
        return [_row_record(row) for row in self.rows]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What `--output-format json` says of models for which there is no report: they could not be read, say.

    `models` are their paths as given, `exit_code` is what the command says of them, and `remedy` is what helps.
    `sites` is always empty, so that whoever reads reports line by line needs no case for it.
    """

    models: list[str]
    message: str
    exit_code: int
    remedy: str = ""
    outcome: Literal["error"] = "error"
    sites: list[SiteReport] = []
    versions: dict[str, str] = {}
    schema_version: int = SCHEMA_VERSION


Document = Report | Comparison | BatchReport
"""What a command has to say, whatever it is rendered as."""


def _record(site: SiteReport) -> dict[str, Any]:
    own = "node scope op_type decision form weight_before weight_after kernel_shape code".split()
    reason = site.reason or ReasonReport(code="", meaning="", remedy="", node="")
    said = {"at": reason.node, "detail": reason.detail, "remedy": reason.remedy}
    return {name: getattr(site, name) for name in own} | said


def _row_record(row: BatchRow) -> dict[str, Any]:
    report = row.report
    return {
        "name": row.name,
        "outcome": row.outcome,
        "exit_code": row.exit_code,
        "layers": len(report.layers) if report else None,
        "converted": len(report.converted) if report else None,
        "verdict": report.verification.verdict.value if report and report.verification else "",
        "message": row.message,
    }
