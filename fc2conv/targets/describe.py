"""What the profiles say, as text for `fc2conv targets`."""

from __future__ import annotations

import json
import textwrap

import msgspec

from fc2conv.targets.lookup import find, installed
from fc2conv.targets.profile import Fact, Profile

_WIDTH = 80
_TABLES = {
    "conv": "A convolution",
    "fc": "A fully connected layer as it is",
    "product": "A product of two computed values",
    "model": "The model",
    "prefers": "Runs best",
}


def listed() -> str:
    profiles = [find(name) for name in installed()]
    width = max(len(profile.name) for profile in profiles)
    return "".join(f"{profile.name:{width}}  {profile.title}\n" for profile in profiles)


def described(profile: Profile) -> str:
    """Describe one target: its limits, each with its source, and the sources with their dates."""
    lines = [f"{profile.name}: {profile.title}"]
    lines += _wrapped(profile.about, "  ")
    if profile.confidence != "high":
        lines.append(f"  confidence: {profile.confidence}")
    last = ""
    for table, key, fact in profile.facts():
        if table != last:
            lines += ["", _TABLES[table]]
            last = table
        text = f"{key.replace('-', ' ')}: {value(fact)} [{fact.source}]"
        lines += _wrapped(text)
    lines += ["", "Sources"] if profile.sources else []
    for name, source in profile.sources.items():
        version = f" {source.version}" if source.version else ""
        lines += _wrapped(f"[{name}] {source.title}{version}, read {source.date}")
        lines += [f"    {source.url}"] if source.url else []
    return "\n".join(lines) + "\n"


def _wrapped(text: str, rest: str = "    ") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent=rest)


def value(fact: Fact) -> str:
    """Return a fact's value, the types for which it holds, and its note."""
    types = ",".join(getattr(fact, "types", []))
    text = f"{fact} for {types}" if types else str(fact)
    return f"{text} ({fact.note})" if fact.note else text


def as_json(name: str | None) -> str:
    """Return one target, or all of them by name, as JSON with sorted keys."""
    names = [name] if name is not None else list(installed())
    plain = {each: msgspec.to_builtins(find(each)) for each in names}
    return json.dumps(plain[name] if name is not None else plain, sort_keys=True) + "\n"
