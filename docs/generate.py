"""Writes what is made from the code: docs/reasons.md, commands.md, report.md, target-profiles.md, report/schema.json.

Run it after a change of the reasons, of a command, of the report's types or of a target; a test compares each file.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that this script stands in, whatever is installed

import click  # noqa: E402
import msgspec  # noqa: E402

from fc2conv.cli import main as group  # noqa: E402
from fc2conv.cli.console import HEADINGS  # noqa: E402
from fc2conv.reasons import Code  # noqa: E402
from fc2conv.report.types import SCHEMA_VERSION, BatchReport, Comparison, Failure, Report  # noqa: E402
from fc2conv.targets.describe import value  # noqa: E402
from fc2conv.targets.lookup import find, shipped  # noqa: E402
from fc2conv.targets.profile import Profile  # noqa: E402

_FAMILIES = {
    "FC1": "The layout of the layer's input is not known",
    "FC2": "Not a fully connected layer with a constant weight",
    "FC3": "Not worth it, or not allowed",
    "FC4": "What the runtime cannot do",
    "FC5": "What keeps a network from sliding over larger images",
    "FC6": "What the target cannot do",
}
_REASONS = """\
# Why a layer was left as it is

Every layer that fc2conv leaves has one of these codes and the name of the node that caused it; FC5xx name what keeps
`--fully-convolutional` from writing a network, and FC6xx the limit of a `--target`. Codes are stable: no code changes
its meaning or is used again. `fc2conv explain FC102` prints a code here.

<!-- Made from fc2conv/reasons.py by docs/generate.py; a test compares the two. -->
"""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PROFILES = "<!-- Made from fc2conv/targets/*.toml by docs/generate.py; a test compares the two. -->"
_MADE = "<!-- Made from the code by docs/generate.py; a test compares the two. -->"


def main() -> None:
    """Write every file."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


def files() -> dict[Path, str]:
    """What is to stand in each file."""
    return {
        ROOT / "docs" / "reasons.md": "\n".join(_reasons()) + "\n",
        ROOT / "docs" / "commands.md": "\n".join(_commands()) + "\n",
        ROOT / "docs" / "report.md": "\n".join(_report(_schema())) + "\n",
        ROOT / "docs" / "target-profiles.md": _profiles(ROOT / "docs" / "target-profiles.md"),
        ROOT / "fc2conv" / "report" / "schema.json": json.dumps(_schema(), indent=2, sort_keys=True) + "\n",
    }


def _profiles(path: Path) -> str:
    """The page about profiles: what is written by hand, and behind the mark the profiles."""
    by_hand, mark, _ = path.read_text(encoding="utf-8").partition(_PROFILES)
    assert mark, f"{path} has lost its mark"
    sections = "\n".join(line for name in shipped() for line in _profile(find(name)))
    return f"{by_hand}{mark}\n\n{sections}"


def _profile(profile: Profile) -> Iterator[str]:
    """The lines about one target: a row for each fact, and the addresses of its sources."""
    yield from (f"### {profile.name}", "", f"{profile.title}. {profile.about}".strip(), "")
    if profile.confidence != "high":
        yield from (f"Confidence: {profile.confidence}.", "")
    rows = list(profile.facts())
    if rows:
        yield from ("| fact | value | source |", "| --- | --- | --- |")
        for table, key, fact in rows:
            yield f"| `{table}.{key}` | {_cell(value(fact))} | {_cell(profile.said(fact.source))} |"
        yield ""
    links = [f"[{source.title}]({source.url})" for source in profile.sources.values() if source.url]
    if links:
        yield from (f"Sources: {'; '.join(links)}.", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def _reasons() -> Iterator[str]:
    """One table for each family of codes."""
    yield _REASONS.rstrip("\n")
    for prefix, title in _FAMILIES.items():
        yield from ("", f"## {prefix}xx: {title}", "", "| code | meaning | remedy |", "| --- | --- | --- |")
        for code in (each for each in Code if each.value.startswith(prefix)):
            yield f"| {code.value} | {_cell(code.meaning)} | {_cell(code.remedy)} |"


# ------------------------------------------------------------------ commands


def _commands() -> Iterator[str]:
    """The help of every command, and each option once: what click knows of them."""
    yield from (
        "# Commands",
        "",
        "Every command and every option, as `--help` prints them. The [reference](reference.md#options) explains them.",
    )
    yield from ("", _MADE)
    root = click.Context(group, info_name="fc2conv")
    takers: dict[str, dict[str, list[str]]] = {heading: {} for heading in HEADINGS}
    for name, command in group.commands.items():
        usage = " ".join(command.collect_usage_pieces(click.Context(command, info_name=name, parent=root)))
        yield from ("", f"## fc2conv {name}", "", f"`fc2conv {name} {usage}`", "", _words(command.help or ""))
        for option in (each for each in command.params if isinstance(each, click.Option)):
            row = f"{_names(option)} | {_default(option)} | {_words(option.help or '')}"
            takers[getattr(option, "heading", "General")].setdefault(row, []).append(name)
    yield from ("", "## Options", "", "| option | default | meaning | commands |", "| --- | --- | --- | --- |")
    for heading, rows in takers.items():
        yield f"| **{heading}** | | | |"
        yield from (f"| {row} | {', '.join(names)} |" for row, names in rows.items())


def _names(option: click.Option) -> str:
    value = option.metavar or ""
    if isinstance(option.type, click.Choice):
        value = "|".join(map(str, option.type.choices))
    value = _cell(value if value.startswith("[=") or not value else f" {value}")
    names = [*option.opts, *option.secondary_opts]
    return ", ".join(f"`{name}{value if name.startswith('--') else ''}`" for name in names)


def _default(option: click.Option) -> str:
    return f"`{option.default}`" if option.show_default else ""


def _words(text: str) -> str:
    return _cell(" ".join(text.replace("\b", "").split()))


# ------------------------------------------------------------------ the report


def _schema() -> dict[str, Any]:
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


def _report(made: Mapping[str, Any]) -> Iterator[str]:
    """Every definition of the schema, the documents first, with its fields."""
    documents = [_name(each) for each in made["oneOf"]]
    definitions = made["$defs"]
    yield from (
        "# JSON report",
        "",
        f"The fields of the JSON report, {made['title'].partition(', ')[2]}. A document is one of",
    )
    yield f"{', '.join(f'[{name}](#{name.lower()})' for name in documents)}. All fields are written always;"
    yield "one that has a default may be missing in reports of earlier versions, and later ones may have more."
    yield from ("", "The machine's form of this page is [schema.json](../fc2conv/report/schema.json).", "", _MADE)
    for name in [*documents, *sorted(set(definitions) - set(documents))]:
        definition = definitions[name]
        yield from ("", f"## {name}", "", definition["description"])
        if "enum" in definition:
            yield from ("", f"One of {_type(definition)}.")
            continue
        yield from ("", "| field | type | default |", "| --- | --- | --- |")
        required = set(definition.get("required", ()))
        for field, kind in definition["properties"].items():
            default = "" if field in required else f"`{_json(kind.get('default'))}`"
            yield f"| `{field}` | {_type(kind)} | {default} |"


def _type(kind: Mapping[str, Any]) -> str:
    """A schema of one value in words."""
    if "$ref" in kind:
        return f"[{_name(kind)}](#{_name(kind).lower()})"
    if "anyOf" in kind:
        return " or ".join(sorted(map(_type, kind["anyOf"]), key=lambda name: name == "null"))
    if "enum" in kind:
        return ", ".join(f"`{_json(each)}`" for each in kind["enum"])
    match kind.get("type"):
        case "array":
            return f"list of {_type(kind['items'])}" if "items" in kind else "nested lists"
        case "object":
            return f"object of {_type(kind['additionalProperties'])} by name"
        case str(name):
            return name
    raise ValueError(f"no words for {kind}")


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _json(value: Any) -> str:
    return json.dumps(value)


if __name__ == "__main__":
    main()
