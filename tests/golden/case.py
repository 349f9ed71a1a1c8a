"""What a golden case is: a model in text, and what must become of each of its fully connected layers.

An expectation is a kernel shape (`[7, 7]`), `CONVERT` (whatever the kernel), a reason code (`"FC103"`, with
`"FC102@node"` to name the blocking node too), `ABSENT` (not seen as a layer), or a tuple of these, of which any will
do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from onnx import AttributeProto, GraphProto, ModelProto
from textmodel import parse

from fc2conv.options import Options

CONVERT = "convert"
ABSENT = "absent"
Expectation = list[int] | str | tuple[list[int] | str, ...]
LAYOUT_OPS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}


@dataclass(frozen=True)
class Case:
    """A model and its expectations.

    `layout` bounds the layout nodes after conversion (`None`: no more than before); `sizes` gives symbolic dimensions
    other than N their size; `batches` are the sizes of N; `tolerance` bounds max|a - b| / max|a|.
    """

    name: str
    text: str
    expect: Mapping[str, Expectation]
    layout: int | None = None
    opset: int = 13
    ir_version: int = 8
    options: Options = field(default_factory=Options)
    batches: tuple[int, ...] = (1, 3)
    sizes: Mapping[str, int] = field(default_factory=dict)
    tolerance: float = 1e-5
    domains: Mapping[str, int] = field(default_factory=dict)
    edit: Callable[[ModelProto], None] | None = None

    def model(self) -> ModelProto:
        """The case's model, with seeded weights."""
        model = parse(self.text, opset=self.opset, ir_version=self.ir_version, domains=self.domains)
        if self.edit:
            self.edit(model)
        return model

    @property
    def runs(self) -> list[dict[str, int]]:
        """The symbolic sizes of each run: one for each batch where the model has a symbolic batch."""
        batches = self.batches if "[N" in self.text or ",N" in self.text else self.batches[:1]
        return [{"N": batch, **self.sizes} for batch in batches]


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and all that its nodes hold."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def layout_nodes(model: ModelProto) -> int:
    """How many layout nodes the model holds, in subgraphs and functions too."""
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    return sum(node.op_type in LAYOUT_OPS for node in nodes)


def meets(expectation: Expectation, decision: str, kernel: list[int] | None, code: str, blocked_by: str) -> bool:
    """Whether what was decided is what was expected."""
    if isinstance(expectation, tuple):
        return any(meets(one, decision, kernel, code, blocked_by) for one in expectation)
    if isinstance(expectation, list):
        return decision == "convert" and kernel == expectation
    if expectation == CONVERT:
        return decision == "convert"
    wanted, _, node = expectation.partition("@")
    return decision == "keep" and code == wanted and node in ("", blocked_by)
