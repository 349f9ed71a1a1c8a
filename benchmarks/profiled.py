"""Where the time of one conversion goes, by function.

python benchmarks/profiled.py MODEL [--scope all] [--verify] [--top 40]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fc2conv import pipeline
from fc2conv.options import Options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--scope", choices=["spatial", "all"], default="spatial")
    parser.add_argument("--verify", action="store_true", help="with the proof")
    parser.add_argument("--top", type=int, default=40, help="how many functions are listed")
    arguments = parser.parse_args()
    options = Options(scope=arguments.scope, verify=arguments.verify)
    profile = cProfile.Profile()
    profile.runcall(pipeline.convert, arguments.model, None, options)
    pstats.Stats(profile).sort_stats("cumulative").print_stats(arguments.top)


if __name__ == "__main__":
    main()
