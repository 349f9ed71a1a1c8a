"""A process of the pool: it imports once, reads one task per line, and answers with one line each, until stdin ends.

An empty line before all others says that it is ready.

It answers to the file that stdout was when it started; from then on stdout and stderr belong to the libraries. Its
argument is the id of the driver's process.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys

from fc2conv import system
from fc2conv.api import load
from fc2conv.batch.perform import perform
from fc2conv.batch.tasks import Task
from fc2conv.report.json import line, of_line


def main() -> None:
    """Serve tasks until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C
    system.die_with(int(sys.argv[1]))  # this process ends with the driver
    descriptor, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    faulthandler.enable()
    load()  # a fork then has all that a model needs
    gc.freeze()  # a child does not copy what it does not change
    with os.fdopen(descriptor, "wb", buffering=0) as answers:
        answers.write(b"\n")
        for text in sys.stdin.buffer:
            answers.write(line(perform(of_line(text, Task))))
