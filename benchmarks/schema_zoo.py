"""Does the JSON of every model of a zoo keep the published schema? `check` and `convert --no-verify` of each.

    python benchmarks/schema_zoo.py ZOO [--score score.py] [--only SUBSTR ...] [--sample N]

Prints one Markdown table: documents by command and exit code, and how many are not valid; below it what is wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import zoo

SCHEMA = Path(__file__).resolve().parent.parent / "fc2conv" / "report" / "schema.json"


def main() -> int:
    """Run both commands on every model; 1 where a document does not keep the schema."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    zoo.add_arguments(parser)
    arguments = parser.parse_args()
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    rows: Counter[tuple[str, int]] = Counter()
    documents: Counter[tuple[str, int]] = Counter()
    faults: list[str] = []
    chosen = zoo.models(arguments)
    for place, path in enumerate(chosen):
        print(f"\r{place + 1} of {len(chosen)}", end="", file=sys.stderr, flush=True)
        for command, code, lines in runs(path, arguments):
            rows[command, code] += 1
            documents[command, code] += len(lines)
            for line in lines:
                faults += [
                    f"{path.name}, {command}: {error.json_path}: {error.message[:200]}"
                    for error in validator.iter_errors(json.loads(line))
                ]
    print(file=sys.stderr)
    print("| command | exit code | models | documents | invalid |\n| --- | ---: | ---: | ---: | ---: |")
    for command, code in sorted(rows):
        wrong = len({fault.partition(":")[0] for fault in faults if f", {command}:" in fault})
        print(f"| {command} | {code} | {rows[command, code]} | {documents[command, code]} | {wrong} |")
    print(*(f"- {fault}" for fault in faults), sep="\n")
    return 1 if faults else 0


def runs(path: Path, arguments: argparse.Namespace) -> Iterator[tuple[str, int, list[str]]]:
    """Each command on one model: its name, its exit code, the documents that it printed."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        zoo.save(zoo.load(path, zoo.module(arguments.score)), model)
        shapes = [f"--overwrite-input-shape={k}:{','.join(map(str, v))}" for k, v in zoo.shapes(path).items()]
        for words in (["check", str(model)], ["convert", "--no-verify", str(model), str(Path(folder) / "out.onnx")]):
            command = [sys.executable, "-m", "fc2conv", *words, *shapes, "--output-format", "json"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.timeout, check=False)
            except subprocess.TimeoutExpired:
                yield words[0], -1, []
                continue
            yield words[0], done.returncode, done.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
