"""A model on its way through the stages: what was read, planned and rewritten, and how long each stage took."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from typing import TYPE_CHECKING

from onnx import ModelProto

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, UsageError
from fc2conv.fcn.stage import freed, prepared
from fc2conv.io.choices import check_outputs, check_patterns, check_shapes
from fc2conv.io.custom_ops import state_shapes
from fc2conv.io.forms import declared_shapes
from fc2conv.io.reader import ModelFile, model_file_from_proto, read_model
from fc2conv.ir.graph import op
from fc2conv.ir.layer_operators import CONVOLUTIONS
from fc2conv.ir.schema import check_valid
from fc2conv.ir.shapes import inner_values
from fc2conv.ir.validate import check_model
from fc2conv.options import Options
from fc2conv.planning.planner import Plan
from fc2conv.reasons import Code
from fc2conv.report.sliding import SlidingReport
from fc2conv.rewrite.model import named_layers
from fc2conv.rewrite.scopes import Rewritten
from fc2conv.rewrite.signature import rewrite_signed
from fc2conv.sandbox import allow, note
from fc2conv.targets.chosen import conv_rank, profile_of

if TYPE_CHECKING:
    from fc2conv.fcn.model import Slid

Model = str | os.PathLike[str] | bytes | ModelProto
_DOING = {"load": "reading", "convert": "converting", "write": "writing", "verify": "verifying"}


@dataclass(frozen=True)
class Work:
    """What became of a model: its plans, the converted model, and the sliding one with its report.

    `read` is the file as it was read, `file` the model with the signature that it was to have.
    """

    file: ModelFile
    plans: Sequence[Plan]
    rewritten: Rewritten | None
    read: ModelFile
    slid: Slid | None = None
    sliding: SlidingReport | None = None

    @property
    def made(self) -> Rewritten | Slid | None:
        """What is written; None where the model stays as it is."""
        return self.slid or self.rewritten


@dataclass
class Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        note(_DOING[name])
        start = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 4)


def load(model: Model) -> ModelFile:
    file = model_file_from_proto(model) if isinstance(model, ModelProto | bytes) else read_model(model)
    allow(file.nbytes)
    with named(file):
        check_model(file.model)
        check_valid(file.model)
    return file


@contextmanager
def named(file: ModelFile) -> Iterator[None]:
    """Name the file in errors about the model in it."""
    try:
        yield
    except (InputError, UsageError) as error:
        if file.path is not None and not error.message.startswith(str(file.path)):
            error.message = f"{file.path}: {error.message}"
        raise


def worked(file: ModelFile, options: Options) -> Work:
    with named(file):
        declared = declared_shapes(file.model)
        values, called = inner_values(file.model), bool(file.model.functions)
        check_shapes(options.input_shapes, declared, {*values, *(options.input_shapes if called else ())})
        inner = {name: shape for name, shape in options.input_shapes.items() if name not in declared}
        file = replace(file, model=state_shapes(file.model, inner)) if inner else file
        own = options.verification.input_shapes.items() - options.input_shapes.items()
        check_shapes(dict(own), declared)
        check_outputs(options.verification.per_output, [each.name for each in file.model.graph.output])
        found = _converted(file, options, called)
        if found.sliding is None or not _mixed(found.sliding) or not _of_tokens(file, options):
            return found
        rows = _converted(file, replace(options, conv_rank="1d"), called)
        return found if rows.sliding is None or _mixed(rows.sliding) else rows


def _converted(read: ModelFile, options: Options, called: bool) -> Work:
    """Plan and rewrite the model, and free it of the size of its images where that is asked for."""
    file, plans, rewritten = rewrite_signed(prepared(read, options), options)
    if called:  # a function's values have names of their own where its nodes replace the call
        values = inner_values(read.model).union(*(plan.graph.producer for plan in plans))
        check_shapes(options.input_shapes, declared_shapes(read.model), values)
    check_patterns(options, *named_layers(plans))
    if options.sliding is None:
        return Work(file, plans, rewritten, read)
    sliding, slid = freed(file, rewritten, plans, options)
    return Work(file, plans, rewritten, read, slid, sliding)


def _of_tokens(file: ModelFile, options: Options) -> bool:
    """Return whether nothing says that tokens are cells of a picture: no convolution, and no rank asked for."""
    convolves = any(op(node) in CONVOLUTIONS for node in file.model.graph.node)
    return not convolves and conv_rank(options, profile_of(options)) == "auto"


def _mixed(sliding: SlidingReport) -> bool:
    """Return whether cells and channels are mixed on the way, as where tokens become a picture of one size."""
    return any(each.code == Code.SIZES_MIXED.value for each in sliding.obstacles)
