"""Exports many architectures with random weights, converts them, judges the results, and writes a table.

    TORCH/bin/python architectures.py export DIR [--only TEXT ...] [--retry]
    python architectures.py judge DIR --fc2conv PATH [--results FILE] [--only TEXT ...] [--again]
    python architectures.py table DIR [--results FILE] [--page docs/coverage.md]

`export` runs where torch, torchvision, timm, transformers, onnxscript, scikit-learn and skl2onnx are installed; the
others need onnx, onnxruntime and numpy alone. Each architecture is exported in a process of its own, and each
conversion is a run of the command. All of it goes on where it was interrupted: DIR/exported.jsonl and DIR/judged.jsonl
have a line for what was done.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("export", "judge", "table"))
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--only", nargs="*", default=[], help="only what has one of these in its name")
    parser.add_argument("--retry", action="store_true", help="export once more what failed")
    parser.add_argument("--fc2conv", default="fc2conv", help="the command under test")
    parser.add_argument("--results", type=Path, help="the lines of the judge; DIR/judged.jsonl by default")
    parser.add_argument("--page", type=Path, help="the page whose last section the table is; printed by default")
    parser.add_argument("--again", action="store_true", help="judge once more what was judged")
    arguments = parser.parse_args()
    if arguments.what == "export":
        from wide import export, pipelines, text, vision

        found = [*pipelines.architectures(), *vision.architectures(), *text.architectures()]
        export.export_all(arguments.folder, found, arguments.only, retry=arguments.retry)
    elif arguments.what == "judge":
        from wide import judge

        results = arguments.results or arguments.folder / "judged.jsonl"
        judge.judge_all(arguments.folder, results, arguments.fc2conv, arguments.only, again=arguments.again)
    else:
        from wide import table

        results = arguments.results or arguments.folder / "judged.jsonl"
        section = table.section(arguments.folder, results)
        if arguments.page is None:
            print(section, end="")
        else:
            rest = arguments.page.read_text().partition(table.HEADING)[0].rstrip("\n")
            arguments.page.write_text(f"{rest}\n\n{section}")


if __name__ == "__main__":
    main()
