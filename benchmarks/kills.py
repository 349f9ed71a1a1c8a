"""Kills conversions (SIGKILL) at random moments, and looks at what stands at the output afterwards.

    python benchmarks/kills.py 500 [--seed 0] [--folder DIR]

The output is written over an older one: inline, with external data, and in place in both forms. After each kill the
output must be the old or the new one byte for byte, its data file as well; the next run must end well and sweep what
was left. Prints what the kills met, and exits with 1 if anything was damaged.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import random
import sys
import tempfile
from pathlib import Path

import measure

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "fixtures")]

from crashes.trials import FORMS, in_child, killed, scene  # noqa: E402

MOMENTS = ("before", "during", "after", "done")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="kills in all, the kinds of output in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to write; the default is the folder for temporary files")
    given = parser.parse_args()
    draw = random.Random(given.seed)
    counts: dict[str, collections.Counter[str]] = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        scenes = {
            f"{form}{', in place' if in_place else ''}": scene(
                Path(folder) / f"{form}{in_place}", form, in_place=in_place
            )
            for in_place in (False, True)
            for form in FORMS
        }
        longest = {}
        for kind, made in scenes.items():
            seconds = []
            for _ in range(5):
                made.reset()
                seconds.append(in_child(made.arguments).seconds)
            longest[kind] = sorted(seconds)[2] * 1.1
            counts[kind] = collections.Counter()
        for _, kind in zip(range(given.count), itertools.cycle(scenes)):
            moment, damage = killed(scenes[kind], draw.uniform(0, longest[kind]))
            counts[kind].update(kills=1, **{moment: 1}, damaged=bool(damage))
            if damage:
                print(f"{kind}, {moment}: {damage}", file=sys.stderr, flush=True)
    columns = ["kills", *MOMENTS, "damaged"]
    rows = [[kind, *(counts[kind][column] for column in columns)] for kind in counts]
    names = ["output", "kills", "before a write", "during", "after the last rename", "too late", "damaged"]
    print(measure.markdown(names, rows))
    sys.exit(any(count["damaged"] for count in counts.values()))


if __name__ == "__main__":
    main()
