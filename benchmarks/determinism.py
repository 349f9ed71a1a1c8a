"""Converts models under many hash seeds, with one and two threads, in two folders, and compares what was written.

    python benchmarks/determinism.py [--seeds 20] [--models DIR]

The models are the fixtures, or those of a folder. Each process converts all of them, inline and with external data, in
both scopes, under one PYTHONHASHSEED; processes take turns in their number of threads and in the folder in which they
run and name the model. Prints how many digests each kind of output has, which must be one for each model; exits with 1
if it is not.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

ROOT = Path(__file__).parents[1]
KINDS = {
    "inline": ["--inline"],
    "external": ["--external-data"],
    "inline, all": ["--inline", "--scope", "all"],
    "external, all": ["--external-data", "--scope", "all"],
}


def work(models: list[str]) -> None:
    """Converts each model in each kind, and prints the digests of what was written as JSON."""
    from fc2conv.__main__ import main as fc2conv

    digests: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for path, (kind, flags) in itertools.product(models, KINDS.items()):
        with tempfile.TemporaryDirectory() as folder:
            code = fc2conv([path, f"{folder}/out.onnx", "--no-verify", "-q", *flags])
            digest = hashlib.sha256(str(code).encode())
            for each in sorted(Path(folder).iterdir()):
                digest.update(each.name.encode() + each.read_bytes())
        digests[kind][str(Path(path).resolve())] = digest.hexdigest()
    print(json.dumps(digests))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--models", type=Path, default=ROOT / "fixtures")
    given = parser.parse_args()
    models = sorted(given.models.resolve().rglob("*.onnx"))
    found = {kind: collections.defaultdict(set) for kind in KINDS}
    for seed in range(given.seeds):
        threads, inside = str(1 + seed % 2), bool((seed + seed // 2) % 2)
        folder = given.models.resolve() if inside else Path("/")
        names = [str(path.relative_to(folder) if inside else path) for path in models]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONHASHSEED": str(seed),
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        command = [sys.executable, __file__, "--work", *names]
        done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        for kind, digests in json.loads(done.stdout).items():
            for name, digest in digests.items():
                found[kind][name].add(digest)
    rows = [[kind, len(models), given.seeds, max(map(len, digests.values()))] for kind, digests in found.items()]
    print(measure.markdown(["output", "models", "processes", "most digests of a model"], rows))
    for kind, digests in found.items():
        for name, several in digests.items():
            if len(several) > 1:
                print(
                    f"{kind}: {Path(name).relative_to(given.models.resolve())} has {len(several)} digests",
                    file=sys.stderr,
                )
    sys.exit(any(row[-1] > 1 for row in rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2:])
    else:
        main()
