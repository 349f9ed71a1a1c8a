"""The current stage of the work, on a terminal's stderr, where a model takes longer than a second.

A timer signal draws the line and no thread does: a thread would keep the comparison out of a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

from fc2conv import system
from fc2conv.io.escape import shortened

_EVERY = 1.0
_NAME = 24
_CLEAR = "\r\x1b[2K"


class _Line:
    """The line, as `fc2conv: vgg16.onnx: verifying, 3 s`; nothing until the first signal."""

    def __init__(self, model: str) -> None:
        self.name = shortened(PurePath(model).name, _NAME)
        self.start = time.monotonic()
        self.stage = "loading the libraries"
        self.drawn = False

    def enter(self, stage: str) -> None:
        self.stage = stage

    def draw(self) -> None:
        self.drawn = True
        seconds = round(time.monotonic() - self.start)
        self._write(f"{_CLEAR}fc2conv: {self.name}: {self.stage}, {seconds} s")

    def clear(self) -> None:
        if self.drawn:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        # Past the buffer of sys.stderr, into which the signal may have come.
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), text.encode(sys.stderr.encoding or "ascii", "backslashreplace"))


@contextlib.contextmanager
def shown(model: str, given: dict[str, Any]) -> Iterator[Callable[[str], None] | None]:
    """Show the work on a model: yield a function to call with each stage; None where nobody can see it."""
    if given["quiet"] or not _visible():
        yield None
        return
    line = _Line(model)
    stop = system.every(_EVERY, line.draw)
    try:
        yield line.enter
    finally:
        stop()
        line.clear()


def _visible() -> bool:
    """Return whether stderr is a terminal that can clear a line, and this process may have a timer."""
    if threading.current_thread() is not threading.main_thread():
        return False
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
