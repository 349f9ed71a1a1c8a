"""The library in a process of its own: what cannot be sent, and what its errors say of the model."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NoReturn

import onnx
import pytest
from google.protobuf.message import EncodeError
from inprocess import needs_fork

import fc2conv
from fc2conv import pipeline
from fc2conv.errors import InputError, LimitError, OutputError
from fc2conv.io import forms
from fc2conv.options import Limits
from fc2conv.sandbox import START


def test_a_model_in_memory_that_cannot_be_sent_is_refused(lenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(_: object) -> NoReturn:
        raise EncodeError("Failed to serialize proto")  # as of more than 2 GiB

    model = onnx.load(lenet)
    START.set("fresh")
    monkeypatch.setattr(onnx.ModelProto, "__reduce__", too_large)
    for work in (fc2conv.convert, fc2conv.plan, lambda each: fc2conv.verify(lenet, each)):
        with pytest.raises(InputError, match=r"larger than the 2147483647 bytes .* give the path of the file"):
            work(model)


@needs_fork
def test_a_model_that_is_too_large_for_memory_goes_to_a_path(lenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MAX_INLINE", lenet.stat().st_size // 2)
    with pytest.raises(OutputError, match=r"protobuf takes no more than \d+: give the path of an output file"):
        fc2conv.convert(lenet)
    assert fc2conv.convert(lenet, lenet.with_name("out.onnx")).report.outcome == "converted"


def test_an_error_in_the_library_has_the_childs_traceback(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as found:
        fc2conv.plan(tmp_path / "none.onnx")
    assert "read_model" in str(found.value.__cause__)


@needs_fork
def test_a_limit_in_the_library_names_the_model(lenet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    START.set("fork")
    monkeypatch.setattr(pipeline, "convert", lambda *_: threading.Event().wait())
    with pytest.raises(LimitError, match=r"lenet\.onnx: .*not done in 0\.2 s"):
        fc2conv.convert(lenet, lenet.with_name("out.onnx"), fc2conv.Options(limits=Limits(timeout=0.2)))
    assert [each.name for each in lenet.parent.iterdir()] == ["lenet.onnx"]
