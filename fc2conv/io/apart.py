"""The files that one run reads and writes: which must not be the same file, by name, through links or by hard links."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from fc2conv.errors import OverlapError
from fc2conv.io.escape import shown
from fc2conv.io.files import Name, check_folder, checked_target, identities
from fc2conv.options import VerifyOptions, input_file

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
