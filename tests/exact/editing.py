"""A model to edit: what its values are, where its nodes are, and how nodes are put between others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = npt.NDArray[np.generic]
FLOAT = TensorProto.FLOAT
Shape = tuple[int | str, ...]


@dataclass
class Editor:
    """A copy of a model, and a seeded choice of places in it; what is known of its values is known before any edit."""

    source: ModelProto
    rng: np.random.Generator
    model: ModelProto = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(self.source)

    # ------------------------------------------------------------------ what is there

    @property
    def nodes(self) -> Sequence[NodeProto]:
        """The nodes of the main graph."""
        return self.model.graph.node

    @cached_property
    def opset(self) -> int:
        """The version of ONNX's operators."""
        return next(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))

    @cached_property
    def kinds(self) -> dict[str, tuple[int, Shape]]:
        """Element type and shape of the values of which both are known, open sizes as their symbols."""
        try:
            graph = onnx.shape_inference.infer_shapes(self.source, data_prop=True).graph
        except onnx.shape_inference.InferenceError:
            graph = self.source.graph
        found = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            kind = value.type.tensor_type
            if kind.HasField("shape"):
                sizes = (d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in kind.shape.dim)
                found[value.name] = (kind.elem_type, tuple(sizes))
        return found

    def shape(self, name: str) -> Shape:
        """The shape of a value, () where it is not known."""
        return self.kinds.get(name, (0, ()))[1]

    def constant(self, name: str) -> Array | None:
        """The numbers of an initializer or Constant of the main graph."""
        tensor = self._tensor(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def _tensor(self, name: str) -> TensorProto | None:
        given = {value.name for value in self.model.graph.input}
        made = next((n for n in self.nodes if n.op_type == "Constant" and name in n.output), None)
        if made is not None:
            return next((a.t for a in made.attribute if a.name == "value"), None)
        return next((t for t in self.model.graph.initializer if t.name == name and name not in given), None)

    @cached_property
    def varying(self) -> set[str]:
        """Values that depend on what the inputs hold, and not on their sizes alone."""
        weights = {t.name for t in self.source.graph.initializer}
        found = {value.name for value in self.source.graph.input if value.name not in weights}
        for node in self.source.graph.node:
            if node.op_type not in ("Shape", "Size") and found & {*reads(node)} and not self._by_zero(node):
                found |= {*node.output}
        return found

    @cached_property
    def live(self) -> set[str]:
        """Values on which an output depends, and not by their sizes alone."""
        found = {value.name for value in self.source.graph.output}
        for node in reversed(self.source.graph.node):
            sized = node.op_type in ("Shape", "Size", "ConstantOfShape")
            if not sized and found & {*node.output} and not self._by_zero(node):
                found |= {*reads(node)}
        return found

    def _by_zero(self, node: NodeProto) -> bool:
        """Whether a node multiplies what it reads by nothing but 0."""
        arrays = [self.constant(name) for name in node.input if node.op_type in ("Conv", "Gemm", "MatMul", "Mul")]
        return any(array is not None and array.size and not array.any() for array in arrays[:2])

    def unordered(self, node: NodeProto) -> bool:
        """Whether a node may treat all channels in one way: a mean, or a weight of equal numbers."""
        arrays = [self.constant(name) for name in node.input if node.op_type in ("Conv", "Gemm", "MatMul")]
        equal = any(array is not None and array.size > 1 and np.ptp(array.astype(float)) == 0 for array in arrays)
        return equal or node.op_type.startswith("Reduce") or node.op_type == "ConstantOfShape"

    def matters(self, node: NodeProto) -> bool:
        """Whether the node's first result depends on the inputs, and an output on it."""
        return bool(node.output) and node.output[0] in self.varying & self.live

    def maker(self, name: str) -> NodeProto | None:
        """The node that makes a value."""
        return next((node for node in self.nodes if name in node.output), None)

    def readers(self, name: str) -> list[NodeProto]:
        """The nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    # ------------------------------------------------------------------ choices

    def one(self, candidates: Iterable[NodeProto]) -> NodeProto | None:
        """One of the nodes that matter, by the seed."""
        found = [node for node in candidates if self.matters(node)]
        return found[int(self.rng.integers(len(found)))] if found else None

    def node(self, op_types: str, accept: Callable[[NodeProto], bool] = lambda _: True) -> NodeProto | None:
        """One of the nodes of some kinds that are accepted."""
        return self.one(n for n in self.nodes if n.op_type in op_types.split() and not n.domain and accept(n))

    def value(self, accept: Callable[[str, Shape], bool] = lambda *_: True) -> str:
        """One float value that a node makes, whose rank is known and which is accepted; "" where there is none."""
        made = (n for n in self.nodes if n.output and self._is_float(n.output[0]))
        found = self.one(n for n in made if accept(n.output[0], self.shape(n.output[0])))
        return found.output[0] if found is not None else ""

    def _is_float(self, name: str) -> bool:
        return self.kinds.get(name, (0, ()))[0] == FLOAT and bool(self.shape(name))

    @cached_property
    def batch(self) -> str:
        """The symbol of an open batch; "" where it is not open, or where an output has no open size."""
        sizes = self.shape(self.source.graph.input[0].name)
        symbol = sizes[0] if sizes and isinstance(sizes[0], str) and sizes[0] != "?" else ""
        given = [self.shape(value.name) for value in self.source.graph.output]
        return symbol if all(not shape or any(isinstance(size, str) for size in shape) for shape in given) else ""

    # ------------------------------------------------------------------ edits

    def named(self, kind: str = "new") -> str:
        """A name that nothing has."""
        self.count += 1
        return f"planted_{kind}_{self.count}"

    def add(self, array: Array) -> str:
        """Add an initializer and return its name."""
        name = self.named("constant")
        self.model.graph.initializer.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def ints(self, *values: int) -> str:
        """Add a vector of integers."""
        return self.add(np.array(values, np.int64))

    def replace(self, node: NodeProto, index: int, array: Array) -> None:
        """Give one operand of a node another constant."""
        node.input[index] = self.add(array)

    def behind(self, name: str, chain: Callable[[str], Sequence[NodeProto]]) -> None:
        """Put nodes behind the one that makes a value; the last one's first result takes the value's name."""
        maker = self.maker(name)
        assert maker is not None
        place = list(self.nodes).index(maker) + 1
        was = self.named("was")
        maker.output[list(maker.output).index(name)] = was
        made = list(chain(was))
        made[-1].output[0] = name
        for node in reversed(made):
            self.model.graph.node.insert(place, node)

    def before(self, node: NodeProto, index: int, chain: Callable[[str], Sequence[NodeProto]]) -> None:
        """Put nodes before one operand of a node."""
        made = list(chain(node.input[index]))
        place = list(self.nodes).index(node)
        node.input[index] = made[-1].output[0]
        for each in reversed(made):
            self.model.graph.node.insert(place, each)

    def instead(self, node: NodeProto, made: Sequence[NodeProto]) -> None:
        """Put nodes in the place of one; the last one's first result takes the name of its first."""
        place = list(self.nodes).index(node)
        made[-1].output[0] = node.output[0]
        self.model.graph.node.remove(node)
        for each in reversed(made):
            self.model.graph.node.insert(place, each)

    def make(self, op_type: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: object) -> NodeProto:
        """A node with results of its own names."""
        return helper.make_node(op_type, inputs, [self.named() for _ in range(outputs)], domain=domain, **attributes)

    # ------------------------------------------------------------------ operators whose definition changed

    def reduced(self, op_type: str, x: str, axes: Sequence[int], keepdims: int = 1) -> NodeProto:
        """A reduction with its axes as an attribute or as an operand."""
        if self.opset >= (13 if op_type == "ReduceSum" else 18):
            return self.make(op_type, x, self.ints(*axes), keepdims=keepdims)
        return self.make(op_type, x, axes=axes, keepdims=keepdims)

    def sliced(self, x: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> NodeProto:
        """A Slice with its numbers as attributes or as operands."""
        if self.opset >= 10:
            return self.make("Slice", x, self.ints(*starts), self.ints(*ends), self.ints(*axes))
        return self.make("Slice", x, axes=axes, starts=starts, ends=ends)

    def clipped(self, x: str, low: float, high: float | None = None) -> NodeProto:
        """A Clip with its bounds as attributes or as operands."""
        if self.opset >= 11:
            bounds = [self.add(np.array(each, np.float32)) for each in (low, high) if each is not None]
            return self.make("Clip", x, *bounds)
        return self.make("Clip", x, min=low, **({} if high is None else {"max": high}))

    def shaped(self, x: str, *sizes: int) -> NodeProto:
        """A Reshape to numbers."""
        return self.make("Reshape", x, self.ints(*sizes))

    def output(self, kind: int, shape: Shape, name: str) -> None:
        """Declare an output."""
        sizes = [None if size == "?" else size for size in shape]
        self.model.graph.output.append(helper.make_tensor_value_info(name, kind, sizes))


def reads(node: NodeProto) -> set[str]:
    """What a node reads, in its subgraphs as well."""
    found = {name for name in node.input if name}
    for a in node.attribute:
        if a.type == AttributeProto.GRAPH:
            for inner in a.g.node:
                found |= reads(inner)
            found |= {value.name for value in a.g.output}
    return found


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """An attribute of a node, or a default."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def set_attribute(node: NodeProto, name: str, value: object) -> None:
    """Give a node an attribute."""
    kept = [a for a in node.attribute if a.name != name]
    node.ClearField("attribute")
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


Fault = Callable[[Editor, Editor], bool]
"""Edits a model that is to equal another one, or both; says whether there was a place."""


def static(shape: Shape) -> bool:
    """Whether no size is open."""
    return all(isinstance(size, int) for size in shape)


def several(size: int | str) -> bool:
    """Whether a size is known, and more than 1."""
    return isinstance(size, int) and size > 1


Edit = Callable[[Editor], bool]
"""Edits a model; says whether there was a place."""


def instead(op_types: str, make: Callable[[Editor, NodeProto], list[NodeProto] | None]) -> Edit:
    """Put other nodes of the same function in the place of one; `make` gives None for a form that it does not know."""

    def edit(new: Editor) -> bool:
        nodes = [n for n in new.nodes if n.op_type in op_types.split() and not n.domain and new.matters(n)]
        for i in new.rng.permutation(len(nodes)):
            if (made := make(new, nodes[i])) is not None:
                new.instead(nodes[i], made)
                return True
        return False

    return edit
