"""The section of docs/coverage.md on many architectures, out of the lines of the exporters and of the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .lines import EXPORTED, lines

Line = dict[str, Any]
SCOPES = ("spatial", "all")
TOLERANCE = 1e-3
FAULTS = ("wrong", "invalid", "refused")
HEADING = "## Architectures exported for this page"
SECTION = """\
{heading}

{architectures} architectures with random weights, {twice} of them by both exporters of PyTorch, in {files} files:
{exporters}.
`benchmarks/architectures.py` exports them (the exporters refused {failed} more), runs
`fc2conv IN OUT` on each in both scopes with the proof on, and compares the two files in onnxruntime on batches of 1, 2
and 5 where the batch is open, with its optimizations off and on. Layers are those that fc2conv finds; layout nodes are
counted by the judge in the files that have an output.

With random weights a deep network may ignore its input. In {blind} of the {ok} files that were converted and compared,
the original's own outputs on two random inputs differ by less than the judge's tolerance of 1e-3. There the comparison
says little, and only the proof of fc2conv itself counts.

{codes}

{scopes}"""
SCOPE = """\
### Architectures, `--scope {scope}`

{families}
By exporter:

{exporters}
Layers by operator:

{operators}
"""


def section(folder: Path, results: Path) -> str:
    """The whole section."""
    exports = {line["model"]: line for line in lines(folder / EXPORTED)}
    judged = list({(line["model"], line["scope"]): line for line in lines(results)}.values())
    both = Counter(line["model"] for line in judged)
    made = [line for line in exports.values() if both[line["model"]] == len(SCOPES)]
    judged = [line for line in judged if both[line["model"]] == len(SCOPES)]
    stems = Counter(line["model"].rpartition("__")[0] for line in made)
    tally = Counter(line["exporter"] for line in made)
    return SECTION.format(
        heading=HEADING,
        architectures=len(stems),
        ok=len({line["model"] for line in judged if line["verdict"] == "ok"}),
        blind=len({line["model"] for line in judged if line.get("spread", 1.0) < TOLERANCE}),
        twice=sum(count > 1 for count in stems.values()),
        files=len(made),
        exporters=", ".join(f"{count} by {NAMES[exporter]}" for exporter, count in tally.most_common()),
        failed=sum("error" in line for line in exports.values()),
        codes=markdown(["code", "seen on one model of each"], SEEN.items()),
        scopes="".join(_scope([line for line in judged if line["scope"] == scope], scope) for scope in SCOPES),
    )


SEEN = {
    "FC101": "BERT: the query of the first block reads embeddings of token ids, and no input is a map. A ViT with an "
    "attention pool: its query reads a parameter alone.",
    "FC102": "Sequencer2D: `fc` reads what an LSTM gives, which runs along the rows of the map. MaxViT by dynamo: a "
    "Reshape cuts 56 rows into 7 x 8 that were cut into 8 x 7, so that they have no parts in common.",
    "FC103": "YOSO: behind the attention a layer sums over the heads, which were merged with the batch.",
    "FC201": "Every attention: queries by keys, and weights by values, are products of two activations.",
    "FC205": "PatchTSMixer: the exported file contradicts itself, and onnxruntime does not load it.",
    "FC207": "DeBERTa-v2: `pos_key_proj` reads the table of relative positions. Swin V2: `cpb_mlp` likewise. Both are "
    "constants.",
    "FC301": "DeiT III by dynamo: scope `all` converts all 9 layers, and the layout nodes grow from 18 to 28.",
}
"""What was looked at, by hand, for each code of the table."""

NAMES = {
    "torchscript": "PyTorch's exporter of TorchScript",
    "dynamo": "PyTorch's exporter `dynamo`",
    "skl2onnx": "skl2onnx",
}


def _scope(judged: Sequence[Line], scope: str) -> str:
    return SCOPE.format(
        scope=scope,
        families=_grouped(judged, "family"),
        exporters=_grouped(judged, "exporter"),
        operators=_operators(judged),
    )


def _grouped(judged: Sequence[Line], key: str) -> str:
    codes = sorted({site[1] for line in judged for site in line.get("sites", ()) if site[1]})
    header = ["", "files", "converted", "unchanged", "unrun", *FAULTS, "layers", "converted", *codes]
    rows = [
        [name, *_sums([line for line in judged if line[key] == name], codes)]
        for name in sorted({line[key] for line in judged})
    ]
    return markdown([*header, "layout nodes before", "after"], [*rows, ["all", *_sums(judged, codes)]])


def _sums(judged: Sequence[Line], codes: Sequence[str]) -> list[object]:
    verdicts = Counter(line["verdict"] for line in judged)
    found = Counter(site[1] for line in judged for site in line.get("sites", ()))
    exits = Counter(line["exit"] for line in judged if line["verdict"] == "refused")
    refused = " ".join(f"{count}x exit {code}" for code, count in sorted(exits.items(), key=str)) or 0
    layout = [sum(line["layout"][i] for line in judged if "layout" in line) for i in (0, 1)]
    counts = [verdicts[each] for each in ("ok", "unchanged", "unrun", "wrong", "invalid")]
    return [len(judged), *counts, refused, found.total(), found[""], *(found[code] for code in codes), *layout]


def _operators(judged: Sequence[Line]) -> str:
    found = Counter((site[0], site[1]) for line in judged for site in line.get("sites", ()))
    codes = sorted({code for _, code in found if code})
    operators = sorted({op_type for op_type, _ in found})
    rows = [
        [each, sum(found[each, code] for code in ("", *codes)), *(found[each, code] for code in ("", *codes))]
        for each in operators
    ]
    return markdown(["operator", "found", "converted", *codes], rows)


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right."""
    body = [[str(cell) for cell in row] for row in rows]
    right = [bool(body) and all(row[i].isdigit() for row in body) for i in range(len(header))]
    lined = [list(header), ["---:" if each else "---" for each in right], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lined) + "\n"
