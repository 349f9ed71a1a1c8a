"""What becomes of a damaged model: fc2conv's exit code and line, what it left behind, and whether the output agrees."""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from execute import Array
from onnx import ModelProto, TensorProto

from fc2conv import Options
from fc2conv import pipeline as flow
from fc2conv.__main__ import _exit_code
from fc2conv.errors import ExitCode

from .changes.data import DATA_FILE
from .mutants import Base, Mutant
from .runners import Runner, attempted, feeds, in_onnxruntime, in_reference, optimized

CONTRACT = (0, 3, 4, 5, 6, 8)
LINE = re.compile(r"fc2conv: error: [^\n]{1,2000}\n")
TOLERANCE, COARSE = 1e-3, 3e-2
"""max|a - b| / max|a|; the second where float16 or bfloat16 occur."""

STEPS = frozenset(
    """QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul QGemm MatMulIntegerToFloat
    DynamicQuantizeMatMul ConvInteger MatMulInteger Round Floor Ceil Cast CastLike Sign ArgMax ArgMin TopK Hardmax Equal
    Greater Less GreaterOrEqual LessOrEqual Where NonZero Mod If Loop Not And Or Xor Unique NonMaxSuppression""".split()
)
"""Operators in which a difference of rounding may become a difference of a step."""


@dataclass(frozen=True)
class Trial:
    """`code` is the exit code; `compared` how the output was judged ("" where there was nothing to compare).

    `finding` is "" where all is well, else what is wrong.
    """

    code: int
    compared: str = ""
    finding: str = ""


def attempt(mutant: Mutant, options: Options, folder: Path, phase: Callable[[str], None]) -> Trial:
    """Converts a mutant in `folder`, which is empty and is emptied again, and compares the output with it.

    A sliding model has other outputs: of that the verification alone says whether it is right.

    `phase` is called with what comes next, `convert`, `original` or `converted`: whose work it is if the process dies.
    """
    given, out = folder / "in.onnx", folder / "out.onnx"
    given.write_bytes(mutant.serialized)
    if mutant.data:
        (folder / DATA_FILE).write_bytes(mutant.data)
    before = {each.name for each in folder.iterdir()}
    try:
        phase("convert")
        code, message = _run(given, out, options)
        left = {each.name for each in folder.iterdir()} - before
        finding = _broken_promise(code, message, left)
        if not finding and code == ExitCode.MISMATCH:
            finding = _false_alarm(given, mutant.base, message, phase)
        if finding or code or options.sliding is not None or out.read_bytes() == mutant.serialized:
            return Trial(code, "", finding)
        compared, finding = _compared(given, out, mutant.base, phase)
        return Trial(code, compared, finding)
    finally:
        for each in folder.iterdir():
            each.unlink()


def _run(given: Path, out: Path, options: Options) -> tuple[int, str]:
    """What the command line does, in this process: a native library that crashes on a mutant takes the worker along."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            flow.convert(str(given), str(out), options)
            code = 0
        except Exception as stop:  # noqa: BLE001  the last line of defence of the command line judges it
            code = _exit_code(stop, {})
    return int(code), errors.getvalue()


def _false_alarm(given: Path, base: Base, message: str, phase: Callable[[str], None]) -> str:
    """The word of a verification that failed, where the original runs, and gives the same numbers twice."""
    phase("original")
    if not _valid(given) or "NaN or infinity" in message:  # what overflows does so in another order at another place
        return ""
    model = onnx.load(given, load_external_data=False)
    for sizes in (base.sizes, {"*": 1}):
        inputs = feeds(model, sizes)
        expected = None if inputs is None else attempted(optimized, given, inputs)
        again = None if inputs is None else attempted(in_onnxruntime, given, inputs)
        if expected is None or again is None or not all(isinstance(each, np.ndarray) for each in expected):
            continue
        if (
            _finite(expected)
            and len(expected) == len(again)
            and all(_close(*pair) for pair in zip(expected, again, strict=True))
        ):
            return message.strip()
    return ""


def _close(one: Any, other: Any) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.dtype.kind in "OSUb" or bool(np.allclose(_wide(one), _wide(other), TOLERANCE, TOLERANCE))


def _broken_promise(code: int, message: str, left: set[str]) -> str:
    if code not in CONTRACT:
        return f"exit code {code}: {message.strip()}"
    if code and not LINE.fullmatch(message):
        return f"exit code {code} with {message.strip()!r}, which is not one line"
    if code and left:
        return f"exit code {code} left {sorted(left)}"
    if not code and message:
        return f"said {message.strip()!r}"
    if not code and "out.onnx" not in left:
        return "no output"
    if any(not re.fullmatch(r"out\.onnx|out-[0-9a-f]+\.data", name) for name in left):
        return f"left {sorted(left)}"
    return ""


# ------------------------------------------------------------------ comparison


def _compared(given: Path, out: Path, base: Base, phase: Callable[[str], None]) -> tuple[str, str]:
    """How the two were compared, and the finding."""
    model = onnx.load(given, load_external_data=False)
    for how, runner in (("onnxruntime", in_onnxruntime), ("reference", in_reference)):
        phase("original")
        if how == "reference" and not _valid(given):
            continue
        for sizes in (base.sizes, {"*": 1}):
            inputs = feeds(model, sizes)
            expected = None if inputs is None else attempted(runner, given, inputs)
            if (
                inputs is None
                or expected is None
                or (how == "reference" and (_beyond_reference(given) or _beyond_reference(out)))
            ):
                continue
            if not all(isinstance(each, np.ndarray) and each.size for each in expected):
                return "", ""  # a Conv of nothing is refused where a MatMul of nothing is not
            if how == "reference" and not _as_declared(model, expected):
                return "", ""
            again = attempted(runner, given, inputs)
            if again is None or not _same(expected, again):
                return "", ""  # random numbers
            if not _finite(expected):
                return "", ""  # what overflows does so in another order of the same sum at another place
            phase("converted")
            actual = attempted(runner, out, inputs)
            if actual is None:
                # onnxruntime names the casts that it inserts after nodes, which fails where two have one name; and a
                # model that it refuses as people run it, with its optimizations, is one that nobody runs.
                excused = how == "reference" or _names_twice(model) or attempted(optimized, given, inputs) is None
                return how, "" if excused else f"{how} runs the original, and not the output"
            return how, _judged(model, runner, given, inputs, expected, actual)
    return "", ""


def _valid(path: Path) -> bool:
    """Whether onnx.checker takes a model; the reference evaluator runs others too, and gives them some meaning."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception:  # noqa: BLE001  whatever it says, the model is not for the reference
        return False
    return True


def _beyond_reference(path: Path) -> bool:
    """Whether a model has a node that the reference evaluator computes wrongly.

    It broadcasts the scales of a convolution along the width, and the bounds of a Clip, which are scalars, and trains a
    BatchNormalization before opset 14.
    """
    model = onnx.load(path, load_external_data=False)
    scalars = {tensor.name for tensor in model.graph.initializer if not tensor.dims}
    if any(set(node.input[1:]) - scalars - {""} for node in model.graph.node if node.op_type == "Clip"):
        return True
    wrong = {"QLinearConv", "ConvInteger"}
    if any(entry.domain in ("", "ai.onnx") and entry.version < 14 for entry in model.opset_import):
        wrong.add("BatchNormalization")
    return any(node.op_type in wrong for node in model.graph.node)


def _names_twice(model: ModelProto) -> bool:
    names = [node.name for node in model.graph.node if node.name]
    return len(set(names)) < len(names)


def _as_declared(model: ModelProto, results: list[Array]) -> bool:
    """Whether results have the ranks that a model declares; the reference evaluator broadcasts where nothing should."""
    declared = [value.type.tensor_type for value in model.graph.output]
    return all(
        not kind.HasField("shape") or len(kind.shape.dim) == result.ndim
        for kind, result in zip(declared, results, strict=True)
    )


def _same(one: list[Array], other: list[Array]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def _judged(
    model: ModelProto,
    runner: Callable[[Path], Runner],
    given: Path,
    inputs: Mapping[str, Array],
    expected: list[Array],
    actual: list[Any],
) -> str:
    """The finding of two results: a difference that neither rounding nor the model's own sensitivity explains."""
    worst = _distance(expected, actual)
    small = any(each.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for each in model.graph.initializer)
    bound = COARSE if small or any(each.dtype.itemsize == 2 for each in inputs.values()) else TOLERANCE
    if worst <= bound:
        return ""
    operators = {node.op_type for node in model.graph.node} | {
        node.op_type for function in model.functions for node in function.node
    }
    if operators & STEPS and _share(expected, actual, bound) <= 0.25:
        return ""
    for factor in (1 + 1e-6, 1 - 1e-6):
        moved = {
            name: (array * factor).astype(array.dtype) if np.issubdtype(array.dtype, np.floating) else array
            for name, array in inputs.items()
        }
        near = attempted(runner, given, moved)
        if near is None or _distance(expected, near) * 20 >= worst:
            return ""
    return f"differs by {worst:.3g}"


def _distance(expected: list[Array], actual: list[Any]) -> float:
    """max|a - b| / max|a| over the outputs; infinite where types, shapes or non-finite values differ."""
    return max((_one_distance(a, np.asarray(b)) for a, b in zip(expected, actual, strict=True)), default=0.0)


def _one_distance(expected: Array, actual: Array) -> float:
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        return math.inf
    if expected.dtype.kind in "OSU":
        return 0.0 if np.array_equal(expected, actual) else math.inf
    a, b = _wide(expected), _wide(actual)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return math.inf
    with np.errstate(all="ignore"):
        gap = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
        return gap / float(np.abs(a[finite]).max()) if gap else 0.0


def _finite(results: list[Array]) -> bool:
    return all(np.isfinite(_wide(each)).all() for each in results if each.dtype.kind not in "OSU")


def _wide(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _share(expected: list[Array], actual: list[Any], bound: float) -> float:
    """The largest share of the elements of one output that are further apart than the bound."""
    shares = [0.0]
    for a, b in zip(expected, actual, strict=True):
        if a.dtype != b.dtype or a.shape != b.shape:
            return 1.0
        one, other = _wide(a), _wide(b)
        with np.errstate(all="ignore"):
            near = np.isclose(one, other, rtol=bound, atol=bound * float(np.abs(one).max(initial=0.0)), equal_nan=True)
        shares.append(float(1 - near.mean()))
    return max(shares)
