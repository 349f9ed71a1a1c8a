"""The files that one run reads and writes: which must not be the same file, by name, through links or by hard links."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fc2conv.errors import InputError, OverlapError
from fc2conv.io.escape import shown
from fc2conv.io.files import Name, check_folder, checked_target, identities
from fc2conv.options import VerifyOptions, input_file

if TYPE_CHECKING:
    from onnx import ModelProto

    from fc2conv.io.staged import Staged

Role: TypeAlias = tuple[str, Name]
"""What a file is to the work, for example "the report", and its path."""


def check_apart(written: Iterable[Role], others: Iterable[Role]) -> None:
    """Raise OverlapError for a file to be written that is one of `others` as well, or is written twice."""
    taken = {identity: role for role in reversed([*others]) for identity in identities(role[1])}
    for role, path in written:
        own = identities(path)
        for what, other in (taken[each] for each in own if each in taken):
            also = what if os.fspath(other) == os.fspath(path) else f"{what} ({shown(other)})"
            raise OverlapError(f"{role} {shown(path)} would be written over {also}", "give it another name")
        taken |= dict.fromkeys(own, (role, path))


def check_written(
    options: VerifyOptions, models: Iterable[Role], output: Iterable[Role] = (), also_read: Iterable[Role] = ()
) -> None:
    """Raise an error, before the work, for a file that cannot be written or that is another file of the work.

    `models` are the files of the models, `output` the files that exist for OUT and its data. OUT may be the model, but
    no other file that is read.
    """
    known = [*models, *also_read, *reads(options), *output]
    check_apart(list(output)[:1], [*also_read, *reads(options), *inputs(options)])
    check_apart(reports(options), [*known, *inputs(options)])
    check_apart(failing_inputs(options), [*known, *reports(options)])  # those that were loaded stay as they are
    for _, path in reports(options):
        checked_target(path)
    for _, path in failing_inputs(options):
        check_folder(Path(path).parent)
        if os.path.lexists(path):
            checked_target(path)


def check_files(
    options: VerifyOptions, models: Sequence[Name | bytes | ModelProto], output: Name | None = None
) -> None:
    """Do as `check_written`, also for the data files that models and output name.

    Read the models only where something besides OUT may be written.
    """
    if not options.reports and options.failing_inputs is None:
        check_written(options, [], [] if output is None else [("the output", output)])
        return
    read = [role for each in models if isinstance(each, str | os.PathLike) for role in parts_of(each)]
    check_written(options, read, [] if output is None else parts_of(output, "the output"))


def check_data_files(options: VerifyOptions, staged: Staged) -> None:
    """Raise OverlapError where something is to be written over a data file that is published with a model."""
    ours = [("a data file of the output", path) for path in staged.data_files]
    check_apart([*reports(options), *failing_inputs(options)], ours)


def parts_of(path: Name, what: str = "the model") -> list[Role]:
    """Return a model file and each data file that it names, existing or not; `what` is the model's role in the work."""
    from fc2conv.io.reader import external_locations  # with onnx, which the command line does not need

    try:
        locations = external_locations(Path(path))
    except InputError:
        locations = []
    folder = Path(path).parent
    return [(what, path), *((f"a data file of {what}", folder / each) for each in locations if "\0" not in each)]


def reads(options: VerifyOptions) -> list[Role]:
    """Return the files that a comparison reads beside the models and the inputs."""
    certificate: list[Role] = [("the certificate", options.certificate)] if options.certificate is not None else []
    return [*(("the library", each) for each in options.custom_op_libraries), *certificate]


def inputs(options: VerifyOptions) -> list[Role]:
    """Return the files of inputs that a comparison runs."""
    return [("the inputs", input_file(each)[1]) for each in options.load_inputs]


def reports(options: VerifyOptions) -> list[Role]:
    """Return the files to which reports are written."""
    return [("the report", each) for each in options.reports]


def failing_inputs(options: VerifyOptions) -> list[Role]:
    """Return the file to which failing inputs are written, as a list; an empty list if no file is."""
    return [("the file of failing inputs", options.failing_inputs)] if options.failing_inputs is not None else []
