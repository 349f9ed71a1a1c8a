"""A process of the pool: it imports once, reads a task a line, and answers a line each, until nobody asks any more.

An empty line in front of all says that it is ready.

Its arguments are a pipe for the answers, as stdout and stderr belong to the libraries, and the process of the driver.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys

from fc2conv.api import load
from fc2conv.batch.perform import perform
from fc2conv.batch.tasks import Task
from fc2conv.report.json import line, of_line
from fc2conv.sandbox import die_with_parent


def main() -> None:
    """Serves until stdin ends."""
    descriptor, parent = map(int, sys.argv[1:3])
    _die_with(parent)
    faulthandler.enable()
    load()  # a fork then has all that a model needs
    gc.freeze()  # a child does not copy what it does not change
    with os.fdopen(descriptor, "wb", buffering=0) as answers:
        answers.write(b"\n")
        for text in sys.stdin.buffer:
            answers.write(line(perform(of_line(text, Task))))


def _die_with(parent: int) -> None:
    """Ends this process when the driver ends, however that ends; Ctrl-C is the driver's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != parent:
        sys.exit()
