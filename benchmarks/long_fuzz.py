"""Converts many random graphs, in both scopes, and compares each with its original.

    python benchmarks/long_fuzz.py 2000 [--start 1000] [--save DIR]

Prints a summary (graphs, layers, faults, the reasons of layers that were kept, and how many graphs have each operator);
saves the models of faulty seeds; exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from pathlib import Path

import measure

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "fixtures")]

from fuzz.graphs import random_graph  # noqa: E402
from fuzz.judge import SCOPES, judge_seed  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--save", type=Path, help="where the models of faulty seeds go")
    arguments = parser.parse_args()
    totals: dict[str, collections.Counter[str]] = {scope: collections.Counter() for scope in SCOPES}
    seconds = dict.fromkeys(SCOPES, 0.0)
    codes: dict[str, collections.Counter[str]] = {scope: collections.Counter() for scope in SCOPES}
    operators: collections.Counter[str] = collections.Counter()
    for seed in range(arguments.start, arguments.start + arguments.count):
        for scope in SCOPES:
            start = time.perf_counter()
            verdict = judge_seed(seed, scope)
            total = totals[scope]
            total.update(graphs=1, converted=verdict.converted, kept=verdict.kept)
            seconds[scope] += time.perf_counter() - start
            if verdict.fault:
                total[verdict.fault.partition(":")[0]] += 1
                print(f"seed {seed}, scope {scope}: {verdict.fault}", file=sys.stderr)
                if arguments.save:
                    arguments.save.mkdir(parents=True, exist_ok=True)
                    (arguments.save / f"seed_{seed}.onnx").write_bytes(random_graph(seed).model.SerializeToString())
            for code, count in verdict.codes.items():
                codes[scope][code] += count
        operators.update({node.op_type for node in random_graph(seed).model.graph.node})
    columns = ["graphs", "converted", "kept", "wrong", "invalid", "crash"]
    rows = [[scope, *(total[column] for column in columns), f"{seconds[scope]:.1f}"] for scope, total in totals.items()]
    print(measure.markdown(["scope", *columns, "seconds"], rows))
    kept = sorted(set().union(*codes.values()))
    print("\nLayers that were kept, by reason:\n")
    print(measure.markdown(["scope", *kept], [[scope, *(codes[scope][code] for code in kept)] for scope in SCOPES]))
    print("\nGraphs by operator:", ", ".join(f"{name} {count}" for name, count in operators.most_common()))
    sys.exit(any(total[fault] for total in totals.values() for fault in ("wrong", "invalid", "crash")))


if __name__ == "__main__":
    main()
