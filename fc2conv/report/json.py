"""The report as JSON, which matches the schema in report/schema.json."""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

import msgspec

from fc2conv.io.parsing import of_json
from fc2conv.report.types import BatchReport, Document, Failure

_Kind = TypeVar("_Kind", bound=msgspec.Struct)


def render(document: Document | Failure) -> bytes:
    """Write `document` as one line of ASCII JSON with sorted keys and a newline, so that several make JSON Lines.

    No text in it can act on a terminal, and a number that is not finite is null. The same document gives the same
    bytes.
    """
    if not isinstance(document, BatchReport):
        return line(document)
    rows = b",".join(line(row).rstrip() for row in document.rows)  # one at a time: thousands of rows are large as dicts
    return line(msgspec.structs.replace(document, rows=[])).replace(b'"rows":[]', b'"rows":[%s]' % rows, 1)


def line(struct: msgspec.Struct) -> bytes:
    """Write any struct as `render` does."""
    plain = _without_nan(msgspec.to_builtins(struct))
    return json.dumps(plain, sort_keys=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def of_line(text: bytes, kind: type[_Kind]) -> _Kind:
    """Return the struct that `line` wrote; raise ValueError for other text. Strings may hold lone surrogates."""
    return msgspec.convert(of_json(text), kind)


def _without_nan(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _without_nan(item) for key, item in value.items()}
        case list():
            return [_without_nan(item) for item in value]
    return value
