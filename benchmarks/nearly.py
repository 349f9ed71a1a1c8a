"""Holds random graphs against models that compute nearly the same: does `verify` accept one that parts in onnxruntime?

    python benchmarks/nearly.py 2000 [--start 1000] [--save DIR]

Prints how many pairs there were by their verdict; exits with 1 if models that part are called proved or the same, or if
a comparison ends with a fault.
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "fixtures")]

import inprocess  # noqa: E402
from fuzz.graphs import random_graph  # noqa: E402
from fuzz.other import compared  # noqa: E402

from fc2conv import api  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--save", type=Path, help="where the models of wrong pairs go")
    arguments = parser.parse_args()
    api.contained = inprocess.here
    found: collections.Counter[str] = collections.Counter()
    faults = 0
    for seed in range(arguments.start, arguments.start + arguments.count):
        model = random_graph(seed)
        pair = compared(model, np.random.default_rng([seed, 1]))
        if pair is None:
            continue
        found[f"{'part' if pair.parts else 'do not part'}, {pair.verdict[:12]}"] += 1
        if pair.fault:
            faults += 1
            print(f"seed {seed}: {pair.fault}", file=sys.stderr, flush=True)
            if arguments.save:
                arguments.save.mkdir(parents=True, exist_ok=True)
                (arguments.save / f"seed_{seed}.onnx").write_bytes(model.model.SerializeToString())
    print(", ".join(f"{name}: {count}" for name, count in sorted(found.items())))
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
