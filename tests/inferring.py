"""What inference and the plan say of a small model in text, drawn so that a test can be read.

A layout is drawn as its dimensions between bars, each with its axes: `x.0 | x.1 x.2 x.3` is the flattened input x.
A dimension of size 1 is `1`, and a part of an axis shows its stride and size: `x.1/3%2 | x.1/1%3`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnx import ModelProto
from textmodel import parse

from fc2conv import Options
from fc2conv.analysis.facts import Recipe
from fc2conv.io.reader import model_file_from_proto
from fc2conv.ir.graph import label
from fc2conv.layout.axes import Axis, Layout, axes_of
from fc2conv.layout.view import Provenance, View
from fc2conv.planning.planner import Plan
from fc2conv.rewrite.scopes import fit_model


def drawn(layout: Layout | None) -> str | None:
    """A layout as text; None for none."""
    if layout is None:
        return None
    parts = Counter(axis.root for axis in axes_of(layout))

    def axis_drawn(axis: Axis) -> str:
        return axis.root if parts[axis.root] == 1 else f"{axis.root}/{axis.stride}%{axis.size}"

    return " | ".join(" ".join(map(axis_drawn, dim)) or "1" for dim in layout)


@dataclass(frozen=True)
class Seen:
    """A plan of the main graph, with shorthands."""

    plan: Plan

    def view(self, name: str) -> View:
        return self.plan.facts.views[name]

    def dims(self, name: str) -> str | None:
        """The value's own layout; None where not even its rank is known."""
        view = self.plan.facts.views.get(name)
        return None if view is None else drawn(view.dims)

    def spatial_form(self, name: str) -> str | None:
        """The layout of the value's spatial form; None where it has none."""
        view = self.plan.facts.views.get(name)
        return None if view is None else drawn(view.spatial_form)

    def provenance(self, name: str) -> tuple[Provenance, str]:
        """Where the value's layout comes from, and the node that hid or lost it."""
        view = self.view(name)
        return view.provenance, view.blocked_by

    def node(self, name: str) -> int:
        """The position of the node that is called so."""
        return next(i for i, node in enumerate(self.plan.graph.nodes) if label(node) == name)

    def recipe(self, name: str) -> Recipe | None:
        return self.plan.facts.nodes[self.node(name)].recipe

    def runs_with(self, name: str) -> dict[str, object]:
        """The attributes that change where the node runs on spatial forms."""
        recipe = self.recipe(name)
        return dict(recipe.attributes)  # type: ignore[union-attr]

    @property
    def decided(self) -> dict[str, str]:
        """For each layer its kernel, such as 3x2, or the reason why it is kept."""
        out: dict[str, str] = {}
        for each in self.plan.decisions:
            found = each.facts.contraction if each.facts is not None else None
            kernel = (
                "x".join("*".join(str(axis.size) for axis in dim) or "1" for dim in found.kernel[1:]) if found else ""
            )
            code = f"{each.reason.code.value}@{each.reason.node}" if each.reason is not None else ""
            out[label(self.plan.graph.nodes[each.index])] = code or kernel
        return out


def plan_of(model: ModelProto, options: Options | None = None) -> Seen:
    """What is planned for the main graph of a model."""
    return Seen(fit_model(model_file_from_proto(model), options or Options())[0][0])


def look(
    text: str,
    *,
    opset: int = 13,
    ir_version: int = 8,
    options: Options | None = None,
    domains: Mapping[str, int] | None = None,
    edit: Callable[[ModelProto], None] | None = None,
) -> Seen:
    """What is planned for the main graph of a model in text."""
    model = parse(text, opset=opset, ir_version=ir_version, domains=domains or {})
    if edit is not None:
        edit(model)
    return plan_of(model, options)
