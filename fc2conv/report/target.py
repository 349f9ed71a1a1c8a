"""What the report says of the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the written model that the target does not take.

    `code`, `meaning`, `remedy` and `detail` are those of a reason, `node`, `op_type` and `scope` name the first node,
    `nodes` is how many there are, and `names` has the names of those that are layers.
    `layer` is true for fully connected layers, what became of them, and products
    of two computed values; the other nodes were there before.
    """

    code: str
    meaning: str
    remedy: str
    node: str
    op_type: str
    detail: str = ""
    scope: str = ""
    layer: bool = True
    nodes: int = 1
    names: list[str] = []

    def again(self, name: str) -> Finding:
        names = [*self.names, name] if self.layer else []
        return msgspec.structs.replace(self, nodes=self.nodes + 1, names=names)


def by_code(findings: Iterable[Finding]) -> Counter[str]:
    return Counter(each.code for each in findings for _ in range(each.nodes))


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """The target that the model was written for, and what of it the target does not take."""

    name: str
    title: str = ""
    findings: list[Finding] = []

    @property
    def illegal(self) -> list[Finding]:
        """The findings at layers and products."""
        return [finding for finding in self.findings if finding.layer]

    def refusals(self, layer: str) -> list[str]:
        """Return the codes for which the target does not take a layer, or one of the convolutions that it became."""
        parts = (f"{layer}_part", f"{layer}_sum")
        return sorted({f.code for f in self.illegal if any(n == layer or n.startswith(parts) for n in f.names)})
