"""Faults that change the exact function, and edits that keep it: is every fault refused, and no edit?

    python benchmarks/faults.py [--pairs DIR ORIGINALS] [--rounds 1] [--seed 0] [--only NAME...] [--log FILE]

The pairs are the fixtures and the golden cases of the tests with what fc2conv makes of them, and, with `--pairs`,
results that `other_tools.py` left in DIR/onnxsim of the models in ORIGINALS. Every fault of `tests/exact/planted.py`
and every edit of `tests/exact/kept.py` is made in each result, at a place that the seed chooses, `--rounds` times; the
result is compared with its original as `fc2conv verify` does. Prints each fault that is accepted and each edit that is
refused, and a table by kind. Results that are not proved without a fault are left out, and named.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import measure
import numpy as np
import onnx
from onnx import ModelProto

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "exact"), str(ROOT / "fixtures")]

from editing import Editor  # noqa: E402
from golden.case import CASES  # noqa: E402
from kept import EDITS  # noqa: E402
from planted import FAULTS  # noqa: E402

import fc2conv  # noqa: E402
from fc2conv.io.reader import model_file_from_proto  # noqa: E402
from fc2conv.options import VerifyOptions  # noqa: E402
from fc2conv.report.types import Verification  # noqa: E402
from fc2conv.verification.pair import verify_pair  # noqa: E402

ACCEPTED = ("proved", "agrees")
LARGEST = 200_000


def compared(one: ModelProto, other: ModelProto) -> tuple[str, bool, str]:
    """The verdict of the whole, whether exact arithmetic proves it, and what it says."""
    found: Verification = verify_pair(model_file_from_proto(one), model_file_from_proto(other), None, VerifyOptions())
    exact = next(check for check in found.checks if check.name == "exact")
    return str(getattr(found.verdict, "value", found.verdict)), exact.detail.startswith("proved"), exact.detail


def pairs(given: argparse.Namespace) -> Iterator[tuple[str, str, ModelProto, ModelProto]]:
    """The kind of a result, its name, the original and the result."""
    plain = fc2conv.Options(verify=False, scope="all")
    for path in sorted((ROOT / "fixtures").glob("*.onnx")):
        if path.stat().st_size < LARGEST:
            yield "fc2conv", path.stem, onnx.load(path), fc2conv.convert(onnx.load(path), options=plain).model
    for case in CASES:
        made = fc2conv.convert(case.model(), options=case.options).model
        yield "fc2conv", case.name, case.model(), made
    if given.pairs:
        results, originals = given.pairs
        for path in sorted((results / "onnxsim").glob("*.onnx")):
            if path.stat().st_size < LARGEST and (originals / path.name).exists():
                yield "onnxsim", path.stem, onnx.load(originals / path.name), onnx.load(path)


def valid(model: ModelProto) -> bool:
    """Whether onnx.checker passes a model; an edit may not suit an old IR version."""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError:
        return False
    return True


def made(one: ModelProto, other: ModelProto, name: str, seed: list[int]) -> tuple[ModelProto, ModelProto] | None:
    """Both models with a fault or an edit; None where there is no place for it."""
    editors = [Editor(model, np.random.default_rng([*seed, zlib.crc32(name.encode())])) for model in (one, other)]
    done = FAULTS[name](*editors) if name in FAULTS else EDITS[name](editors[1])
    return (editors[0].model, editors[1].model) if done and all(valid(editor.model) for editor in editors) else None


def main() -> None:
    """Plant everything, and print what is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, nargs=2, metavar=("DIR", "ORIGINALS"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one-in", type=int, default=1, help="one of so many pairs")
    parser.add_argument("--only", nargs="*", default=[], help="faults and edits whose name contains one of these")
    parser.add_argument("--edits-in", type=int, default=1, help="edits in one of so many of these alone")
    parser.add_argument("--log", type=Path, help="a line of JSON for each comparison")
    given = parser.parse_args()
    names = [name for name in (*FAULTS, *EDITS) if not given.only or any(part in name for part in given.only)]
    counts: Counter[tuple[str, str, str]] = Counter()
    wrong = 0
    for i, (kind, model, one, other) in enumerate(pairs(given)):
        if i % given.one_in:
            continue
        verdict, proved, detail = compared(one, other)
        if not proved:
            print(f"left out: {kind} {model}: {verdict}: {detail}", flush=True)
            counts["left out", kind, verdict] += 1
            continue
        edits = i // given.one_in % given.edits_in == 0
        for name in [name for name in names if edits or name in FAULTS] * given.rounds:
            edited = made(one, other, name, [given.seed, i, counts[name, "", ""]])
            counts[name, "", ""] += 1
            if edited is None:
                continue
            verdict, proved, detail = compared(*edited)
            counts[name, kind, verdict if name in FAULTS or proved else f"{verdict}, not proved"] += 1
            accepted = verdict in ACCEPTED
            if accepted == (name in FAULTS) or (proved and name in FAULTS):
                wrong += 1
                print(f"WRONG: {name} in {kind} {model}: {verdict}: {detail}", flush=True)
            if given.log:
                row = {"name": name, "kind": kind, "model": model, "verdict": verdict, "detail": detail}
                with given.log.open("a") as file:
                    print(json.dumps(row), file=file)
    report(counts)
    print(f"\n{wrong} wrong")
    sys.exit(wrong > 0)


def report(counts: Counter[tuple[str, str, str]]) -> None:
    """The tables: faults and edits by kind, in fc2conv's results and in onnxsim's."""
    for title, names in (("fault", FAULTS), ("edit that keeps the function", EDITS)):
        verdicts = sorted({v for name, kind, v in counts if name in names and kind})
        rows = []
        for name in names:
            sums = [sum(counts[name, kind, v] for v in verdicts) for kind in ("fc2conv", "onnxsim")]
            each = [sum(counts[name, kind, v] for kind in ("fc2conv", "onnxsim")) for v in verdicts]
            rows.append([name, *sums, *each])
        rows.append(["all", *(sum(row[i] for row in rows) for i in range(1, 3 + len(verdicts)))])
        print("\n" + measure.markdown((title, "in fc2conv's results", "in onnxsim's", *verdicts), rows))


if __name__ == "__main__":
    main()
