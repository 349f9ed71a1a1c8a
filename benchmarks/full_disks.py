"""Converts onto a file system that is full at different places of the output.

    sudo python benchmarks/full_disks.py [--offsets 50] [--features 64]

Needs root, as it mounts a tmpfs of its own for each kind of output, and unmounts it at the end. At each offset so many
bytes are free, and the conversion must end with exit code 6 in one line, the older output and everything beside it
intact and nothing left behind; where all fits it must be done. Prints a table; exits with 1 if anything was damaged.
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "fixtures")]

from crashes.trials import FORMS, Ended, Scene, filled, in_child, scene  # noqa: E402

PAGE = 4096


def at_offset(made: Scene, mount: Path, free: int) -> tuple[Ended, str]:
    """One conversion with so many bytes free on the tmpfs."""
    filler = mount / "filler"

    def run() -> Ended:
        state = os.statvfs(mount)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(PAGE, state.f_bavail * state.f_frsize - free))
        try:
            return in_child(made.arguments)
        finally:
            filler.unlink()

    return filled(made, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offsets", type=int, default=50)
    parser.add_argument("--features", type=int, default=64, help="outputs of the layer, of 8 KiB each")
    given = parser.parse_args()
    rows, damaged = [], False
    for in_place in (False, True):
        for form in FORMS:
            with tempfile.TemporaryDirectory() as folder:
                mount = Path(folder)
                size = f"size={64 * given.features * 1024 + (1 << 20)}"
                subprocess.run(["mount", "-t", "tmpfs", "-o", size, "fc2conv", folder], check=True)
                try:
                    made = scene(mount / "scene", form, in_place=in_place, features=given.features)
                    counts: collections.Counter[str] = collections.Counter()
                    needed = sum(map(len, made.new.values())) // (1 if in_place else 2) + 8 * PAGE
                    for i in range(given.offsets):
                        ended, damage = at_offset(made, mount, i * needed // given.offsets // PAGE * PAGE)
                        counts.update(offsets=1, full=ended.code == 6, done=ended.code == 0, damaged=bool(damage))
                        if damage:
                            print(f"{form}, in place {in_place}, offset {i}: {damage}", file=sys.stderr)
                finally:
                    subprocess.run(["umount", folder], check=True)
            kind = f"{form}{', in place' if in_place else ''}"
            rows.append([kind, *(counts[key] for key in ("offsets", "full", "done", "damaged"))])
            damaged |= bool(counts["damaged"])
    print(measure.markdown(["output", "offsets", "exit 6", "exit 0", "damaged"], rows))
    sys.exit(damaged)


if __name__ == "__main__":
    main()
