"""Holds random graphs against models that compute nearly the same: does `verify` accept one that parts in onnxruntime?

    python benchmarks/nearly.py 2000 [--start 1000] [--save DIR]

Prints how many pairs there were by their verdict; exits with 1 if models that part are called proved or the same, or if
a comparison ends with a fault. A child judges, so that a seed on which onnxruntime crashes is one that does not run.
"""

from __future__ import annotations

import argparse
import collections
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "fixtures")]

import inprocess  # noqa: E402
from fuzz.graphs import random_graph  # noqa: E402
from fuzz.other import compared  # noqa: E402

from fc2conv import api  # noqa: E402


def judged(seed: int) -> tuple[str, str, bytes] | None:
    """What is said of the pair of a seed, its fault, and the model; None where there is no pair."""
    api.contained = inprocess.here
    model = random_graph(seed)
    pair = compared(model, np.random.default_rng([seed, 1]))
    if pair is None:
        return None
    what = f"{'part' if pair.parts else 'do not part'}, {pair.verdict[:12]}"
    return what, pair.fault or "", model.model.SerializeToString()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--save", type=Path, help="where the models of wrong pairs go")
    arguments = parser.parse_args()
    found: collections.Counter[str] = collections.Counter()
    faults, child = 0, ProcessPoolExecutor(1)
    for seed in range(arguments.start, arguments.start + arguments.count):
        try:
            pair = child.submit(judged, seed).result()
        except BrokenProcessPool:
            found["do not run: onnxruntime crashed"] += 1
            child = ProcessPoolExecutor(1)
            continue
        if pair is None:
            continue
        what, fault, model = pair
        found[what] += 1
        if fault:
            faults += 1
            print(f"seed {seed}: {fault}", file=sys.stderr, flush=True)
            if arguments.save:
                arguments.save.mkdir(parents=True, exist_ok=True)
                (arguments.save / f"seed_{seed}.onnx").write_bytes(model)
    print(", ".join(f"{name}: {count}" for name, count in sorted(found.items())))
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
