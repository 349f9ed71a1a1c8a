"""What SRC means: a folder, a glob, a model, a ZIP archive, or a URL; each gives items, sorted by name.

A path that only looks like a model gets an item too, with the problem, so that it has its row.
"""

from __future__ import annotations

import glob
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from fc2conv.batch.journal import Shard
from fc2conv.batch.remote import MAGIC, is_url, listed, place
from fc2conv.batch.staging import archive_of, inner_path
from fc2conv.batch.stores import RUN_FOLDER
from fc2conv.batch.tasks import Item
from fc2conv.errors import InputError, UsageError
from fc2conv.io.files import resolved
from fc2conv.options import FAILING_INPUTS

SUFFIX = ".onnx"


def discover(source: str, destination: str) -> list[Item]:
    """Return the models of SRC, without those below DST and the files of earlier runs.

    Raise InputError where SRC does not exist, has no model or cannot be read, UsageError where DST would overwrite it.
    """
    found = sorted(_apart(_found(source, destination)), key=lambda item: item.name)
    if not found:
        raise InputError(f"{source} holds no model", f"models end in {SUFFIX}; a manifest may name others")
    return found


def _apart(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items with unique names: of several of one name in an archive, all but the first get a problem."""
    seen: Counter[str] = Counter()
    for item in items:
        seen[item.name] += 1
        again = f"{item.name} ({seen[item.name]})"
        first = seen[item.name] == 1
        yield item if first else replace(item, name=again, problem="has the name of a model before it")


def of_shard(items: list[Item], shard: Shard | None) -> list[Item]:
    """Return the items of one part of a batch; the part of a model depends on its name alone."""
    if shard is None:
        return items
    return [
        each
        for each in items
        if zlib.crc32(each.name.encode("utf-8", "surrogatepass")) % shard.count == shard.index - 1
    ]


def _found(source: str, destination: str) -> Iterator[Item]:
    path = Path(source)
    if is_url(source):
        yield from _listed(source, destination)
    elif os.path.isdir(path):
        yield from _folder(path, destination)
    elif path.suffix.lower() == ".zip" and os.path.isfile(path):
        yield from _archive(path)
    elif os.path.lexists(path):
        yield Item(name=path.name, kind="file", location=source)
    elif MAGIC & set(source):
        yield from _glob(source, destination)
    else:
        raise InputError(f"{source} does not exist", "give a folder, a glob, a manifest, a ZIP archive or a URL")


def _listed(source: str, destination: str) -> Iterator[Item]:
    """Yield the models that a URL means, without those below DST; one model may be there."""
    several = bool(MAGIC & set(source)) or not source.lower().endswith(SUFFIX)
    apart = _outside(source, destination) if several else None
    for name, url in listed(source):
        if apart is None or not place(url).is_relative_to(apart):
            yield Item(name=name, kind="url", location=url, problem=_problem(name))


def _outside(source: str, destination: str) -> Path:
    """Return the place of DST; raise UsageError where SRC, which holds several models, is in it."""
    apart = place(destination)
    if place(source).is_relative_to(apart):
        raise UsageError(f"SRC {source} is DST {destination}, or in it", "name a DST apart from SRC")
    return apart


def _folder(root: Path, destination: str) -> Iterator[Item]:
    apart = _outside(os.fspath(root), destination)
    problems: list[Item] = []

    def unlisted(error: OSError) -> None:
        name = _below(root, error.filename)
        problem = f"is a folder that may not be listed ({error.strerror})"
        problems.append(Item(name=name, kind="file", location=str(error.filename), problem=problem))

    beside: set[str] = set()
    for folder, folders, files in os.walk(root, onerror=unlisted):
        here = Path(folder)
        if resolved(here) == apart:
            folders.clear()
            continue
        folders[:] = [each for each in folders if not each.startswith(RUN_FOLDER)]
        beside.update(_below(root, here / each) for each in folders if each.lower().endswith(SUFFIX))
        if not folders and files == [FAILING_INPUTS]:
            beside.discard(_below(root, here))
        for each in files:
            if each.lower().endswith(SUFFIX):
                name = (here / each).relative_to(root).as_posix()
                beside -= {parent.as_posix() for parent in Path(name).parents}
                yield Item(name=name, kind="file", location=os.fspath(here / each))
    for name in beside - {each.name for each in problems}:
        yield Item(name=name, kind="file", location=os.fspath(root / name), problem="is a folder")
    yield from problems


def _below(root: Path | str, path: Path | str) -> str:
    """Return the name of a file or folder below another one, with the separator of names."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def _glob(pattern: str, destination: str) -> Iterator[Item]:
    """Yield the items that a glob matches, with names below the last folder before the first special character."""
    pattern = pattern.replace(os.sep, "/")
    base = pattern[: min(pattern.index(each) for each in MAGIC if each in pattern)].rpartition("/")[0]
    root = base or ("/" if pattern.startswith("/") else ".")
    apart = place(destination)
    for found in dict.fromkeys(glob.iglob(pattern, recursive=True)):  # noqa: PTH207 (a path is kept as written)
        name = _below(root, found)
        if resolved(found).is_relative_to(apart) or not (os.path.isfile(found) or found.lower().endswith(SUFFIX)):
            continue
        yield Item(name=name, kind="file", location=found, problem=_problem(name))


def _archive(path: Path) -> Iterator[Item]:
    with archive_of(os.fspath(path)) as archive:
        members = [each.filename for each in archive.infolist() if not each.is_dir()]
    for member in members:
        if member.lower().endswith(SUFFIX):
            problem = _problem(member)
            name = member if problem else str(inner_path(member))
            yield Item(name=name, kind="zip", location=os.fspath(path), member=member, problem=problem)


def _problem(name: str) -> str:
    """Return why no output can have this name; "" where one can."""
    inner = inner_path(name)
    if inner is None:
        return "has a name that leads out of its folder"
    return "has a name that is kept for the journal" if inner.parts[0].startswith(RUN_FOLDER) else ""
