"""A manifest: a CSV, JSON or YAML file that names models, and options for some of them."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fc2conv.batch import stores
from fc2conv.batch.remote import is_url, place
from fc2conv.batch.staging import inner_path
from fc2conv.batch.stores import RUN_FOLDER
from fc2conv.batch.tasks import Item
from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError, UsageError
from fc2conv.io.files import opened
from fc2conv.io.parsing import of_json, of_yaml

SUFFIXES = (".csv", ".json", ".yaml", ".yml")
_MODEL, _OUTPUT = "model", "output"


@dataclass(frozen=True)
class Entry:
    """One model of a manifest, its own options (as written there), and its place in the file."""

    item: Item
    given: Mapping[str, Any]
    where: str


def is_manifest(source: str) -> bool:
    """Return whether SRC names a manifest: a file with the suffix of one."""
    return source.lower().endswith(SUFFIXES) and not is_url(source) and not os.path.isdir(source)


def read_manifest(source: str) -> list[Entry]:
    """Return the models of a manifest by name; paths are relative to its folder.

    Each entry has `model`, and may have `output`, the path below DST; the other keys are options. Raise InputError
    where it cannot be read or is no list of entries of this form, UsageError where a name is missing, unsafe or used
    twice.
    """
    path = Path(source)
    try:
        with opened(path) as stream:
            text = stream.read()
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror})", "check the path") from error
    entries = [_entry(path, where, fields) for where, fields in _records(path, text)]
    if not entries:
        raise InputError(f"{source} names no model", f"each entry has a {_MODEL!r}")
    seen: dict[str, str] = {}
    for entry in entries:
        if (first := seen.setdefault(entry.item.name, entry.where)) != entry.where:
            what = f"{entry.where}: the output {entry.item.name!r} is that of {first} as well"
            raise UsageError(what, f"give each an {_OUTPUT!r} of its own")
    return sorted(entries, key=lambda entry: entry.item.name)


def refuse_replacing(source: str, entries: Iterable[Entry], destination: str) -> None:
    """Raise UsageError for an entry whose output below DST is the manifest, or the model of another entry."""
    models = {place(entry.item.location): entry for entry in entries}
    for entry in entries:
        target = place(stores.destination(destination).place(entry.item.name))
        other = models.get(target, entry)
        if other is not entry or target == place(source):
            also = f"the model of {other.where}" if other is not entry else "the manifest"
            what = f"{entry.where}: the output {entry.item.name!r} is {also}"
            raise UsageError(what, f"name another DST, or give it another {_OUTPUT!r}")


def _records(path: Path, text: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each entry and its place in the file."""
    if path.suffix.lower() == ".csv":
        yield from _lines(path, text)
        return
    try:
        whole = of_json(text) if path.suffix.lower() == ".json" else of_yaml(text)
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error})", "correct the manifest") from error
    if not isinstance(whole, list):
        raise InputError(f"{path} is no list of models", f'write [{{"{_MODEL}": "a.onnx"}}, ...]')
    for number, entry in enumerate(whole, 1):
        where = f"{path}: entry {number}"
        fields = {_MODEL: entry} if isinstance(entry, str) else entry
        if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
            raise InputError(f"{where} is no model", f'write {{"{_MODEL}": "a.onnx"}}')
        for key, value in fields.items():
            for each in value if isinstance(value, list) else [value]:
                _check_value(f"{where}: {key!r}", each)
        yield where, fields


def _check_value(what: str, value: object) -> None:
    """Raise InputError for a value that cannot be a word of a command line."""
    if "\0" in str(value):
        raise InputError(f"{what} holds a NUL", "write it as on the command line")
    if isinstance(value, dict | list):
        raise InputError(f"{what} is no value nor a list of values", "write it as on the command line")
    try:
        os.fsencode(str(value))
    except UnicodeEncodeError as error:
        raise InputError(f"{what} has a character that is not UTF-8 ({error.reason})", "write it in UTF-8") from None


def _lines(path: Path, text: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        table = csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline=""), strict=True)
        if twice := [name for name, count in Counter(table.fieldnames or ()).items() if count > 1]:
            raise InputError(f"{path} has two columns {twice[0]!r}", "give each a name of its own")
        for fields in table:
            where = f"{path}: line {table.line_num}"
            if None in fields:
                raise InputError(f"{where} has more cells than the header", "correct the manifest")
            yield where, {key: value for key, value in fields.items() if value}
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})", "write CSV in UTF-8") from error


def _entry(manifest: Path, where: str, fields: Mapping[str, Any]) -> Entry:
    given = dict(fields)
    model, output = given.pop(_MODEL, None), given.pop(_OUTPUT, None)
    if not isinstance(model, str) or not model:
        raise UsageError(f"{where} has no {_MODEL!r}", "name the model's file")
    if not isinstance(output, str | None):
        raise UsageError(f"{where}: {_OUTPUT!r} is not a path", "write it as text")
    remote = is_url(model)
    inner = inner_path((output or (model.rpartition("/")[2] if remote else model)).replace(os.sep, "/"))
    if inner is None or inner.parts[0].startswith(RUN_FOLDER):
        raise UsageError(f"{where}: {output or model!r} is no path below DST", f"give an {_OUTPUT!r} that is")
    location = model if remote else os.path.join(manifest.parent, model)  # noqa: PTH118 (a path is kept as written)
    return Entry(Item(name=str(inner), kind="url" if remote else "file", location=location), given, where)
