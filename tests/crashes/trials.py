"""Conversions that are killed, or that meet a full disk: what is at the output afterwards, and what was left.

A conversion is the whole command line in a child process that is forked from one in which it is loaded already, so that
a random moment falls into its work and not into imports.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fc2conv import convert  # noqa: F401  loaded before any child is forked
from fc2conv.__main__ import main

FORMS: Mapping[str, tuple[str, ...]] = {"inline": (), "external": ("--external-data",)}
TEMPORARY = ".fc2conv-"
LIMIT = 120.0
"""Seconds after which a child is taken to hang."""


def model(seed: int, features: int = 512) -> ModelProto:
    """A flattened map and one layer of 2048 x `features`, whose weight has to be reordered; 4 MiB by default."""
    random = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(random.standard_normal((2048, features), dtype=np.float32), "fc.weight"),
        numpy_helper.from_array(random.standard_normal(features, dtype=np.float32), "fc.bias"),
    ]
    nodes = [
        helper.make_node("Relu", ["image"], ["r"], "relu"),
        helper.make_node("Flatten", ["r"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], "fc"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 8, 16, 16])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", features])
    graph = helper.make_graph(nodes, "g", [image], [result], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def files(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their paths within it."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


# ------------------------------------------------------------------ a child


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (None where it was killed), and what it said on stderr."""

    code: int | None
    printed: str
    seconds: float


def in_child(
    arguments: list[str], kill_after: float | None = None, prepare: Callable[[], None] = lambda: None
) -> Ended:
    """Runs the command line in a child; kills it and all that it started after so many seconds, if it still runs.

    `prepare` is called in the child before.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _child(arguments, reader, writer, prepare)
    os.close(writer)
    start = time.perf_counter()
    printed, ended = b"", True
    try:
        # The pipe ends when the child and every process that it started have ended.
        while True:
            left = (LIMIT if kill_after is None else kill_after) - (time.perf_counter() - start)
            if not select.select([reader], [], [], max(left, 0))[0]:
                ended = False
                break
            piece = os.read(reader, 1 << 16)
            if not piece:
                break
            printed += piece
        seconds = time.perf_counter() - start
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            while os.read(reader, 1 << 16):
                pass
    finally:
        os.close(reader)
        _, status = os.waitpid(child, 0)
    assert ended or kill_after is not None, f"{arguments} was not done in {LIMIT:g} s"
    return Ended(os.waitstatus_to_exitcode(status) if ended else None, printed.decode(), seconds)


def limited(file_size: int) -> Callable[[], None]:
    """What makes a process fail where a file would be larger than so many bytes."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return prepare


def _child(arguments: list[str], reader: int, writer: int, prepare: Callable[[], None]) -> None:
    code = 70
    os.setsid()
    os.close(reader)
    sys.stdout = sys.stderr = os.fdopen(writer, "w")
    try:
        prepare()
        code = main([*arguments, "--no-verify", "-q"])
    except BaseException:  # noqa: BLE001  the parent reads it, and nothing of the parent's is cleaned up here
        sys.stderr.write(traceback.format_exc())
    finally:
        sys.stderr.flush()
        os._exit(code)


# ------------------------------------------------------------------ what to convert, where


@dataclass(frozen=True)
class Scene:
    """A folder before (`old`) and after (`new`) a conversion, and the command that makes the one of the other."""

    folder: Path
    old: Mapping[str, bytes]
    new: Mapping[str, bytes]
    arguments: list[str]
    output: str

    def reset(self) -> None:
        for each in self.folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        for name, content in self.old.items():
            (self.folder / name).write_bytes(content)

    def damage(self) -> str:
        """What is wrong with the folder after a conversion that may have been killed; "" where nothing is."""
        found = {name: content for name, content in files(self.folder).items() if not name.startswith(TEMPORARY)}
        state = self.old if found.get(self.output) == self.old[self.output] else self.new
        if found.get(self.output) != state[self.output]:
            return "the output is neither the old nor the new one"
        wanted = {name: content for name, content in state.items() if name in self.old or name.endswith(".data")}
        wrong = [name for name in wanted if name != self.output and found.get(name) != wanted[name]]
        if wrong:
            return f"{wrong} are not as they were, or are missing"
        strange = [name for name in found if found[name] not in (self.old.get(name), self.new.get(name))]
        if strange:
            return f"{strange} are neither the old nor the new ones"
        onnx.load(self.folder / self.output)
        return ""

    @property
    def is_new(self) -> bool:
        return (self.folder / self.output).read_bytes() == self.new[self.output]

    @property
    def temporaries(self) -> list[str]:
        return [each.name for each in self.folder.iterdir() if each.name.startswith(TEMPORARY)]


def scene(folder: Path, form: str, *, in_place: bool, features: int = 512) -> Scene:
    """A folder with a model and an output of an earlier conversion of another; in place the model is the output."""
    folder.mkdir()
    flags = list(FORMS[form])
    given, output = folder / "in.onnx", folder / ("in.onnx" if in_place else "out.onnx")
    if not in_place:
        given.write_bytes(model(1, features).SerializeToString())
        assert in_child([str(given), str(output), *flags]).code == 0
    if in_place and form == "external":
        onnx.save(model(2, features), given, save_as_external_data=True, location="in.bin", size_threshold=1024)
    else:
        given.write_bytes(model(2, features).SerializeToString())
    old = files(folder)
    arguments = [str(given), str(output), *flags]
    ended = in_child(arguments)
    assert (ended.code, ended.printed) == (0, "")
    made = Scene(folder, old, files(folder), arguments, output.name)
    assert made.new[output.name] != old[output.name]
    return made


def killed(made: Scene, after: float) -> tuple[str, str]:
    """Converts anew and kills after so many seconds, then converts to the end; the moment that was met, and the damage.

    The moment is `before` anything was written, `during`, `after` the output was published, or `done`.
    """
    made.reset()
    ended = in_child(made.arguments, kill_after=after)
    damage = made.damage()
    left = bool(made.temporaries)
    moment = "done" if ended.code == 0 else "after" if made.is_new else "during" if left else "before"
    again = in_child(made.arguments)
    in_place_done = moment in ("done", "after") and made.output == "in.onnx"
    if not damage and (again.code != 0 or not (made.is_new or in_place_done) or made.temporaries):
        damage = f"the next run ended with {again.code}: {again.printed}{made.temporaries}"
    return moment, damage or made.damage()


def filled(made: Scene, run: Callable[[], Ended]) -> tuple[Ended, str]:
    """Converts anew where a write fails; how it ended, and what is wrong with that or with the folder."""
    made.reset()
    before = files(made.folder)
    ended = run()
    if ended.code == 0:
        return ended, made.damage() or ("" if made.is_new else "said that it was done, and was not")
    if ended.code != 6 or ended.printed.count("\n") != 1 or made.output not in ended.printed:
        return ended, f"ended with {ended.code}: {ended.printed!r}"
    return ended, "" if files(made.folder) == before and not made.temporaries else "the folder is not as it was"
