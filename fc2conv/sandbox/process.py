"""What a process has from whoever started it: signals that ask it to end, and standard streams that may be closed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fc2conv import system

_STANDARD = 3
"""The first descriptor that is no standard stream."""


@contextmanager
def deferred_stops() -> Iterator[Callable[[], None]]:
    """Defers Ctrl-C and every other request to end until the body is done; gives what lets them come earlier."""
    release = system.hold((signal.SIGINT, *system.STOPS))
    try:
        yield release
    finally:
        release()


def seat_standard_streams() -> None:
    """Opens nothing at all in the place of each closed standard stream, so that no file is opened there.

    What a library prints would else be written into that file.
    """
    with suppress(OSError):  # without /dev/null they stay closed
        while (descriptor := os.open(os.devnull, os.O_RDWR)) < _STANDARD:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)


def above_streams(descriptor: int) -> int:
    """Moves a descriptor out of the place of a closed standard stream, where another is to be put."""
    below = []
    try:
        while descriptor < _STANDARD:
            below.append(descriptor)
            descriptor = os.dup(descriptor)
    finally:
        for each in below:
            os.close(each)
    return descriptor
