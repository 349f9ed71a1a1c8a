"""Reports to draw as pages: of real conversions of the fixtures, of a failure, of hostile names, of a batch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import msgspec
import onnx

import fc2conv
from fc2conv.options import Options, SlidingOptions, VerifyOptions
from fc2conv.report.types import BatchReport, BatchRow, Comparison, Outcome, Report, Run, Verdict, Verification
from fc2conv.verification import pair

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"

HOSTILE = [
    "<script>document.title = 'run'</script>",
    "</title></style></script><script>document.title = 'run'</script>",
    "\"'><img src=x onerror=\"document.title='run'\">",
    "' onfocus='document.title=1' autofocus='",
    "<svg/onload=document.title='run'><a xlink:href=javascript:alert(1)>",
    "javascript:document.title='run'",
    "{{ 7 * 7 }}{% include 'report.html' %}${7*7}&lt;b&gt;&#x202e;",
    "emoji \U0001f980 \U0001f469‍\U0001f469‍\U0001f467 \U0001f1e9\U0001f1ea 漢字",
    "a" * 10_000,
    "W ide " * 1_600,
    "two\nlines\r\nand\ttabs\x0b\x85 ",
    "‮desrever‬ ‏שלום مرحبا⁦⁩",
    "\x1b[31mred\x1b[0m\x07\x08\x7f\x9b",
    "z" + "̍̕" * 300,
    " leading and trailing ",
]
"""Names that a model may have, each of which breaks some page that is careless."""

ILLUSTRATED = Options(illustrate=True, hashes=True)
SLIDING = Options(illustrate=True, sliding=SlidingOptions(verify_crops=True, reduce="max"))


def converted(name: str, folder: Path) -> Report:
    """The report of a fixture's conversion."""
    return fc2conv.convert(FIXTURES / f"{name}.onnx", folder / "out.onnx", ILLUSTRATED).report


@cache
def sliding() -> Report:
    """The report of a fixture that was made fully convolutional."""
    return fc2conv.convert(FIXTURES / "gap.onnx", None, SLIDING).report


@contextmanager
def refused() -> Iterator[None]:
    """Every comparison ends with a difference: a conversion is right, and what is proved cannot be refused."""
    proved = pair.verify_pair

    with patch.object(pair, "verify_pair", lambda *models: differing(proved(*models))):
        yield


def differing(found: Verification) -> Verification:
    """A comparison with a difference, its largest one beyond the bound."""
    *earlier, numeric = found.checks
    detail = f"{found.outputs[0].output} differs by 1, where 0 is allowed: at [0, 0] it is 1, where it was 0"
    outputs = [msgspec.structs.replace(each, bound=0.0, verdict=Verdict.DIFFERS) for each in found.outputs]
    failed = msgspec.structs.replace(numeric, verdict=Verdict.DIFFERS, detail=detail)
    return msgspec.structs.replace(found, verdict=Verdict.DIFFERS, checks=[*earlier, failed], outputs=outputs)


@cache
def mismatch(name: str) -> Report:
    """The report of a conversion that is refused."""
    options = Options(illustrate=True, verification=VerifyOptions(check_n=3))
    report = fc2conv.convert(onnx.load(FIXTURES / f"{name}.onnx"), None, options).report
    assert report.verification is not None
    found = differing(report.verification)
    return msgspec.structs.replace(report, outcome="differs", output=None, verification=found)


def hostile() -> onnx.ModelProto:
    """A fixture whose nodes, values and inputs have the names in HOSTILE."""
    model = onnx.load(FIXTURES / "mini_vgg.onnx")
    names = iter(f"{name}{i}" for i, name in enumerate(HOSTILE * 4))
    new: dict[str, str] = {}
    for node in model.graph.node:
        node.name = next(names)
        for fields in (node.input, node.output):
            for i, name in enumerate(fields):
                if name:
                    fields[i] = new.setdefault(name, next(names))
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = new.get(value.name, value.name)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = HOSTILE[1]
    del model.graph.value_info[:]
    return model


@cache
def strangely_named() -> Report:
    """The report of a model with hostile names."""
    return fc2conv.convert(hostile(), None, ILLUSTRATED).report


def comparison(a: str, b: str) -> Comparison:
    """What `verify` says of two fixtures."""
    found = fc2conv.verify(FIXTURES / f"{a}.onnx", FIXTURES / f"{b}.onnx")
    return Comparison(a=a, b=b, verification=found, options={"seed": "7"}, versions={"onnx": "1"})


def batch(reports: list[Report], rows: int, hostile: bool = True) -> BatchReport:
    """A batch with every outcome, whose rows have the reports in turn; names are in a seeded, shuffled order."""
    shuffled = random.Random(0)
    outcomes = [outcome for outcome in get_args(Outcome) for _ in range(1 + (outcome == "converted") * 3)]
    made = []
    for i in range(rows):
        outcome: Outcome = outcomes[i % len(outcomes)]
        with_report = outcome in ("converted", "unchanged", "kept", "differs", "inconclusive")
        words = HOSTILE[i % len(HOSTILE)] if hostile else "plain"
        name = f"{words}/{i}.onnx" if i % 3 == 0 else f"zoo/model{i}.onnx"
        made.append(
            BatchRow(
                name=name,
                outcome=outcome,
                exit_code=0 if with_report else 3,
                message="" if outcome == "converted" else f"{words}: said model {i}",
                stderr="" if with_report else f"{words}\n{words}",
                report=reports[i % len(reports)] if with_report else None,
                run=Run(seconds={"all": round(shuffled.random() * 10, 3)}),
            )
        )
    return BatchReport(
        source="zoo",
        destination="out",
        rows=sorted(made, key=lambda row: row.name),
        versions={"fc2conv": "0.1.0"},
        run=Run(seconds={"all": 12.5}, peak_memory_bytes=1 << 28),
    )
