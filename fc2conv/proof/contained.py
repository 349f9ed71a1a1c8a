"""The comparison in a process of its own: a crash, a hang or a hunger for memory of a native library is an answer.

A child is forked from the warm parent, which costs some 15 ms, limits its own data (RLIMIT_DATA; the address space
would count harmless maps as well), compares, and sends the result through a pipe. The parent waits outside of native
code, so that it can be interrupted. Where there is no fork, or where the caller's own threads (of onnxruntime sessions,
say) make one unsafe, the comparison runs in this process, without limits.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from fc2conv.errors import Fc2convError, LimitError
from fc2conv.onnxfile import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.proof.pair import verify_pair
from fc2conv.proof.sites import SitePair
from fc2conv.report.types import Verification

_CHUNK = 1 << 16
_PR_SET_PDEATHSIG = 1
_SHARE = 0.9
"""How much of the machine's memory a comparison may take, where no limit is given."""


class _FaultError(RuntimeError):
    """A fault of fc2conv in the child; the message is its traceback."""


def verify_contained(
    original: ModelFile, converted: ModelFile, pairs: Sequence[SitePair] | None, options: VerifyOptions
) -> Verification:
    """`verify_pair` in a child process; raises LimitError where that dies, or is not done in time."""

    def compare() -> bytes:
        return msgspec.msgpack.encode(verify_pair(original, converted, pairs, options))

    if not _may_fork():
        return verify_pair(original, converted, pairs, options)
    return msgspec.msgpack.decode(_in_child(compare, options), type=Verification)


def _may_fork() -> bool:
    """Whether a child can be forked: on Linux, where no threads but those of the libraries themselves are about.

    A lock that another thread holds at that moment stays locked in the child for ever. numpy's linear algebra has
    a thread for each core, this one among them, and onnxruntime one more before any session is opened.
    """
    if sys.platform != "linux":
        return False
    return len(list(Path("/proc/self/task").iterdir())) <= len(os.sched_getaffinity(0)) + 1


def _in_child(work: Callable[[], bytes], options: VerifyOptions) -> bytes:
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: this one holds no lock, the others only wait
        child = os.fork()
    if not child:
        os.close(reader)
        _child(work, writer, options)
    os.close(writer)
    try:
        return _received(child, reader, options.time_limit)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _child(work: Callable[[], bytes], writer: int, options: VerifyOptions) -> NoReturn:
    """Sends the result, or what was raised, and leaves without any cleaning up that is the parent's."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process,
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # and its death does
        _limit(options.memory_limit)
        try:
            answer: Any = ("done", work())
        except Fc2convError as error:
            answer = ("stop", (type(error), error.message, error.remedy))
        except MemoryError:
            answer = ("memory", None)
        except BaseException:  # noqa: BLE001  # told to the parent, which raises it
            answer = ("fault", traceback.format_exc())
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        code = 0
    finally:
        os._exit(code)


def _limit(given: int | None) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = given if given is not None else int(whole * _SHARE)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _received(child: int, reader: int, limit: float) -> bytes:
    end = time.monotonic() + limit
    held = bytearray()
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            message = f"the verification was not done in {limit:g} s"
            raise LimitError(message, "raise --time-limit, or use --no-verify", limit="time")
        piece = os.read(reader, _CHUNK)
        if not piece:
            break
        held += piece
    if not held:
        _, status = os.waitpid(child, 0)
        remedy = "the model makes a native library crash; --no-verify converts without proof"
        raise LimitError(_died(status), remedy, signal=_signal(status))
    kind, told = pickle.loads(held)  # from this process's own child
    if kind == "stop":
        raise told[0](told[1], told[2])
    if kind == "memory":
        raise LimitError(
            "the verification ran out of memory", "raise --memory-limit, or use --no-verify", limit="memory"
        )
    if kind == "fault":
        raise _FaultError(told)
    return bytes(told)


def _died(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"the verification died of {_signal(status)}"
    return f"the verification ended with {os.waitstatus_to_exitcode(status)} and said nothing"


def _signal(status: int) -> str:
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else ""
