"""The stages of the fully convolutional mode: outputs as they are wanted, the model freed of its size, its proof.

A sliding model records in its `metadata_props` how it was made, so that `verify` needs no more than two files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import msgspec
from onnx import ModelProto

from fc2conv.dataclass import dataclass
from fc2conv.errors import InputError
from fc2conv.io.parsing import of_json
from fc2conv.io.reader import ModelFile
from fc2conv.options import Options, SlidingOptions, VerifyOptions, deciding
from fc2conv.planning.planner import Plan
from fc2conv.report.sliding import SlidingReport
from fc2conv.report.verification import Check, Verdict, Verification, worst
from fc2conv.rewrite.functions import without
from fc2conv.rewrite.scopes import Rewritten
from fc2conv.version import __version__

if TYPE_CHECKING:
    from fc2conv.fcn.describe import Held
    from fc2conv.fcn.model import Slid

RECIPE = "fc2conv.sliding"
"""The key of `metadata_props` that has the recipe."""


@dataclass(frozen=True)
class Recipe:
    """The version of fc2conv that made a model, and the options that decided what it made."""

    version: str
    options: Options


def written_recipe(options: Options) -> str:
    """Write the recipe as one line of JSON with sorted keys: the version, and what is not the default."""
    assert options.sliding is not None
    default, sliding = Options(sliding=SlidingOptions()), replace(options.sliding, verify_crops=False)
    given = replace(options, sliding=sliding)
    settings = {name: getattr(given, name) for name in deciding() if getattr(given, name) != getattr(default, name)}
    plain = msgspec.to_builtins({"version": __version__, "options": settings})
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def recipe_of(model: ModelProto) -> Recipe | None:
    """Read what a model says of how it was made; return None where it says nothing that fc2conv writes."""
    from fc2conv.targets.lookup import shipped

    text = next((entry.value for entry in model.metadata_props if entry.key == RECIPE), "")
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


def prepared(file: ModelFile, options: Options) -> ModelFile:
    """Return the model to convert: in the fully convolutional mode without functions, with the outputs asked for."""
    if options.sliding is None:
        return file
    from fc2conv.fcn.scores import with_scores

    return with_scores(without(file), options.sliding.score_map)


def freed(
    file: ModelFile, rewritten: Rewritten | None, plans: Sequence[Plan], options: Options
) -> tuple[SlidingReport, Slid | None]:
    """Make the converted model fully convolutional, or report what is in the way."""
    from fc2conv.fcn.model import slide

    original = file if rewritten is None else rewritten.original
    kept = {
        plan.graph.nodes[each.index].output[0]: each.reason
        for plan in plans
        for each in plan.decisions
        if each.reason is not None and not plan.graph.path
    }
    return slide(converted_file(file, rewritten), original.model, options, kept, _held(plans, rewritten))


def _held(plans: Sequence[Plan], rewritten: Rewritten | None) -> dict[str, Held]:
    """Return by the name of a map the value that the model may have as that map alone, and where dimensions lie."""
    found: dict[str, Held] = {}
    views = next((plan.facts.views for plan in plans if not plan.graph.path), {})
    for made, name in rewritten.forms.items() if rewritten is not None else ():
        form = views[name].spatial_form or ()
        at = {axis: dim for dim, axes in enumerate(form) for axis in axes}
        places = tuple(tuple(dict.fromkeys(at[axis] for axis in dim if axis in at)) for dim in views[name].dims)
        if tuple(tuple(axis for dim in dims for axis in form[dim]) for dims in places) == views[name].dims:
            found[made] = name, places
    return found


def converted_file(file: ModelFile, made: Rewritten | Slid | None) -> ModelFile:
    """Return the model that was made as a file in memory, its weights where they are; `file` if none was made."""
    return file if made is None else replace(file, model=made.model, payloads=made.payloads)


def refuse(report: SlidingReport, file: ModelFile) -> NoReturn:
    """Raise InputError for the first obstacle of a model that cannot slide."""
    first = report.obstacles[0]
    more = f" (and {len(report.obstacles) - 1} more)" if len(report.obstacles) > 1 else ""
    detail = f": {first.detail}" if first.detail else ""
    name = f"{file.path}: " if file.path else ""
    raise InputError(f"{name}{first.code} at {first.node}{detail}{more}. {first.meaning.rstrip('.')}", first.remedy)


def proved(
    original: ModelFile, written: ModelFile, slid: Slid, options: Options, ordinary: Verification | None
) -> tuple[Verification, SlidingReport]:
    """Verify a sliding model after the converted one; return the result, and the report with what crops measured."""
    from fc2conv.verification.placements import Modes
    from fc2conv.verification.sliding import prove

    assert options.sliding is not None
    claims, modes = slid.claims, None
    if slid.plain is not None:
        modes, claims = Modes(written, slid.placements, slid.claims), slid.plain.claims
        written = converted_file(original, slid.plain)
    shown = prove(original, written, claims, options.verification, options.sliding.verify_crops, modes)
    before = ordinary or Verification(verdict=Verdict.PROVED)
    measured = [check.verdict for check in shown.checks if check.name != "crops"]
    found = msgspec.structs.replace(
        before,
        verdict=worst([before.verdict, *measured]),
        checks=[*before.checks, *shown.checks],
        outputs=[*before.outputs, *shown.outputs],
    )
    return found, msgspec.structs.replace(slid.report, crops=shown.crops)


def remade(made: ModelFile, slid: Slid, there: ModelFile, recipe: Recipe, options: VerifyOptions) -> Check:
    """Check whether a model computes what was made just now by the same recipe."""
    from fc2conv.verification.networks import check_remade

    return check_remade(made, there, slid.claims, options, (recipe.version, __version__))
