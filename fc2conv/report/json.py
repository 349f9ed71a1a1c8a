"""The report as JSON, and the schema that it keeps (report/schema.json, made from the types by `schema`)."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any, TypeVar

import msgspec

from fc2conv.io.parsing import of_json
from fc2conv.report.types import SCHEMA_VERSION, BatchReport, Comparison, Document, Failure, Report

_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def render(document: Document | Failure) -> bytes:
    """`document` as one line of ASCII JSON with sorted keys and a newline: one more makes it JSON Lines.

    Nothing in it can act on a terminal, and a number that is not finite is null. The same document
    gives the same bytes.
    """
    if not isinstance(document, BatchReport):
        return line(document)
    rows = b",".join(line(row).rstrip() for row in document.rows)  # one at a time: thousands of rows are large as dicts
    return line(msgspec.structs.replace(document, rows=[])).replace(b'"rows":[]', b'"rows":[%s]' % rows, 1)


def line(struct: msgspec.Struct) -> bytes:
    """Any struct as `render` writes it."""
    plain = _without_nan(msgspec.to_builtins(struct))
    return json.dumps(plain, sort_keys=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def of_line(text: bytes, kind: type[_Kind]) -> _Kind:
    """The struct that `line` wrote; raises ValueError for other text. Strings may hold lone surrogates."""
    return msgspec.convert(of_json(text), kind)


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of what `render` writes: a Report, a Comparison, a BatchReport or a Failure."""
    kinds = [Report, Comparison, BatchReport, Failure]
    documents, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for definition in definitions.values():
        definition["description"] = " ".join(inspect.cleandoc(definition["description"]).split())
        for field in definition.get("properties", {}).values():
            if "anyOf" in field:  # versions of msgspec differ in the order
                field["anyOf"].sort(key=json.dumps)
    return {
        "$schema": _DIALECT,
        "title": f"fc2conv report, schema_version {SCHEMA_VERSION}",
        "oneOf": list(documents),
        "$defs": definitions,
    }


def schema_file() -> str:
    """The text of report/schema.json."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def _without_nan(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _without_nan(item) for key, item in value.items()}
        case list():
            return [_without_nan(item) for item in value]
    return value
