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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

from fc2conv.errors import LimitError
from fc2conv.io.files import resolved
from fc2conv.io.workspace import sweep
from fc2conv.options import HeatmapOptions, Limits, Options, VerifyOptions, chosen
from fc2conv.sandbox import contained
from fc2conv.sandbox.process import stops_held

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from fc2conv.report.sliding import MapBytes, Seen, Unseen
    from fc2conv.report.trace import TraceNode
    from fc2conv.report.types import Report, Verification

Model: TypeAlias = Union[str, os.PathLike[str], "ModelProto"]
Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Conversion:
    """What a conversion gave: the report, and the model itself where no output path was named."""

    report: Report
    model: ModelProto | None = None


def convert(
    model: Model,
    output: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    **given: Any,
) -> Conversion:
    """Convert the fully connected layers of a model to convolutions, prove the result, and write it to `output`.

    Without `output` the converted model is returned instead; the argument is never changed. Any field of `Options` may
    be given by its name: `convert(model, scope="all")`. `progress` is called with
    what is being done, whenever that changes. Raises InputError for a model that cannot be read, MismatchError and
    InconclusiveError where the proof fails (nothing is written then, and their `report` tells what was found),
    OutputError where the result cannot be written (what stood there is intact) or returned (more than 2 GiB), and
    LimitError where a limit is reached or a native library crashes (what stands there is the old output or the whole
    new one).
    """
    options = chosen(Options, options, given)
    with _swept(output), _swept(options.verification.failing_inputs):
        report, rest = _done(progress, options.limits, _convert, model, output, options)
    if output is not None:
        return Conversion(report)
    from onnx import ModelProto

    return Conversion(report, ModelProto.FromString(rest))


def plan(model: Model, options: Options | None = None, *, progress: Progress | None = None, **given: Any) -> Report:
    """Decide for every fully connected layer of a model, and write nothing; options and errors as in `convert`."""
    options = chosen(Options, options, given)
    return _done(progress, options.limits, _plan, model, options)[0]


def trace(model: Model, nodes: Sequence[str] = (), options: Options | None = None, **given: Any) -> list[TraceNode]:
    """List what the analysis found of each node (of those whose names match a pattern), and what the plan decided.

    Raises InputError as `convert` does, and UsageError for a pattern that matches no node.
    """
    options = chosen(Options, options, given)
    return _done(None, options.limits, _trace, model, tuple(nodes), options)[0]


def verify(
    a: Model, b: Model, options: VerifyOptions | None = None, *, progress: Progress | None = None, **given: Any
) -> Verification:
    """Compare two models of the same signature, and proves the layers that `b` has as convolutions.

    With a certificate in the options a last check, `recorded`, differs where the two models are not its files, or where
    they are not proved as they were. Raises InputError and LimitError as `convert` does.
    """
    options = chosen(VerifyOptions, options, given)
    with _swept(options.failing_inputs):
        return _done(progress, options.limits, _verify, a, b, options)[0]


def heatmap(
    model: str | os.PathLike[str],
    image: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: HeatmapOptions | None = None,
    **given: Any,
) -> Seen:
    """Run a sliding network on a picture, and write the picture with the scores of one class or several over it.

    Raises InputError for a model that fc2conv has not made fully convolutional, or a picture that cannot be read or is
    too small, UsageError for an output or a class that is not there, OutputError where nothing can be written, and
    LimitError as `convert` does.
    """
    options = chosen(HeatmapOptions, options, given)
    with _swept(output):
        return _done(None, options.limits, _heatmap, model, image, output, options)[0]


def heatmaps(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: HeatmapOptions | None = None,
) -> list[Seen | Unseen]:
    """Does as `heatmap` for every picture in a folder, and writes `NAME.png` for each into the folder `output`.

    A picture that cannot be read or is too small is an `Unseen` in the list.
    """
    options = options or HeatmapOptions()
    with _swept(os.path.join(output, "x.png")):  # noqa: PTH118  # no pathlib where start-up counts
        return _done(None, options.limits, _heatmaps, model, folder, output, options)[0]


def run_sliding(
    model: str | os.PathLike[str],
    image: NDArray[Any],
    memory_limit: int | None = None,
    *,
    output: str | None = None,
    timeout: float | None = None,
) -> NDArray[Any]:
    """Returns the map [N, M, *S] that a sliding network gives of an image, a signal or a volume of any size.

    `image` is as the network takes it, and becomes its element type. Where the run would take more than `memory_limit`
    bytes, the image is run in tiles; their cells are those of the whole image but for the order of sums. `output` names
    another map than the first. Raises InputError and UsageError as `heatmap` does, and LimitError where no tile fits
    or where tiles would give another map because the network pools over the whole image.
    """
    found: MapBytes
    found, rest = _done(None, Limits(timeout, memory_limit), _sliding, model, image, output)
    import numpy as np

    return np.frombuffer(rest, found.dtype).reshape(found.shape)


# ------------------------------------------------------------------ in the child


def _convert(model: Model, output: str | os.PathLike[str] | None, options: Options) -> tuple[Report, bytes]:
    from fc2conv import pipeline as flow

    report, converted = flow.convert(model, output, options)
    return report, b"" if converted is None else converted.SerializeToString()


def _plan(model: Model, options: Options) -> tuple[Report, bytes]:
    from fc2conv import pipeline as flow

    return flow.plan(model, options), b""


def _trace(model: Model, nodes: Sequence[str], options: Options) -> tuple[list[TraceNode], bytes]:
    from fc2conv import pipeline as flow

    return flow.trace(model, nodes, options), b""


def _verify(a: Model, b: Model, options: VerifyOptions) -> tuple[Verification, bytes]:
    from fc2conv import pipeline as flow

    return flow.verify(a, b, options), b""


def _heatmap(model: Model, *rest: Any) -> tuple[Seen, bytes]:
    from fc2conv.fcn import picture

    return picture.heatmap(model, *rest), b""


def _heatmaps(model: Model, *rest: Any) -> tuple[list[Seen | Unseen], bytes]:
    from fc2conv.fcn import picture

    return picture.heatmaps(model, *rest), b""


def _sliding(model: Model, image: NDArray[Any], output: str | None) -> tuple[MapBytes, bytes]:
    from fc2conv.fcn.tiles import run_sliding
    from fc2conv.report.sliding import MapBytes

    assert not hasattr(model, "graph")
    cells = run_sliding(model, image, output)
    return MapBytes(shape=list(cells.shape), dtype=cells.dtype.str), cells.tobytes()


# ------------------------------------------------------------------ in the parent

_T = TypeVar("_T")
_calls = itertools.count()


def load() -> None:
    """Imports what the work on most models needs, so that those who do many do not import it in each child."""
    from fc2conv import pipeline as flow  # noqa: F401
    from fc2conv.verification.nodes import prepare

    prepare()


def _done(
    progress: Progress | None, limits: Limits, work: Callable[..., tuple[_T, bytes]], model: Model, *rest: object
) -> tuple[_T, memoryview]:
    """What the work gives; a limit that it met is told with the model's name."""
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
    """Tells of a model in memory that protobuf cannot write, where a child that is no fork has to be sent it."""
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
    """Removes what a child that was killed has left beside the output."""
    try:
        yield
    except BaseException:
        if output is not None:
            with stops_held():
                sweep(resolved(output).parent)
        raise
