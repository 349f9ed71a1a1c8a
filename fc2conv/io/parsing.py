"""JSON, TOML and YAML that others wrote, as plain values whose nesting has a bound.

The parsers call themselves for each level, and so does much code that walks their values. Text that is nested more
deeply than anything fc2conv reads is refused before either happens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NoReturn

from fc2conv.errors import UsageError

DEPTH = 64
"""Levels of lists and tables; those that fc2conv writes and reads have less than ten."""

_TOML_TEXT = (
    r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?:"{3,5})?'
    r"|'''.*?(?:'{3,5}|\Z)"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
    r"|'[^'\n]*'?|#[^\n]*"
)
"""Strings and comments of TOML, in which a dot joins no keys; one without an end goes as far as it can."""


class NestingError(ValueError):
    def __init__(self) -> None:
        super().__init__(f"it is nested more than {DEPTH} levels deep")


def of_json(text: str | bytes) -> Any:
    """Parse a text in JSON and return its value; raise ValueError. Strings may hold lone surrogates."""
    return _bounded(lambda: json.loads(text, parse_constant=_refuse_constant))


def of_toml(text: str) -> dict[str, Any]:
    """Parse a text in TOML and return its table; raise ValueError."""
    import tomllib

    for key in re.split("[,=\n]", re.sub(_TOML_TEXT, "", text, flags=re.DOTALL)):
        if key.count(".") > DEPTH:  # tomllib takes memory for the square of the dots
            raise NestingError
    table: dict[str, Any] = _bounded(lambda: tomllib.loads(text))
    return table


def of_yaml(text: bytes) -> Any:
    """Parse a text in YAML, by the tags of plain data; raise ValueError. Lists may be shared."""
    import msgspec

    if find_spec("yaml") is None:
        raise UsageError("YAML needs PyYAML", "pip install 'fc2conv[batch]'")
    try:
        return _bounded(lambda: msgspec.yaml.decode(text))
    except msgspec.DecodeError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _bounded(parse: Callable[[], Any]) -> Any:
    try:
        value = parse()
    except RecursionError:
        raise NestingError from None
    level = [value]
    for _ in range(DEPTH):
        found = {}  # by identity: YAML may name a list many times, and in itself
        for each in level:
            for inner in each.values() if isinstance(each, dict) else each if isinstance(each, list) else ():
                if isinstance(inner, dict | list):
                    found[id(inner)] = inner
        level = list(found.values())
        if not level:
            return value
    raise NestingError
