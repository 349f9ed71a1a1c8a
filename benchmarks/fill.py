"""A zoo of skeletons written out as models with weights: what `batch.py` and people's own trials read.

python benchmarks/fill.py MODELS OUT --score SCORE.py [--only SUBSTRING ...] [--sample 4]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import zoo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    zoo.add_arguments(parser)
    parser.add_argument("out", type=Path, help="the folder that is filled, with the same subfolders")
    arguments = parser.parse_args()
    score = zoo.module(arguments.score)
    for path in zoo.models(arguments):
        target = arguments.out / path.relative_to(arguments.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        zoo.save(zoo.load(path, score), target)


if __name__ == "__main__":
    main()
