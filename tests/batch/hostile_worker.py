"""A process of the pool that some models undo: by their names, as a native library would by what is in them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from fc2conv.batch import perform, worker

_convert = perform.convert


def convert(model: Path, output: Path, options: Any) -> Any:
    name = model.name
    if "segfault" in name:
        os.write(2, b"about to crash\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    if "abort" in name:
        os.abort()
    if "hang" in name:
        while True:
            signal.pause()
    if "hungry" in name:
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1 << 10) * (1 << 14)))
    if "talk" in name:
        for _ in range(64):
            os.write(2, b"y" * (1 << 16))
    if "fault" in name:
        raise ZeroDivisionError("planted")
    return _convert(model, output, options)


def main() -> None:
    perform.convert = convert  # type: ignore[assignment]
    worker.main()
