"""Which file an error is of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fc2conv.errors import InputError, UsageError
from fc2conv.io.reader import ModelFile


@contextmanager
def named(file: ModelFile) -> Iterator[None]:
    """Names the file in what is said of the model in it."""
    try:
        yield
    except (InputError, UsageError) as error:
        if file.path is not None and not error.message.startswith(str(file.path)):
            error.message = f"{file.path}: {error.message}"
        raise
