"""How a sliding model was made, recorded in its `metadata_props`: with that, `verify` needs no more than two files."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
from onnx import ModelProto

from fc2conv.dataclass import dataclass
from fc2conv.io.parsing import of_json
from fc2conv.options import Options, SlidingOptions, deciding
from fc2conv.targets.lookup import shipped
from fc2conv.version import __version__

KEY = "fc2conv.sliding"
"""The key of `metadata_props`."""


@dataclass(frozen=True)
class Recipe:
    """The version of fc2conv that made a model, and the options that decided what it made."""

    version: str
    options: Options


def written(options: Options) -> str:
    """Write the recipe as one line of JSON with sorted keys: the version, and what is not the default."""
    assert options.sliding is not None
    default, sliding = Options(sliding=SlidingOptions()), replace(options.sliding, verify_crops=False)
    given = replace(options, sliding=sliding)
    settings = {name: getattr(given, name) for name in deciding() if getattr(given, name) != getattr(default, name)}
    plain = msgspec.to_builtins({"version": __version__, "options": settings})
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def recipe_of(model: ModelProto) -> Recipe | None:
    """Read what a model says of how it was made; return None where it says nothing that fc2conv writes."""
    text = next((entry.value for entry in model.metadata_props if entry.key == KEY), "")
    try:
        plain = of_json(text)
        options = msgspec.convert(
            {name: plain["options"][name] for name in deciding() if name in plain["options"]}, Options
        )
        if options.target is not None and options.target not in shipped():
            return None  # a model may not name a file to read
        return Recipe(str(plain["version"]), replace(options, sliding=options.sliding or SlidingOptions()))
    except (ValueError, KeyError, TypeError):  # msgspec's errors are ValueErrors
        return None
