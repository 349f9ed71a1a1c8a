"""onnxruntime, the one place where it is called: a session on a skeleton whose weights stay in their file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper, parser
from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[import-untyped]

from fc2conv.errors import LimitError, UsageError
from fc2conv.io.alone import REFUSALS, run_alone
from fc2conv.io.files import opened
from fc2conv.io.forms import runnable
from fc2conv.io.reader import ModelFile
from fc2conv.sandbox import attempt, hush, note
from fc2conv.sandbox.shortage import said_by
from fc2conv.verification.feeds import Feeds
from fc2conv.verification.nodes import all_nodes, is_random, label
from fc2conv.verification.saturation import make_exact

hush()


class RefusedError(Exception):
    """onnxruntime does not run the model; the message is its first line."""


class DiedError(RefusedError):
    """An earlier child died of the run that was to be made, as the `limit` says."""

    def __init__(self, message: str, limit: LimitError) -> None:
        super().__init__(message)
        self.limit = limit


class LackingError(RefusedError):
    """onnxruntime knows an operator, but implements it for other element types only."""


class Session:
    """One model, open for runs; on the CPU and with optimizations off, unless asked otherwise."""

    def __init__(
        self, file: ModelFile, extra: Sequence[str] = (), optimized: bool = False, providers: Sequence[str] = ()
    ) -> None:
        model, folder = runnable(file)
        _seed(model)
        if saturates():
            make_exact(model)
        there = {v.name for v in model.graph.output}
        model.graph.output.extend(ValueInfoProto(name=name) for name in dict.fromkeys(extra) if name not in there)
        self.names = [v.name for v in model.graph.output]
        note("onnxruntime, opening the model")
        with _refusing():
            self._session = _opened(model, folder, optimized, providers)

    def run(self, feeds: Feeds, names: Sequence[str] | None = None) -> list[Any]:
        """Run the model and return the values of `names`, or of all outputs."""
        note("onnxruntime, running the model")
        return self._run(feeds, names)

    def attempt(self, feeds: Feeds, names: Sequence[str]) -> list[Any]:
        """Run as `run`, where inputs of other sizes would do; raise DiedError for sizes of which another child died."""
        sizes = ", ".join(str([*array.shape]) for array in feeds.values())
        if died := attempt(f"onnxruntime, running the model on {sizes}"):
            raise DiedError(f"{died.message}, on inputs of {sizes}", died)
        found = self._run(feeds, names)
        note("verifying")
        return found

    def _run(self, feeds: Feeds, names: Sequence[str] | None) -> list[Any]:
        wanted = self.names if names is None else list(names)
        distinct = [*dict.fromkeys(wanted)]
        with _refusing():
            found = dict(zip(distinct, self._session.run(distinct, feeds), strict=True))
        return [found[name] for name in wanted]


@contextmanager
def _refusing() -> Iterator[None]:
    """Guard a call: raise RefusedError, or LimitError for what the system lacks, which says nothing of the model."""
    try:
        yield
    except REFUSALS as error:
        said = _first_line(error)
        found = said_by(said)
        if isinstance(found, LimitError) and found.limit == "system":
            raise found from error
        raise (LackingError if isinstance(error, state.NotImplemented) else RefusedError)(said) from error


@contextmanager
def room_for_feeds() -> Iterator[None]:
    """Guard the making of inputs: refuse those that are too large, as numpy has no array of 2**63 bytes."""
    try:
        yield
    except (MemoryError, ValueError) as error:
        raise RefusedError(f"its inputs are too large ({error})") from error


Kind = tuple[int, tuple[int, ...] | None]
_MOST_SHOWN = 1 << 22
SHAPED_BY_VALUES = ("NonZero", "Unique", "Compress", "NonMaxSuppression", "BeamSearch", "GreedySearch", "Sampling")


def node_kinds(
    node: NodeProto,
    opsets: Mapping[str, int],
    operands: Sequence[tuple[int, tuple[int, ...], NDArray[Any] | None] | None],
) -> list[Kind]:
    """Return type and shape of each result of one node, by runs on zeros and on ones with the values that are known.

    A shape that depends on the values is not known.
    """
    unknown: list[Kind] = [(0, None)] * len(node.output)
    known = [each for each in operands if each is not None]
    if node.op_type in SHAPED_BY_VALUES or sum(int(np.prod(each[1])) for each in known) > _MOST_SHOWN:
        return unknown
    note("onnxruntime", label(node))
    try:
        made, again = (
            run_alone(node, opsets, [each and _of_kind(*each, fill) for each in operands], _opened)
            for fill in (np.zeros, np.ones)
        )
    except REFUSALS:
        return unknown
    pairs = zip(map(_kind_of, made), map(_kind_of, again), strict=True)
    return [one if one == other else (one[0], None) for one, other in pairs]


def _of_kind(kind: int, shape: tuple[int, ...], value: NDArray[Any] | None, fill: Callable[..., Any]) -> NDArray[Any]:
    return fill(shape, helper.tensor_dtype_to_np_dtype(kind)) if value is None else value.reshape(shape)


def _kind_of(value: Any) -> Kind:
    return (
        (int(helper.np_dtype_to_tensor_dtype(value.dtype)), value.shape) if isinstance(value, np.ndarray) else (0, None)
    )


@lru_cache(maxsize=1)
def saturates() -> bool:
    """Return whether this processor adds products of unsigned and signed bytes in 16 bits (see `saturation`)."""
    text = "g (uint8[1,16] x, int8[16,16] w) => (int32[1,16] y) { y = MatMulInteger (x, w) }"
    model = helper.make_model(parser.parse_graph(text), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    weights = numpy_helper.from_array(np.full((16, 16), 127, np.int8), "w")
    model.graph.initializer.append(weights)
    del model.graph.input[1]
    return bool((_opened(model).run(None, {"x": np.full((1, 16), 255, np.uint8)})[0] != 255 * 127 * 16).any())


def check_providers(names: Sequence[str]) -> None:
    """Raise UsageError for an execution provider that this onnxruntime does not have."""
    there = ort.get_available_providers()
    for name in names:
        if name not in there:
            raise UsageError(f"onnxruntime has no provider {name!r} here", f"it has {', '.join(there)}")


_libraries: tuple[str, ...] = ()
"""Libraries with custom operators for every session."""


def use_libraries(paths: Sequence[str]) -> None:
    """Give every later session the custom operators of these libraries, and of no others.

    A library is a program: what is in it runs. Raise UsageError for a library that onnxruntime cannot load.
    """
    global _libraries
    _libraries = ()
    found = []
    for path in paths:
        note(f"onnxruntime, loading {path}")
        there = os.path.exists(path)  # else the system's loader looks for it
        try:
            if there:
                opened(path).close()  # a FIFO never opens
            found.append(str(Path(path).absolute()) if there else path)
            ort.SessionOptions().register_custom_ops_library(os.fsencode(found[-1]))
        except (OSError, *REFUSALS) as error:
            what = f"--custom-op-library {path} cannot be loaded ({_first_line(error)})"
            raise UsageError(
                what, "give a library that is built for this system" if there else "check the path"
            ) from error
    _libraries = tuple(found)


def _opened(model: ModelProto, folder: object = None, optimized: bool = False, providers: Sequence[str] = ()) -> Any:
    """Open a session; `folder` holds the model's data files."""
    names = list(providers) or ["CPUExecutionProvider"]
    return ort.InferenceSession(model.SerializeToString(), _options(folder, optimized), providers=names)


def _options(folder: object, optimized: bool = False) -> Any:
    options = ort.SessionOptions()
    for path in _libraries:
        options.register_custom_ops_library(os.fsencode(path))
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.log_severity_level = 4  # what is fatal
    options.add_session_config_entry("session.x64quantprecision", "1")  # of what is fused; see `saturation`
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():
        options.intra_op_num_threads = int(threads)
    options.add_session_config_entry("session.disable_prepacking", "1")  # a packed weight would be a copy in memory
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return options


def _seed(model: ModelProto) -> None:
    """Seed random nodes by the name of their result, so that they draw the same numbers in both models."""
    for node in filter(is_random, all_nodes(model)):
        if not any(a.name == "seed" for a in node.attribute):
            seed = zlib.crc32(node.output[0].encode()) & 0x7FFFFF
            node.attribute.append(helper.make_attribute("seed", seed if node.op_type == "Dropout" else float(seed)))


def _first_line(error: Exception) -> str:
    said = error.object.decode("utf-8", "backslashreplace") if isinstance(error, UnicodeDecodeError) else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0]
