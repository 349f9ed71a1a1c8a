"""convert, plan and verify as a caller has them: each is done in a process of its own, with limits.

Nothing heavy is imported here, so that the first child is forked from a small process; whoever calls again has the
libraries imported once, in this one.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from fc2conv import system
from fc2conv.dataclass import dataclass
from fc2conv.errors import LimitError
from fc2conv.io.files import resolved
from fc2conv.io.sources import Model, Source, path_of, source_of
from fc2conv.io.workspace import sweep
from fc2conv.options import HeatmapOptions, Limits, Options, VerifyOptions, chosen
from fc2conv.sandbox import contained

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from fc2conv.report.sliding import MapBytes, Seen, Unseen
    from fc2conv.report.trace import TraceNode
    from fc2conv.report.types import Report, Verification

Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Conversion:
    """What a conversion gave: the report, and the model itself where no output path was named.

    It prints as its report, and shows it in a notebook.
    """

    report: Report
    model: ModelProto | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return str(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def convert(
    model: Model,
    output: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    **given: Any,
) -> Conversion:
    """Convert the fully connected layers of a model to convolutions, prove the result, and write it to `output`.

    `model` is a path, the bytes of a file, a binary file, an `onnx.ModelProto`, an `onnx_ir.Model` or a
    `torch.onnx.ONNXProgram`. It is never changed. Without `output` the result is returned as `Conversion.model`.

    Any field of `Options`, of its `verification` and of its `limits` may be given by its name:
    `convert(model, scope="all", target="dla", rtol=1e-3, timeout=60)`. `progress` is called with each stage.

    Raise InputError for a model that cannot be read. Raise MismatchError and InconclusiveError where the proof fails:
    nothing is written then, and their `report` has what was found. Raise OutputError where the result cannot be
    written or is too large to return, and LimitError where a limit is reached or a native library crashes. In each case
    an older output is intact.
    """
    options = chosen(Options, options, given)
    output = None if output is None else path_of(output)
    with _swept(output), _swept(options.verification.failing_inputs):
        report, rest = _done(progress, options.limits, _convert, source_of(model), output, options)
    if output is not None:
        return Conversion(report)
    from onnx import ModelProto

    return Conversion(report, ModelProto.FromString(rest))


def plan(model: Model, options: Options | None = None, *, progress: Progress | None = None, **given: Any) -> Report:
    """Decide for every fully connected layer of a model, and write nothing; options and errors as in `convert`."""
    options = chosen(Options, options, given)
    return _done(progress, options.limits, _plan, source_of(model), options)[0]


def trace(
    model: Model, nodes: str | Sequence[str] = (), options: Options | None = None, **given: Any
) -> list[TraceNode]:
    """List what the analysis found of each node (of those whose names match a pattern), and what the plan decided.

    Raise InputError as `convert` does, and UsageError for a pattern that matches no node.
    """
    options = chosen(Options, options, given)
    patterns = (nodes,) if isinstance(nodes, str) else tuple(nodes)
    if not all(isinstance(each, str) for each in patterns):
        raise TypeError(f"nodes are patterns of names, and not {patterns!r}")
    return _done(None, options.limits, _trace, source_of(model), patterns, options)[0]


def verify(
    a: Model, b: Model, options: VerifyOptions | None = None, *, progress: Progress | None = None, **given: Any
) -> Verification:
    """Prove that two models are the same function, and compare their results.

    Models and errors are those of `convert`; any field of `VerifyOptions` may be given by its name. With a
    `certificate`, a last check compares the two models and their proof with what it records.
    """
    options = chosen(VerifyOptions, options, given)
    with _swept(options.failing_inputs):
        return _done(progress, options.limits, _verify, source_of(a), source_of(b), options)[0]


def heatmap(
    model: str | os.PathLike[str],
    image: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: HeatmapOptions | None = None,
    **given: Any,
) -> Seen:
    """Run a sliding network on a picture, and write the picture with the scores of one class or several over it.

    Raise InputError for a model that fc2conv has not made fully convolutional, or a picture that cannot be read or is
    too small, UsageError for an output or a class that is not there, OutputError where nothing can be written, and
    LimitError as `convert` does.
    """
    options = chosen(HeatmapOptions, options, given)
    with _swept(output):
        return _done(None, options.limits, _heatmap, path_of(model), path_of(image), path_of(output), options)[0]


def heatmaps(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: HeatmapOptions | None = None,
    **given: Any,
) -> list[Seen | Unseen]:
    """Do as `heatmap` for every picture in a folder, and write `NAME.png` for each into the folder `output`.

    A picture that cannot be read or is too small is an `Unseen` in the list.
    """
    options = chosen(HeatmapOptions, options, given)
    with _swept(os.path.join(output, "x.png")):  # noqa: PTH118  # no pathlib where start-up counts
        return _done(None, options.limits, _heatmaps, path_of(model), path_of(folder), path_of(output), options)[0]


def run_sliding(
    model: str | os.PathLike[str],
    image: NDArray[Any],
    memory_limit: int | None = None,
    *,
    output: str | None = None,
    timeout: float | None = None,
) -> NDArray[Any]:
    """Return the map [N, M, *S] that a sliding network gives of an image, a signal or a volume of any size.

    `image` is as the network takes it, and becomes its element type. Where the run would take more than `memory_limit`
    bytes, the image is run in tiles; their cells are those of the whole image but for the order of sums. `output` names
    another map than the first. Raise InputError and UsageError as `heatmap` does, and LimitError where no tile fits
    or where tiles would give another map because the network pools over the whole image.
    """
    import numpy as np

    found: MapBytes
    found, rest = _done(None, Limits(timeout, memory_limit), _sliding, path_of(model), np.asarray(image), output)
    return np.frombuffer(rest, found.dtype).reshape(found.shape)


# ------------------------------------------------------------------ in the child


def _convert(model: Source, output: str | os.PathLike[str] | None, options: Options) -> tuple[Report, bytes]:
    from fc2conv import pipeline as flow

    report, converted = flow.convert(model, output, options)
    return report, b"" if converted is None else converted.SerializeToString()


def _plan(model: Source, options: Options) -> tuple[Report, bytes]:
    from fc2conv import pipeline as flow

    return flow.plan(model, options), b""


def _trace(model: Source, nodes: Sequence[str], options: Options) -> tuple[list[TraceNode], bytes]:
    from fc2conv import pipeline as flow

    return flow.trace(model, nodes, options), b""


def _verify(a: Source, b: Source, options: VerifyOptions) -> tuple[Verification, bytes]:
    from fc2conv import pipeline as flow

    return flow.verify(a, b, options), b""


def _heatmap(model: str | os.PathLike[str], *rest: Any) -> tuple[Seen, bytes]:
    from fc2conv.fcn import picture

    return picture.heatmap(model, *rest), b""


def _heatmaps(model: str | os.PathLike[str], *rest: Any) -> tuple[list[Seen | Unseen], bytes]:
    from fc2conv.fcn import picture

    return picture.heatmaps(model, *rest), b""


def _sliding(model: str | os.PathLike[str], image: NDArray[Any], output: str | None) -> tuple[MapBytes, bytes]:
    from fc2conv.fcn.tiles import run_sliding
    from fc2conv.report.sliding import MapBytes

    cells = run_sliding(model, image, output)
    return MapBytes(shape=list(cells.shape), dtype=cells.dtype.str), cells.tobytes()


# ------------------------------------------------------------------ in the parent

_T = TypeVar("_T")
_calls = itertools.count()


def load() -> None:
    """Import what the work on most models needs, so that a fork has it; do nothing where the system cannot fork."""
    if not system.FORKS:
        return
    from fc2conv import pipeline as flow  # noqa: F401
    from fc2conv.verification.reference import prepare

    prepare()


def _done(
    progress: Progress | None, limits: Limits, work: Callable[..., tuple[_T, bytes]], model: Source, *rest: object
) -> tuple[_T, memoryview]:
    """Do the work in a child; report a limit that it meets with the model's name."""
    if next(_calls):
        load()
    try:
        with _sent():
            return contained(limits, work, model, *rest, progress=progress)
    except LimitError as error:
        name = os.fspath(model) if isinstance(model, str | os.PathLike) else "the model"
        error.message = f"{name}: {error.message}"
        raise


@contextmanager
def _sent() -> Iterator[None]:
    """Refuse a model in memory that protobuf cannot write, where it must be sent to a child that is not a fork."""
    if "onnx" not in sys.modules:  # then there is no model in memory
        yield
        return
    from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

    try:
        yield
    except EncodeError:
        from fc2conv.io.reader import too_large

        raise too_large() from None


@contextmanager
def _swept(output: str | os.PathLike[str] | None) -> Iterator[None]:
    """Guard the output: where the work stops, remove what a child that was killed has left beside it."""
    try:
        yield
    except BaseException:
        if output is not None:
            with system.deferred_stops():
                sweep(resolved(output).parent)
        raise
