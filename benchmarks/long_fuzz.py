"""Converts many random graphs, in both scopes, with the proof on, and compares each with its original.

    python benchmarks/long_fuzz.py 2000 [--start 1000] [--save DIR] [--no-verify] [--scope all] [--options] [--here]

Prints a summary (graphs, layers, faults, the reasons of layers that were kept, and how many graphs have each operator
and opset); saves the models of faulty seeds; exits with 1 if there are any. Faults are wrong and invalid results, and
every exit code but 0 that the command would have ended with, which is 70 for an exception ("crash"). A graph that
onnxruntime does not run is counted as unrun.

A long run is done in parts: 0-9999 by `10000`, 10000-19999 by `10000 --start 10000`, and so on, as many at a time as
there are cores. Ctrl-C or SIGTERM ends a part with the summary of what was done, and says where to go on.

`--options` gives each graph options of its seed as well (a target, limits, `--static` and others). What these change
(results that stay maps, weights that are quantized anew, a network that slides) is judged by the proof alone.

`--here` converts in this process and not in a child of it: a third faster, but a native crash ends the run.
"""

from __future__ import annotations

import argparse
import collections
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import measure

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "fixtures")]

import inprocess  # noqa: E402
from fuzz.graphs import random_graph  # noqa: E402
from fuzz.judge import FAULTS, SCOPES, UNRUN, judge_seed  # noqa: E402

from fc2conv import api  # noqa: E402

REPORT_EVERY = 500


@dataclass
class Tally:
    """What was seen in one scope."""

    totals: collections.Counter[str] = field(default_factory=collections.Counter)
    codes: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: float = 0.0


def judged(seed: int, scope: str, tally: Tally, *, verify: bool, optioned: bool, save: Path | None) -> None:
    start = time.perf_counter()
    verdict = judge_seed(seed, scope, verify=verify, optioned=optioned)
    tally.seconds += time.perf_counter() - start
    tally.totals.update(graphs=1, converted=verdict.converted, kept=verdict.kept)
    tally.codes.update(verdict.codes)
    if verdict.fault:
        tally.totals[verdict.fault.partition(":")[0]] += 1
        print(f"seed {seed}, scope {scope}: {verdict.fault}", file=sys.stderr, flush=True)
        if save:
            save.mkdir(parents=True, exist_ok=True)
            (save / f"seed_{seed}.onnx").write_bytes(random_graph(seed).model.SerializeToString())


def summary(tallies: dict[str, Tally], operators: collections.Counter[str], opsets: collections.Counter[int]) -> str:
    faults = [fault for fault in FAULTS if any(tally.totals[fault] for tally in tallies.values())]
    columns = [
        "graphs",
        "converted",
        "kept",
        *dict.fromkeys([UNRUN, "wrong", "invalid", "crash", "exit 4", "exit 5", *faults]),
    ]
    rows = [[s, *(t.totals[column] for column in columns), f"{t.seconds:.1f}"] for s, t in tallies.items()]
    kept = sorted(set().union(*(tally.codes for tally in tallies.values())))
    return "\n".join(
        [
            measure.markdown(["scope", *columns, "seconds"], rows),
            "\nLayers that were kept, by reason:\n",
            measure.markdown(["scope", *kept], [[s, *(t.codes[code] for code in kept)] for s, t in tallies.items()]),
            "\nGraphs by operator: " + ", ".join(f"{name} {count}" for name, count in operators.most_common()),
            "\nGraphs by opset: " + ", ".join(f"{opset}: {count}" for opset, count in sorted(opsets.items())),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--save", type=Path, help="where the models of faulty seeds go")
    parser.add_argument("--scope", choices=SCOPES, help="one scope; both by default")
    parser.add_argument("--no-verify", action="store_true", help="convert without the proof")
    parser.add_argument("--options", action="store_true", help="with random options")
    parser.add_argument("--here", action="store_true", help="convert in this process")
    arguments = parser.parse_args()
    if arguments.here:
        api.contained = inprocess.here
    for each in (signal.SIGINT, signal.SIGTERM):  # what a shell starts in the background ignores the first
        signal.signal(each, signal.default_int_handler)
    tallies = {scope: Tally() for scope in SCOPES if arguments.scope in (None, scope)}
    operators: collections.Counter[str] = collections.Counter()
    opsets: collections.Counter[int] = collections.Counter()
    began = time.perf_counter()
    seed = arguments.start
    try:
        for seed in range(arguments.start, arguments.start + arguments.count):
            for scope, tally in tallies.items():
                how = {"verify": not arguments.no_verify, "optioned": arguments.options}
                judged(seed, scope, tally, **how, save=arguments.save)
            graph = random_graph(seed)
            operators.update({node.op_type for node in graph.model.graph.node})
            opsets[graph.opset] += 1
            done = seed + 1 - arguments.start
            if done % REPORT_EVERY == 0:
                rate = done / (time.perf_counter() - began)
                print(f"{done} of {arguments.count} graphs, {rate:.1f} a second", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"stopped; go on with --start {seed}", file=sys.stderr)
    print(summary(tallies, operators, opsets))
    sys.exit(any(tally.totals[fault] for tally in tallies.values() for fault in FAULTS))


if __name__ == "__main__":
    main()
