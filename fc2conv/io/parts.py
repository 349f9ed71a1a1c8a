"""The names of models' files, usable or not, which must be apart from everything else that is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto

from fc2conv.errors import InputError
from fc2conv.io.apart import Role, check_apart, check_written, failing_inputs, reports
from fc2conv.io.files import Name
from fc2conv.io.reader import external_locations
from fc2conv.io.staged import Staged
from fc2conv.options import VerifyOptions


def parts_of(path: Name, what: str = "the model") -> list[Role]:
    """Return a model file and each data file that it names, existing or not; `what` is the model's role in the work."""
    try:
        locations = external_locations(Path(path))
    except InputError:
        locations = []
    folder = Path(path).parent
    return [(what, path), *((f"a data file of {what}", folder / each) for each in locations if "\0" not in each)]


def check_files(
    options: VerifyOptions, models: Sequence[Name | bytes | ModelProto], output: Name | None = None
) -> None:
    """Raise an error, before the work, for a file that cannot be written, or that a model names.

    Read the models only where something besides OUT may be written. Raise the errors of `check_written`.
    """
    paths = [each for each in models if not isinstance(each, ModelProto | bytes)]
    if not options.reports and options.failing_inputs is None:
        check_written(options, [], [] if output is None else [("the output", output)])
        return
    read = [role for path in paths for role in parts_of(path)]
    check_written(options, read, [] if output is None else parts_of(output, "the output"))


def check_data_files(options: VerifyOptions, staged: Staged) -> None:
    """Raise OverlapError where something is to be written over a data file that is published with a model."""
    ours = [("a data file of the output", path) for path in staged.data_files]
    check_apart([*reports(options), *failing_inputs(options)], ours)
