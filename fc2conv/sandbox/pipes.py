"""The end of a pipe at which one waits for what another process says, and for no longer than one wants to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TypeAlias

from fc2conv import system

CHUNK = 1 << 20
_SLICE = 0.1
"""Seconds after which a wait for a thread looks for Ctrl-C, which does not end it on every system."""


def pump(stream: IO[bytes], give: Callable[[bytes], None]) -> threading.Thread:
    """Reads an unbuffered stream in a thread of its own: gives each piece as it comes, and b"" at the end."""

    def work() -> None:
        with stream:
            while piece := stream.read(CHUNK):
                give(piece)
        give(b"")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class _Polled:
    """A pipe that the system watches, so that this process needs no thread and can fork."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, seconds: float) -> bytes | None:
        """Returns what is there or comes within so many seconds: None for nothing, b"" for the end."""
        return os.read(self._descriptor, CHUNK) if system.ready(self._descriptor, seconds) else None

    def close(self) -> None:
        os.close(self._descriptor)


class _Pumped:
    """A pipe that a thread reads, and closes at its end."""

    def __init__(self, descriptor: int) -> None:
        import queue

        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._nothing = queue.Empty
        self._thread = pump(os.fdopen(descriptor, "rb", 0), self._pieces.put)

    def read(self, seconds: float) -> bytes | None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 or not self._pieces.empty():
            with suppress(self._nothing):
                return self._pieces.get(timeout=min(max(0.0, left), _SLICE))
        return None

    def close(self) -> None:
        self._thread.join(_SLICE)


Incoming: TypeAlias = _Polled | _Pumped
"""What comes out of a pipe."""


def incoming(descriptor: int) -> Incoming:
    """Takes over the descriptor of a pipe from which one reads."""
    return _Polled(descriptor) if system.POLLS else _Pumped(descriptor)
