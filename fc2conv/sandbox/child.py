"""The child: how it limits itself, what it tells its parent while it works, and its last word."""

from __future__ import annotations

import faulthandler
import gc
import io
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from enum import Enum
from types import FrameType
from typing import IO, Any, NoReturn, TypeAlias

from fc2conv import system
from fc2conv.errors import Fc2convError, LimitError
from fc2conv.options import Limits
from fc2conv.sandbox.interpreter import DEFAULTS
from fc2conv.sandbox.shortage import shortage

Work: TypeAlias = Callable[..., tuple[Any, bytes]]
"""What a child does: a function of a module, that gives a value of fc2conv's own types, and bytes."""

Job: TypeAlias = tuple[Work, tuple[object, ...], Limits, Mapping[str, LimitError]]
"""The work, its arguments, its limits, and the attempts in which earlier children died, each with the error."""

HEAD, LENGTH = struct.Struct("<cQ"), struct.Struct("<Q")
"""The header of each message: its kind and its length; before the value in a last word: its length."""

NOTE, ATTEMPT, SIZE, DONE, STOP = b"n", b"a", b"s", b"d", b"x"
"""The kinds: a stage, a stage that may be left out, the size of the model; and the last words, a result or an error."""

MEMORY_SHARE = 0.9
"""How much of the machine's memory the work on a model may take at most, where no limit is given."""

_LEAST_MEMORY, _MEMORY_FACTOR = 4 << 30, 8
"""The memory limit of a model of no size, in bytes, and how many times the model's size is added to it."""

_MMAP_THRESHOLD, _LARGE = -3, 1 << 20
"""The parameter of mallopt for the size at which a block gets a map of its own, and that size in bytes."""

LOADING = "loading the libraries"
"""What a child does first."""

_parent: int | None = None
"""In a child: where notes are written."""

_deaths: Mapping[str, LimitError] = {}
"""In a child: the attempts that it may not make again."""

_limits = Limits()
"""In a child: its limits."""

_inherited = 0
"""In a child: the bytes of data that it has from its parent, which do not count."""

_most: int | None = None
"""In a child: the bytes of data that it may have, including those from its parent."""


class _EndedError(BaseException):
    """The parent wants the work to end; raised wherever the child is in Python."""


def rarely_collect() -> None:
    """Make garbage collections rare: modules and graphs are many objects that stay, with few cycles among them."""
    gc.set_threshold(1 << 20)


def note(stage: str, node: str = "") -> None:
    """Send the parent the name of the next stage, for the message if it never ends. `node` is the node in work."""
    if _parent is not None:
        text = f"{stage}, node '{node}'" if node else stage
        _send(_parent, NOTE, text.encode("utf-8", "backslashreplace"))


def attempt(stage: str) -> LimitError | None:
    """Send the parent the name of a stage that can be left out; return the error of an earlier child that it killed."""
    if _parent is not None:
        _send(_parent, ATTEMPT, stage.encode("utf-8", "backslashreplace"))
    return _deaths.get(stage)


def hush() -> None:
    """Delete what libraries printed while they were loaded: that is about the machine and not about the model."""
    if _parent is not None:
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)


def allow(nbytes: int) -> None:
    """Set the limits that were not given, by the size of the model in bytes, which is now known."""
    if _parent is not None:
        _send(_parent, SIZE, LENGTH.pack(nbytes))
        _limit_memory(nbytes)


def main() -> NoReturn:
    """Run the job that the parent wrote down, in a fresh interpreter."""
    writer = os.dup(1)
    os.dup2(2, 1)
    job, parent = pickle.load(sys.stdin.buffer)
    do(job, writer, parent)


def do(job: Job, writer: int, parent: int) -> NoReturn:
    """Run a job, send its result or the error that it raised, and exit without any cleaning up that is the parent's."""
    global _parent, _limits, _deaths, _inherited
    code = 1
    try:
        faulthandler.disable()  # the parent reports a crash, in one line
        os.environ.update({**DEFAULTS, **os.environ})
        asked = (signal.SIGINT, *system.STOPS)
        for each in asked:
            signal.signal(each, signal.SIG_IGN)  # this process ends when the parent says so
        signal.signal(signal.SIGTERM, _on_end)
        system.let_come(asked)
        system.die_with(parent)  # or when the parent dies
        work, arguments, _limits, _deaths = job
        _parent, _inherited = writer, system.data()
        _limit_memory(0)
        rarely_collect()
        note(LOADING)
        try:
            value, blob = work(*arguments)
            _send(writer, DONE, *_pickled(value, ""), blob)
        except Exception as error:  # noqa: BLE001  # the parent raises it
            known = shortage(error) or (error if isinstance(error, Fc2convError) else "fault")
            _send(writer, STOP, *_pickled(known, traceback.format_exc()))
        code = 0
    except MemoryError:  # there is no room for more words
        _write(writer, _NO_MEMORY)
        code = 0
    except _EndedError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os._exit(code)


def _on_end(_: int, __: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what cleans up is not disturbed
    raise _EndedError


class _Pickler(pickle.Pickler):
    """Writes members of enumerations by their value: Python 3.11.2 would name `getattr`, which no reader takes."""

    def reducer_override(self, value: Any) -> Any:
        return (type(value), (value.value,)) if isinstance(value, Enum) else NotImplemented


def dump(values: tuple[object, ...], stream: IO[bytes]) -> None:
    """Write values as a pickle, by what their types say and not by what a library registers for all errors."""
    pickler = _Pickler(stream)
    pickler.dispatch_table = {}
    pickler.dump(values)


def _pickled(value: object, trace: str) -> tuple[bytes, bytes]:
    """Return the length and the bytes of a value."""
    words = io.BytesIO()
    dump((value, trace), words)
    return LENGTH.pack(words.tell()), words.getvalue()


def _send(writer: int, kind: bytes, *parts: bytes) -> None:
    for part in _framed(kind, *parts):
        _write(writer, part)


def _framed(kind: bytes, *parts: bytes) -> tuple[bytes, ...]:
    return HEAD.pack(kind, sum(map(len, parts))), *parts


def _write(writer: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(writer, view) :]


_NO_MEMORY = b"".join(_framed(STOP, *_pickled(None, "")))
"""The last word where memory is out, made while there was some."""


def allowance(limits: Limits, nbytes: int) -> int:
    """Return the bytes of data that the work on a model of `nbytes` may take; without a limit at most MEMORY_SHARE."""
    if limits.memory_limit is not None:
        return limits.memory_limit
    return min(_LEAST_MEMORY + _MEMORY_FACTOR * nbytes, int(system.machine_memory() * MEMORY_SHARE))


def _limit_memory(nbytes: int) -> None:
    """Limit the data of this process by the size of its model; the parent watches where the system has no limit."""
    global _most
    _most = allowance(_limits, nbytes) + _inherited
    system.limit_data(_most)


def room() -> int:
    """Return the bytes of data that this process may still take, by its limit or a share of the machine's memory."""
    given = system.ulimit("-d")
    most = _most if given is None else given[0] << 10
    return max(0, (int(system.machine_memory() * MEMORY_SHARE) if most is None else most) - system.data())


def return_memory() -> None:
    """Have large blocks returned to the system as soon as they are free, where the C library can do so."""
    if _parent is not None and (mallopt := system.libc("mallopt")) is not None:  # musl has none
        mallopt(_MMAP_THRESHOLD, _LARGE)


def limit_for(nbytes: int) -> int:
    """Return the memory limit under which this process may still take `nbytes` more than it has."""
    return max(0, system.data() - _inherited) + nbytes
