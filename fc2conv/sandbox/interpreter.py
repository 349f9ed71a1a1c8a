"""A fresh interpreter that runs a module of fc2conv: the same fc2conv, and nothing of the working folder.

Python puts the working folder first on the path of `python -c` and `python -m`, so that a `struct.py` there would run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HOME = str(Path(__file__).absolute().parents[2])
"""The folder, or the archive, that holds this fc2conv."""

_FLAGS = {
    "isolated": "-I",
    "ignore_environment": "-E",
    "no_user_site": "-s",
    "no_site": "-S",
    "dont_write_bytecode": "-B",
}
"""The flags that a fresh interpreter takes over from this one, by their names in `sys.flags`."""

_BOOT = """
import sys
sys.path[:0] = {path}
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
spec = PathFinder.find_spec("fc2conv", [{home}])
sys.modules["fc2conv"] = package = module_from_spec(spec)
spec.loader.exec_module(package)
from {module} import main
main()
"""
"""fc2conv is loaded from where this process has it, whatever else on the path has its name."""


DEFAULTS = {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The variables of a child, where the caller has not set them.

onnxruntime reports no sessions to its makers and makes no files for that. numpy's linear algebra starts no threads:
that takes longer than they save.
"""


def command(module: str) -> list[str]:
    """Return the command that runs `main` of a module; further arguments may follow."""
    flags = [flag for name, flag in _FLAGS.items() if getattr(sys.flags, name)]
    boot = _BOOT.format(path=ascii(_path()), home=ascii(_HOME), module=module)
    return [sys.executable, "-P", *flags, "-X", f"utf8={sys.flags.utf8_mode}", "-c", boot]


def environment() -> dict[str, str]:
    """Return the variables for a fresh interpreter: those of this process without PYTHONPATH, which the path holds."""
    return {name: value for name, value in {**DEFAULTS, **os.environ}.items() if name != "PYTHONPATH"}


def _path() -> list[str]:
    """Return this interpreter's path without the working folder; put it last where it holds fc2conv.

    That folder is trusted, and what fc2conv needs may be beside it. Last, it hides no module of another.
    """
    try:
        working = os.path.realpath(Path.cwd())
    except OSError:
        working = ""  # it was removed
    given = [each for each in sys.path if Path(each).is_absolute()]
    found = [each for each in given if os.path.realpath(each) != working]
    return found if _HOME in found else [*found, _HOME]
