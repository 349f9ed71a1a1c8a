"""The comparison in a process of its own: what it says comes back, and what kills it is an answer."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import FLATTEN, model, pair
from onnx import ModelProto

from fc2conv.errors import ExitCode, LimitError, UsageError
from fc2conv.onnxfile import model_file_from_proto
from fc2conv.options import VerifyOptions
from fc2conv.proof import contained, verify_contained, verify_pair
from fc2conv.report.types import Verification


def run(options: VerifyOptions | None = None, protos: tuple[ModelProto, ModelProto] | None = None) -> Verification:
    files = [model_file_from_proto(proto) for proto in protos or pair(FLATTEN)]
    return verify_contained(*files, FLATTEN.pairs, options or VerifyOptions())


def does(monkeypatch: pytest.MonkeyPatch, what: Callable[[], Any]) -> None:
    """In a child: what stands in for the comparison starts no library, so that pytest's own threads do no harm."""
    monkeypatch.setattr(contained, "_may_fork", lambda: True)
    monkeypatch.setattr(contained, "verify_pair", lambda *_: what())


def test_the_result_is_that_of_this_process() -> None:
    files = [model_file_from_proto(proto) for proto in pair(FLATTEN)]
    assert run() == verify_pair(*files, FLATTEN.pairs, VerifyOptions())


def test_numbers_that_are_not_finite_come_back() -> None:
    text = "g (float[N,3] x) => (float[N,3] y) { y = Log(x) }"
    other = text.replace("Log", "Neg")
    assert run(protos=(model(text, {}), model(other, {}))).verdict == "fail"


def test_a_crash_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, lambda: (faulthandler.disable(), os.kill(os.getpid(), signal.SIGSEGV)))
    with pytest.raises(LimitError, match="SIGSEGV") as found:
        run()
    assert found.value.exit_code == ExitCode.LIMIT


def test_a_silent_end_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, lambda: os._exit(3))
    with pytest.raises(LimitError, match="ended with 3"):
        run()


def test_a_hang_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, lambda: time.sleep(60))
    start = time.monotonic()
    with pytest.raises(LimitError, match=r"not done in 0\.2 s"):
        run(VerifyOptions(time_limit=0.2))
    assert time.monotonic() - start < 10


def test_a_hunger_for_memory_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, lambda: bytearray(8 << 30))
    with pytest.raises(LimitError, match="out of memory"):
        run(VerifyOptions(memory_limit=1 << 30))


def test_stops_and_faults_come_back_as_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no input 'z'"):
        run(VerifyOptions(input_shapes={"z": (1,)}))
    does(monkeypatch, lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run()


def children() -> set[str]:
    """The processes that this one has started and not waited for."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())


def test_an_interrupt_ends_the_child_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    does(monkeypatch, lambda: time.sleep(60))
    before = children()
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert children() <= before
