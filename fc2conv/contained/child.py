"""The child: how it limits itself, what it tells its parent while it works, and its last word."""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import pickle
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeAlias

from fc2conv.errors import Fc2convError
from fc2conv.options import Limits

Work: TypeAlias = Callable[..., tuple[Any, bytes]]
"""What a child does: a function of a module, that gives a value of fc2conv's own types, and bytes."""

HEAD, LENGTH = struct.Struct("<cQ"), struct.Struct("<Q")
"""What stands before all that is sent: its kind and its length; before the value in a last word: its length."""

NOTE, SIZE, DONE, STOP = b"n", b"s", b"d", b"x"
"""The kinds: the stage, the size of the model; and the last words, what the work gave or what it raised."""

_PR_SET_PDEATHSIG = 1
MEMORY_SHARE = 0.9
"""How much of the machine's memory the work on a model may take at most, where no limit is given."""

_LEAST_MEMORY, _MEMORY_FACTOR = 4 << 30, 8
"""The memory limit by the size of the model, in bytes: room for what runs, and for the model so many times."""

_parent: int | None = None
"""In a child: where notes are written."""

_limits = Limits()
"""In a child: its limits."""

_inherited = 0
"""In a child: the bytes of data that it had from its parent, which do not count."""


class _EndedError(BaseException):
    """The parent wants the work to end; raised wherever the child stands in Python."""


def note(stage: str, node: str = "") -> None:
    """Tells the parent what is done next, for the message should it never end; `node` is the one that is worked on."""
    if _parent is not None:
        _send(_parent, NOTE, f"{stage}, node '{node}'".encode() if node else stage.encode())


def allow(nbytes: int) -> None:
    """Sets the limits that were not given by the size in bytes of the model, which is now known."""
    if _parent is not None:
        _send(_parent, SIZE, LENGTH.pack(nbytes))
        if _limits.memory_limit is None:
            _limit_memory(_LEAST_MEMORY + _MEMORY_FACTOR * nbytes)


def main() -> NoReturn:
    """In a fresh interpreter: does the work that its parent wrote down."""
    writer = os.dup(1)
    os.dup2(2, 1)
    work, arguments, limits = pickle.load(sys.stdin.buffer)
    do(work, arguments, limits, writer)


def do(work: Work, arguments: tuple[object, ...], limits: Limits, writer: int) -> NoReturn:
    """Sends the result, or what was raised, and leaves without any cleaning up that is the parent's."""
    global _parent, _limits, _inherited
    code = 1
    try:
        faulthandler.disable()  # a crash is told by the parent, in one line
        signal.signal(signal.SIGTERM, _on_end)
        for each in (signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # the parent ends this process,
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, *STOPS})
        die_with_parent()  # and its death does
        _parent, _limits, _inherited = writer, limits, _data()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _limit_memory(limits.memory_limit or _LEAST_MEMORY)
        try:
            value, blob = work(*arguments)
            _say(writer, DONE, value, "", blob)
        except Fc2convError as error:
            _say(writer, STOP, error, traceback.format_exc())
        except MemoryError:
            _say(writer, STOP, None, traceback.format_exc())
        except Exception:  # noqa: BLE001  # told to the parent, which raises it
            _say(writer, STOP, "fault", traceback.format_exc())
        code = 0
    finally:
        os._exit(code)


def die_with_parent() -> None:
    """Has this process killed when its parent ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _on_end(_: int, __: FrameType | None) -> NoReturn:
    raise _EndedError


def _say(writer: int, kind: bytes, value: object, told: str, blob: bytes = b"") -> None:
    """Sends the last word, pickled by what its types say and not by what some library has registered for all errors."""
    words = io.BytesIO()
    pickler = pickle.Pickler(words)
    pickler.dispatch_table = {}
    pickler.dump((value, told))
    _send(writer, kind, LENGTH.pack(words.tell()), words.getvalue(), blob)


def _send(writer: int, kind: bytes, *parts: bytes) -> None:
    for part in (HEAD.pack(kind, sum(map(len, parts))), *parts):
        view = memoryview(part)
        while view:
            view = view[os.write(writer, view) :]


def _limit_memory(wanted: int) -> None:
    """Limits the data of this process; without a limit that was given, no more than a share of the machine's memory."""
    if _limits.memory_limit is None:
        wanted = min(wanted, int(machine_memory() * MEMORY_SHARE))
    wanted += _inherited
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _data() -> int:
    """The bytes of data of this process, as RLIMIT_DATA counts them."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text("ascii").split()[5]) * os.sysconf("SC_PAGE_SIZE")


def machine_memory() -> int:
    """The bytes of memory of this machine, or of the control group that this process is in."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        whole = min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text("ascii")))
    return whole
