"""Remote stores, by fsspec: s3://, gs://, http://, memory:// and others that are installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fc2conv.errors import Fc2convError, InputError, UsageError
from fc2conv.io.files import resolved

MAGIC = frozenset("*?[")


def is_url(text: str) -> bool:
    """Return whether a text names a place in a store and not on this machine's disks."""
    return "://" in text


def in_memory(text: str) -> bool:
    """Return whether a text names a place that only this process knows."""
    return text.startswith("memory://")


def store(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it; raise UsageError where no installed package knows it."""
    try:
        import fsspec  # type: ignore[import-untyped]
    except ImportError as error:
        raise UsageError(f"{url} needs fsspec", "pip install 'fc2conv[remote]'") from error
    try:
        found, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{url}: {error}", "install what fsspec needs for it, or check the URL") from error
    return found, str(path)


def place(where: str) -> Path:
    """Return one path for a place, however it is written: links resolved, or the URL that its store gives it."""
    if is_url(where):
        files, path = store(where)
        url = str(files.unstrip_protocol(path))
        if not url.startswith("file://"):
            return Path(url)
        where = path
    return resolved(where)


@contextmanager
def opened(url: str) -> Iterator[BufferedReader]:
    """Open a file of a store for reading; raise OSError where it does not exist or cannot be reached."""
    files, path = store(url)
    with as_os_error(), files.open(path, "rb") as stream:
        yield stream


@contextmanager
def as_os_error() -> Iterator[None]:
    """Convert an error of a store, whose type is that of a library that need not be installed, into an OSError."""
    try:
        yield
    except (OSError, Fc2convError, MemoryError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def listed(url: str) -> list[tuple[str, str]]:
    """Return the models that a URL means, as (name below it, URL); raise InputError where it cannot be listed."""
    files, path = store(url)
    try:
        with as_os_error():
            if MAGIC & set(path):
                base = path[: min(path.index(each) for each in MAGIC if each in path)].rpartition("/")[0]
                paths = files.glob(path)
            elif path.lower().endswith(".onnx"):
                base, paths = path.rpartition("/")[0], [path]
            else:
                base = path.rstrip("/")
                paths = [each for each in files.find(base + "/") if each.lower().endswith(".onnx")]
    except OSError as error:
        raise InputError(f"{url} cannot be listed ({error})", "check the URL and that it can be reached") from error
    quoted = url.startswith(("http://", "https://"))
    names = ((unquote(each) if quoted else each, each) for each in sorted(map(str, paths)))
    return [(name[len(base) :].lstrip("/"), str(files.unstrip_protocol(each))) for name, each in names]
