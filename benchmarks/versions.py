"""Run the tests with the lowest and with the newest version of each dependency: `make versions`.

Each run has an environment of its own in a temporary folder. *Lowest* is what pyproject.toml claims: `name>=version`
becomes `name==version` for fc2conv, its extras and what tests import. *Newest* is what pip finds, in the newest Python
on PATH. Tools that read the code (ruff, mypy) are left out, and so are browsers and what starts many processes:
`--all` runs every test.

    python benchmarks/versions.py [lowest|newest ...] [--all] [TEST ...]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = {"axe-playwright-python", "mypy", "playwright", "pre-commit", "ruff"}
LEFT_OUT = {"olive"}  # brings PyTorch; its pass is tested by itself
PYTHONS = {"lowest": ("python3.11",), "newest": ("python3.14", "python3.13", "python3.12", "python3.11")}


def requirements(resolution: str) -> list[str]:
    """List what the core, the extras and the tests need, each at its lowest version or as it is claimed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name not in LEFT_OUT}
    found = sorted({*project["dependencies"], *(each for needs in extras.values() for each in needs)})
    named = [each for each in found if not each.startswith("fc2conv[") and _name(each) not in TOOLS]
    return [_lowest(each) if resolution == "lowest" else each for each in named]


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0]


def _lowest(requirement: str) -> str:
    return re.sub(r">=([\w.]+).*", r"==\1", requirement)


def environment(folder: Path, resolution: str) -> Path:
    """Make an environment, and give its interpreter."""
    made = next(filter(_runs, map(shutil.which, PYTHONS[resolution])), None) or sys.executable
    subprocess.run([made, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    options = ["--quiet", "--upgrade", "--upgrade-strategy", "eager"] if resolution == "newest" else ["--quiet"]
    subprocess.run([python, "-m", "pip", "install", *options, *requirements(resolution)], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", ROOT], check=True)
    return python


def _runs(python: str | None) -> bool:
    """Whether there is such an interpreter; the name may be one that a manager of versions only offers."""
    return python is not None and subprocess.run([python, "-V"], capture_output=True, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("resolutions", nargs="*", default=["lowest", "newest"], metavar="lowest|newest|TEST")
    parser.add_argument("--all", action="store_true", help="run every test")
    given = parser.parse_args()
    tests = [each for each in given.resolutions if each not in PYTHONS]
    failed = []
    chosen = [each for each in given.resolutions if each in PYTHONS] or list(PYTHONS)
    for resolution in chosen:
        with tempfile.TemporaryDirectory() as folder:
            python = environment(Path(folder), resolution)
            print(f"== {resolution}", flush=True)
            subprocess.run([python, "-m", "pip", "list", "--format=freeze"], check=True)
            marks = [] if given.all else ["-m", "not slow and not browser"]
            done = subprocess.run([python, "-m", "pytest", *marks, *tests], cwd=ROOT, check=False)
            failed += [resolution] if done.returncode else []
    print(f"failed: {', '.join(failed)}" if failed else f"passed: {', '.join(chosen)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
