"""Tables of what fc2conv makes of a folder of models, out of what the judge (score.py --json) wrote.

    coverage.py SPATIAL.json ALL.json [--looks LOOKS.json]       prints docs/coverage.md
    coverage.py --look ZOO                                       prints LOOKS.json

The judge runs the command and compares models; it counts layers and layout nodes, and does not say which. `--look`
plans and converts every model of the folder ZOO/models again, one process a model, without verification: what became
of each kind of layer, the reason codes, and what each layout node is for that was not there before. (Skeletons are
filled by the judge's own module, ZOO/score.py.)

The last section of the page is written by `architectures.py table DIR --page docs/coverage.md`, afterwards.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from looks import FORMS, SCOPES, look_at_all

Record = dict[str, Any]
MAX_TEXT, MAX_NAMES = 200, 2
MAX_LEFT = 20  # layers that the judge lists
VERDICTS = ("ok", "untouched", "missed", "refused", "unrun", "unrunnable", "wrong", "invalid", "crash", "timeout")

EXPORTERS = {"ts": "PyTorch, TorchScript", "dy": "PyTorch, dynamo", "op": "tf2onnx (Keras)"}
QUANTIZED = {
    "qdq": "QDQ",
    "qop": "QLinear operators",
    "dyn": "dynamic quantization",
    "nbits4": "4-bit blocks",
    "fp16": "float16",
    "ort": "optimized by onnxruntime",
    "slim": "optimized by onnxslim",
}


def family(record: Record) -> str:
    """The folder of a model."""
    return str(record["model"]).split("/")[0]


def suffix(record: Record) -> str:
    """What follows the last double underscore of a model's name."""
    stem = str(record["model"]).removesuffix(".onnx")
    return stem.rsplit("__", 1)[1] if "__" in stem else ""


def exporter(record: Record) -> str:
    """Who wrote the model, as far as its name says."""
    parts = str(record["model"]).removesuffix(".onnx").split("__")
    for part in parts[1:]:
        for prefix, name in EXPORTERS.items():
            if part.startswith(prefix) and part[len(prefix) :][:1].isdigit():
                return name
    return "others"


def quantizer(record: Record) -> str:
    """What was done to the model after its export."""
    if family(record) != "quant":
        return "nothing"
    return next((name for prefix, name in QUANTIZED.items() if suffix(record).startswith(prefix)), "others")


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right."""
    body = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    right = [bool(body) and all(row[i].lstrip("-").isdigit() for row in body) for i in range(len(header))]
    lines = [list(header), ["---:" if each else "---" for each in right], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def grouped(records: Sequence[Record], key: Callable[[Record], str]) -> str:
    """Models, layers and layout nodes, and verdicts, by group."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=key):
        groups[key(record)].append(record)
    seen = [verdict for verdict in VERDICTS if any(r["verdict"] == verdict for r in records)]
    seen += sorted({r["verdict"] for r in records} - set(seen))
    header = ["", "models", *seen, "layers before", "after", "layout nodes before", "after", "grew"]
    rows = [[name, *_sums(members, seen)] for name, members in groups.items()]
    return markdown(header, [*rows, ["all", *_sums(records, seen)]])


def _sums(records: Sequence[Record], verdicts: Sequence[str]) -> list[int]:
    tally = Counter(r["verdict"] for r in records)
    both = [r for r in records if r.get("fc_after") is not None]
    sums = [sum(r[key] for r in both) for key in ("fc_before", "fc_after", "layout_before", "layout_after")]
    return [len(records), *(tally[verdict] for verdict in verdicts), *sums, sum(map(grew, records))]


def grew(record: Record) -> bool:
    """Whether the conversion added more layout nodes than it took away."""
    return (record.get("layout_after") or 0) > (record.get("layout_before") or 0)


def kinds(looks: dict[str, Any], scope: str) -> str:
    """What became of the layers, by operator."""
    decided: dict[str, Counter[str]] = defaultdict(Counter)
    for look in looks.values():
        for op_type, code, *_ in look.get(scope, {}).get("sites", []):
            decided[op_type][code] += 1
    codes = sorted({code for tally in decided.values() for code in tally if code})
    rows = [
        [op_type, sum(tally.values()), tally[""], *(tally[code] for code in codes)]
        for op_type, tally in sorted(decided.items())
    ]
    total = ["all", *(sum(row[i] for row in rows) for i in range(1, len(codes) + 3))]
    return markdown(["operator", "found", "converted", *codes], [*rows, total])


def growth(records: Sequence[Record], looks: dict[str, Any], scope: str) -> str:
    """The models that have more layout nodes than before, with what the new ones are for."""
    rows = []
    for record in filter(grew, records):
        look = looks.get(record["model"], {}).get(scope, {})
        forms = ", ".join(f"{count} {form}" for form, count in sorted(look.get("forms", {}).items()))
        seen = [record["layout_before"], record["layout_after"]]
        if look.get("layout", seen) != seen:
            print(
                f"{record['model']}: the judge saw {seen}, the look {look['layout']}: run both again", file=sys.stderr
            )
        rows.append([record["model"], record["layout_before"], record["layout_after"], forms or "not looked at"])
    return markdown(["model", "before", "after", "what the new ones are for"], rows) if rows else "None.\n"


def left(records: Sequence[Record], looks: dict[str, Any], scope: str) -> str:
    """The models on which the judge says neither ok nor untouched, with the reasons that fc2conv gives."""
    rows = []
    for record in records:
        if record["verdict"] not in ("ok", "untouched"):
            given = {site[2]: site for site in looks.get(record["model"], {}).get(scope, {}).get("sites", [])}
            rows.append([record["model"], record["verdict"], _why(record, given)])
    return markdown(["model", "verdict", "why"], rows) if rows else "None.\n"


def _why(record: Record, given: dict[str, list[str]]) -> str:
    if record["verdict"] == "missed":
        alike: dict[str, list[str]] = defaultdict(list)
        for name, *_ in record["left"]:
            alike[_reason(given.get(name))].append(name)
        lines = [f"{_some(names)}: {reason}" if reason else _some(names) for reason, names in alike.items()]
        return "; ".join(lines) + (" ..." if len(record["left"]) == MAX_LEFT else "")
    line = record.get("why") or (record.get("err") or "").rpartition("fc2conv: error: ")[2] or record.get("ort") or ""
    words = [
        word for word in str(line).split() if not re.search(r"(^|[^\w.])/(tmp|work|home|opt|onnxruntime_src)/", word)
    ]
    text = " ".join(words)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} ..."


def _reason(site: list[str] | None) -> str:
    if site is None or not site[1]:
        return ""
    return f"{site[1]} ({site[3]})" if site[3] else site[1]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")


PAGE = """\
# Coverage

What fc2conv makes of the development zoo: {models} models, exported by PyTorch (both exporters), tf2onnx and others,
quantized and optimized by several tools, and files of public projects. A judge that knows nothing of fc2conv runs
`fc2conv IN OUT` on each, and compares the two models in onnxruntime. `benchmarks/coverage.py` makes this page.

A model is `ok` (something was converted, and the two agree), `untouched` (there was nothing to convert), `missed` (by
its own simple reading of the graph, the judge expects the conversion of a layer that was kept; fc2conv's reason is
beside it), `refused` (fc2conv ended with an error), `unrun` (onnxruntime does not run the original, so nothing was
compared), or a fault: `wrong`, `invalid`, `crash`, `timeout`. Layers are those that the judge sees. Models that were
not converted because of an error are in the first columns and not in the sums.

{scopes}
## What new layout nodes are for

{forms}"""

SCOPE = """\
## `--scope {scope}`

### By family

{families}
### By exporter

{exporters}
### By what was done after the export

{quantizers}
{kinds}### Neither `ok` nor `untouched`

{left}
### Models with more layout nodes than before

{growth}
"""


def page(records: dict[str, list[Record]], looks: dict[str, Any]) -> str:
    """The whole page."""
    scopes = []
    for scope in SCOPES:
        found = records[scope]
        by_kind = f"### By operator, as fc2conv itself reports it\n\n{kinds(looks, scope)}\n" if looks else ""
        scopes.append(
            SCOPE.format(
                scope=scope,
                families=grouped(found, family),
                exporters=grouped(found, exporter),
                quantizers=grouped(found, quantizer),
                kinds=by_kind,
                left=left(found, looks, scope),
                growth=growth(found, looks, scope),
            )
        )
    forms = markdown(["form", "why it is there"], FORMS.items())
    return PAGE.format(models=len(records["spatial"]), scopes="".join(scopes), forms=forms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, metavar="SPATIAL.json ALL.json")
    parser.add_argument("--looks", type=Path)
    parser.add_argument("--look", type=Path, metavar="ZOO")
    args = parser.parse_args()
    if args.look:
        look_at_all(args.look.resolve())
        return
    if len(args.results) != len(SCOPES):
        parser.error("give the judge's results for scope spatial and for scope all")
    records = {scope: json.loads(path.read_text()) for scope, path in zip(SCOPES, args.results, strict=True)}
    looks = json.loads(args.looks.read_text()) if args.looks else {}
    print(page(records, looks), end="")


if __name__ == "__main__":
    main()
