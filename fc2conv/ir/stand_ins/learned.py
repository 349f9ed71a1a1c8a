"""Rules for the operators of scikit-learn's models, which count what their attributes hold."""

from __future__ import annotations

from collections.abc import Callable

from onnx import NodeProto, helper

from fc2conv.ir.graph import int_attribute
from fc2conv.ir.stand_ins.draft import Draft, Results, Rule, features


def classes(size: Callable[[NodeProto], int]) -> Rule:
    """Return a rule that gives a label for each row of a matrix, and the scores."""

    def rule(draft: Draft) -> Results:
        label = draft.add("ArgMax", draft.operand(0), axis=1, keepdims=0)
        return [label, *features(size)(draft)]

    return rule


def number(name: str, default: int = 1) -> Callable[[NodeProto], int]:
    return lambda node: int_attribute(node, name, default)


def length(*names: str) -> Callable[[NodeProto], int]:
    """Return a function that counts the elements of the first of some attributes."""

    def length(node: NodeProto) -> int:
        found = next((a for a in node.attribute if a.name in names), None)
        return len(helper.get_attribute_value(found)) if found is not None else 0

    return length


def linear_classes(node: NodeProto) -> int:
    """Count one score for each intercept; onnxruntime adds the complement of a single one for two labels."""
    scores, labels = length("intercepts")(node), length("classlabels_ints", "classlabels_strings")(node)
    return 2 if scores == 1 and labels == 2 else scores


def machine_classes(node: NodeProto) -> int:
    """Count one score for each pair of labels if there are vectors and no probabilities, else one for each label."""
    labels = length("classlabels_ints", "classlabels_strings")(node)
    pairs = length("support_vectors")(node) and not length("prob_a")(node)
    return max(2, labels * (labels - 1) // 2) if pairs else labels


def vocabulary(draft: Draft) -> Results:
    return [draft.tensor(1, length("string_vocabulary", "int64_vocabulary")(draft.node))]
