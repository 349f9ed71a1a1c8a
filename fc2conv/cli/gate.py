"""`fc2conv check` as a gate: which findings make it exit with 1."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fc2conv.cli import parameters
from fc2conv.cli.option import count, group, option
from fc2conv.dataclass import dataclass
from fc2conv.io.escape import counted
from fc2conv.reasons import Code

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from fc2conv.report.types import Report


CONDITIONS = ("convertible", "kept", "illegal", "added-transposes", "nothing")


class Condition(click.Choice[str]):
    """One of CONDITIONS, or a reason code."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if re.fullmatch(r"(FC)?\d+", str(value), re.I):
            code: str = parameters.reason_code(str(value)).value
            return code
        return super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [*super().shell_complete(ctx, param, incomplete), *parameters.codes(ctx, param, incomplete)]


@dataclass(frozen=True)
class Gate:
    """A gate: some of CONDITIONS and reason codes, reasons that are allowed, and the least number of converted layers.

    `asked` is whether the caller chose it, and not `check` by default.
    """

    fail_on: frozenset[str]
    allow: frozenset[str]
    require: int
    asked: bool

    def failures(self, report: Report) -> list[str]:
        """Return the conditions that a report fails, one line for each; an empty list where it passes."""
        from fc2conv.report.parts import by_code, tally

        found: list[str] = []
        converted = len(report.converted)
        if converted < self.require:
            least = counted(self.require, "layer")
            found.append(f"{converted} of at least {least} can be converted (--require {self.require})")
        if "convertible" in self.fail_on and converted:
            found.append(f"{counted(converted, 'layer')} can be converted (--fail-on convertible)")
        kept = [site.code for site in report.layers if site.code not in {"", *self.allow}]
        if "kept" in self.fail_on and kept:
            found.append(f"{counted(len(kept), 'layer')} would be kept: {tally(Counter(kept))} (--fail-on kept)")
        if "illegal" in self.fail_on and report.target is not None and (left := report.target.illegal):
            by = " (--fail-on illegal)" if self.asked else ""
            limits = "" if "target" in report.options else "layers are beyond the limits of the options"
            found.append(f"{limits or f'{report.target.name} does not take all layers'}: {tally(by_code(left))}{by}")
        occurring = Counter(site.code for site in report.sites)
        occurring |= by_code(report.target.findings if report.target is not None else ())
        found += [f"{code} x{occurring[code]} (--fail-on {code})" for code in sorted(self.fail_on & {*occurring})]
        added = report.layout_nodes.after - report.layout_nodes.before
        if "added-transposes" in self.fail_on and added > 0:
            found.append(f"{counted(added, 'layout node')} would be added (--fail-on added-transposes)")
        return found


def made(given: dict[str, Any]) -> Gate:
    """Make the gate from the command's parameters, and remove them from `given`.

    `--allow` is a condition by itself. Without any condition `check` fails on what can be converted, and with a target
    on what the target does not take.
    """
    said = {name: given.pop(name) for name in ("fail_on", "allow", "require")}
    if "nothing" in said["fail_on"]:  # the command line overrides a file
        source = click.get_current_context().get_parameter_source
        said = {name: each for name, each in said.items() if source(name) is ParameterSource.COMMANDLINE} or said
    conditions: Collection[str] = said.get("fail_on", ())
    allow: Collection[Code] = said.get("allow", ())
    require: int | None = said.get("require")
    if "nothing" in conditions and (len(set(conditions)) > 1 or allow or require):
        raise click.UsageError("--fail-on nothing excludes every other condition")
    chosen = {*conditions, *(["kept"] if allow else [])} - {"nothing"}
    asked = bool(conditions or allow or require)
    return Gate(
        fail_on=frozenset(chosen if asked else ["illegal" if given.get("target") else "convertible"]),
        allow=frozenset(code.value for code in allow),
        require=require or 0,
        asked=asked,
    )


options = group(
    "Gate",
    "gate",
    count("--require", help="Exit with 1 where fewer than N layers of a model can be converted."),
    option(
        "--fail-on",
        type=Condition(CONDITIONS),
        multiple=True,
        help="Exit with 1 for this, or for a reason code. The default is convertible, and with --target illegal: a "
        "layer that the target does not take. Repeatable.",
    ),
    option(
        "--allow",
        metavar="CODE",
        type=parameters.reason_code,
        shell_complete=parameters.codes,
        multiple=True,
        help="Exit with 1 for any kept layer, but for those with this reason code. Repeatable.",
    ),
)
"""The options of a gate, in the order of the help."""
