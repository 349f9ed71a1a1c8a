"""The pass over a converted graph that carries every value that an image reaches as a map, one handler an operator.

A handler is given a node and answers by `emit`ting nodes on maps and by setting the forms of the results. What cannot
slide raises `Stuck` with the reason; the pass notes it and goes on after the node, so that all obstacles are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto

from fc2conv.fcn.forms import SPACE, Count, Form, Image, Pieces, Pool
from fc2conv.fcn.geometry import Step
from fc2conv.fcn.training import Shape, Training, unknown_from
from fc2conv.ir.constants import Constants
from fc2conv.ir.element_types import element_type
from fc2conv.ir.graph import Graph, changed, ints_attribute, label, op, reads, subgraphs
from fc2conv.options import SlidingOptions
from fc2conv.reasons import Code, Reason
from fc2conv.rewrite.tensors import Tensors

SLICE_STEPS, RESIZE, NO_ROI = 10, 11, 13
"""The operator sets from which on Slice has steps, Resize is as here, and its second operand may be absent."""
Handler = Callable[["Slider", NodeProto], None]
HANDLERS: dict[str, Handler] = {}
NARROW: set[str] = set()
"""The operators that may read a value of one cell instead of one that was spread over a map."""
FIXED, UNFOLDED = "of fixed size", "on windows as channels"
"""The handlers of any operator: on values that do not grow with the image, and on maps with windows as channels."""


class Stuck(Exception):  # noqa: N818  # not an error of the program: a fact about a node
    """The node cannot run on a map of any size; `reason` says why."""

    def __init__(self, code: Code, node: NodeProto, detail: str = "", remedy: str = "") -> None:
        super().__init__(detail)
        self.reason = Reason(code, label(node), detail, remedy)


def kept_apart(form: Form) -> Stuck:
    """Return the reason against a value whose channels are not put together again, to be raised."""
    assert form.parts is not None
    return Stuck(Code.SIZES_MIXED, form.parts.node, form.parts.detail)


def handles(*operators: str, narrow: bool = False) -> Callable[[Handler], Handler]:
    """Register a handler for operators, named as `graph.op` does."""

    def register(handler: Handler) -> Handler:
        NARROW.update(operators if narrow else ())
        HANDLERS.update(dict.fromkeys(operators, handler))
        return handler

    return register


class Slider:
    """The state of the pass over the main graph.

    `shapes` are the training shapes of all values, `kept` the reasons for layers that were not converted, by their
    results. `inner` names the pooling over whole maps within the backbone, and `beside` the MaxPool whose one window is
    the whole map and that slides as other such pooling does.

    `images` are the inputs that slide, `forms` the values that are maps by now, and `steps` how each map is computed
    from others along every spatial axis. `pools` are the pooling over whole maps with what became of it, `windowless`
    reasons against pooling that has no form with a kernel, and `whole` the results of MaxPool whose one window is the
    whole map at the training size. `spread` are the maps of one cell that a node spreads over a larger one, and
    `suspects` those that lead to such a node past one that could not slide. `means` are convolutions that replace a
    mean with holes. `counts` are the values that pool a whole map, `counting` the nodes with a number that depends on
    a map's cells, `counted` the results of those where it was a constant, and `sized` the results of nodes with a
    number of a window. `apart` says how many cells those of before are apart, by axis and map (--output-stride). With
    `unfolding` windows may become channels, `unfolded` by the maps; `flattened` are numbers of a whole image.
    """

    def __init__(
        self,
        graph: Graph,
        constants: Constants,
        tensors: Tensors,
        training: Training,
        inner: frozenset[str],
        beside: frozenset[str],
        options: SlidingOptions,
        kept: Mapping[str, Reason],
    ) -> None:
        self.graph, self.constants, self.tensors = graph, constants, tensors
        self.shapes, self.inner, self.beside, self.options, self.kept = training.shapes, inner, beside, options, kept
        self.numbers = dict(training.numbers)
        self.images: dict[str, Image] = {}
        self.forms: dict[str, Form] = {}
        self.nodes: list[NodeProto] = []
        self.obstacles: list[Reason] = []
        self.steps: dict[int, list[Step]] = {}
        self.pools: list[Pool] = []
        self.spread: list[tuple[NodeProto, Form]] = []
        self.windowless: list[Reason] = []
        self.whole, self.means, self.suspects, self.counted, self.sized = (set[str]() for _ in range(5))
        self.lost: dict[str, Reason] = {}
        self._behind: dict[str, frozenset[str]] = {}
        self.counts: dict[str, Count] = {}
        self.counting: list[tuple[NodeProto, str]] = []
        self.relaid: dict[tuple[str, Pieces, int], str] = {}
        self.apart: Mapping[int, Mapping[str, Fraction]] = {}
        self.unfolding, self.unfolded, self.flattened = False, dict[str, str](), set[str]()

    # ------------------------------------------------------------------ the walk

    def run(self) -> None:
        """Run the pass over the whole graph; `forms` must have the inputs that slide."""
        for node in self.graph.nodes:
            names = list(reads([node]))
            lost = next((self.lost[name] for name in names if name in self.lost), None)
            if lost is not None:
                self._lose(node, lost)
            elif not any(name in self.forms for name in names):
                self.nodes.append(node)
            else:
                self._slide(node)
        for reason in dict.fromkeys(self.lost[name] for name in self.graph.outputs if name in self.lost):
            if reason not in self.obstacles:
                self.obstacles.append(reason)

    def _slide(self, node: NodeProto) -> None:
        narrow = next((name for name in node.input if self._is_narrow(name)), None)
        spreads = narrow is None or op(node) in NARROW
        try:
            if op(node) != "If" and any(True for _ in subgraphs(node)):
                raise Stuck(Code.NOT_SLIDING, node, f"{op(node)} has subgraphs")
            if not spreads:
                raise Stuck(Code.MAP_SPREAD, node, narrow or "")
            if op(node) not in HANDLERS:
                raise Stuck(Code.NOT_SLIDING, node, op(node))
            HANDLERS[op(node)](self, node)
        except Stuck as stuck:
            if narrow is None and self._is_fixed(node):
                HANDLERS[FIXED](self, node)
                return
            if self.unfolding and spreads and stuck.reason.code is not Code.POOL_REFUSED:
                with suppress(Stuck):
                    HANDLERS[UNFOLDED](self, node)
                    return
            self.obstacles += [stuck.reason] if stuck.reason not in self.obstacles else []
            self._lose(node, stuck.reason)

    def _is_fixed(self, node: NodeProto) -> bool:
        """Return whether a node reads maps of one size for every image, and the shapes of its results are known."""
        grows = any(form.free or form.parts for form in self.operands(node))
        known = all(len(self.shapes.get(name, ())) > 1 for name in node.output if name)
        return known and not grows and not any(True for _ in subgraphs(node))

    def _lose(self, node: NodeProto, reason: Reason) -> None:
        """Note a node that cannot slide, or reads what could not, and what would help were it within the backbone."""
        maps = {form.name for form in self.operands(node)}
        behind = frozenset(maps).union(*(self._behind.get(name, frozenset()) for name in node.input))
        if any(form.has_cells for form in self.operands(node)):
            self.suspects |= behind - maps
        self.lost.update(dict.fromkeys(node.output, reason))
        self._behind.update(dict.fromkeys(node.output, behind))

    def _is_narrow(self, name: str) -> bool:
        """Return whether a value is carried as less than it is: one cell, which the map that it meets spreads."""
        form, shape = self.forms.get(name), self.shapes.get(name)
        return form is not None and shape is not None and prod(shape) != prod(form.shape)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note as an obstacle what is Stuck within."""
        try:
            yield
        except Stuck as stuck:
            self.obstacles.append(stuck.reason)

    # ------------------------------------------------------------------ questions

    def form(self, node: NodeProto, position: int = 0, *, apart: bool = False) -> Form:
        """Return the form of an operand that is a map, with its channels in one part unless they may be `apart`."""
        name = node.input[position] if position < len(node.input) else ""
        if name not in self.forms:
            raise Stuck(Code.NOT_SLIDING, node, f"operand {position} is no map")
        if self.forms[name].parts is not None and not apart:
            raise kept_apart(self.forms[name])
        return self.forms[name]

    def operands(self, node: NodeProto) -> list[Form]:
        """Return the forms of the operands that are maps."""
        return [self.forms[name] for name in node.input if name in self.forms]

    def named(self, name: str) -> Form:
        """Return the map of a name in the new graph."""
        return max((form for form in self.forms.values() if form.name == name), key=lambda form: form.parts is None)

    def map_of(self, node: NodeProto) -> Form:
        """Return the form of the first operand; raise Stuck unless its layout is that of the map itself."""
        form = self.form(node)
        if not form.is_map:
            raise Stuck(Code.SIZES_MIXED, node, "the operand is not laid out as [N, C, *S]")
        return form

    def shape(self, name: str, node: NodeProto) -> Shape:
        known = self.shapes.get(name, self.constants.shape(name))
        if known is None and name not in self.graph.producer:
            raise Stuck(Code.SIZE_UNKNOWN, node, f"the shape of {name}")
        if known is None:
            first, remedy = unknown_from(name, self.constants, self.shapes)
            raise Stuck(Code.SIZE_UNKNOWN, first, f"the shape of {first.output[0]} ({op(first)})", remedy)
        return known

    def values(self, name: str) -> np.ndarray | None:
        """Return the values of a constant of the model or the pass, or of what the training size alone decides."""
        made = self.tensors.made(name)
        known = self.constants.array(name) if self.constants.is_constant(name) else self.numbers.get(name)
        return known if made is None else made

    def ints(self, name: str) -> tuple[int, ...] | None:
        """Return the values of a constant that is a list of integers; None for any other value."""
        found, made = self.constants.ints(name), self.values(name)
        if found is not None or made is None or made.ndim > 1 or made.dtype.kind not in "iub":
            return found
        return tuple(int(value) for value in made.flat)

    def fed(self, axis: int) -> dict[str, int]:
        """Return the images that grow along an axis, each with its training size."""
        return {name: image.sizes[axis] for name, image in self.images.items() if axis in image.free}

    def listed(self, node: NodeProto, key: str, at: int) -> list[int] | None:
        """Return integers that are an attribute in older opsets and an operand in newer ones; None if absent."""
        found = ints_attribute(node, key)
        if found is None and len(node.input) > at and node.input[at]:
            given = self.ints(node.input[at])
            if given is None:
                raise Stuck(Code.NOT_SLIDING, node, f"its {key} are computed")
            found = list(given)
        return found

    def kind(self, name: str) -> int:
        """Return the element type of a value; FLOAT where it is not known."""
        return element_type(self.graph, name) or TensorProto.FLOAT

    def axes_of(self, node: NodeProto, dims: Iterable[int], *, apart: bool = False) -> tuple[Form, list[int], set[int]]:
        """Return the first operand's form, the dimensions counted from 0, and their axes with several cells."""
        form = self.form(node, apart=apart)
        rank = len(form.layout)
        listed = [dim + rank if dim < 0 else dim for dim in dims]
        if any(not 0 <= dim < rank for dim in listed):
            raise Stuck(Code.NOT_SLIDING, node, "an axis is out of range")
        return form, listed, form.axes(listed)

    # ------------------------------------------------------------------ making nodes

    def emit(self, node: NodeProto, inputs: Sequence[str] | None = None, **attributes: object) -> NodeProto:
        """Add a copy of a node that reads maps; attributes given here replace its own (None: removed)."""
        new = changed(node, **attributes)
        new.input[:] = [self.forms[n].name if n in self.forms else n for n in node.input] if inputs is None else inputs
        self.nodes.append(new)
        return new

    def between(self, node: NodeProto, inputs: Sequence[str], wanted: str, **attributes: object) -> str:
        """Add a copy of a node that reads `inputs`, whose one result has a new name; return that name."""
        self.emit(node, inputs, **attributes).output[:] = [made := self.tensors.unique(wanted)]
        return made

    def add(self, op_type: str, inputs: Sequence[str], wanted: str, *, made: str = "", **attributes: object) -> str:
        """Add a node of the ONNX domain; return the name of its result, which is free unless it is `made`."""
        made, name = made or self.tensors.unique(wanted), self.tensors.unique(f"{wanted}_node")
        node = self.tensors.node(op_type, inputs, made, name, self.graph.opset, wanted=wanted, **attributes)
        self.nodes.append(node)
        return made

    @property
    def no_roi(self) -> str:
        """The second operand of a Resize, which takes no part of a map."""
        return "" if self.graph.opset >= NO_ROI else self.tensors.value(np.zeros(0, np.float32), "roi")

    def put(self, node: NodeProto, op_type: str, inputs: Sequence[str], **attributes: object) -> None:
        """Add a node of the ONNX domain under the name of `node`; it makes the first result of that node."""
        made, opset = node.output[0], self.graph.opset
        self.nodes.append(self.tensors.node(op_type, inputs, made, node.name, opset, wanted=made, **attributes))

    def result(
        self, node: NodeProto, form: Form, steps: Mapping[int, Step] | None = None, *, index: int = 0, **changes: Any
    ) -> Form:
        """Set the form of a result, that of an operand but for `changes`, and note how it is computed."""
        self.forms[node.output[index]] = made = self.derived(form, node.output[index], steps, **changes)
        return made

    def derived(self, form: Form, made: str, steps: Mapping[int, Step] | None = None, **changes: Any) -> Form:
        """Return the form of a map that is made of another, that of this but for `changes`; note how it is computed."""
        self.trace(made, [form], steps)
        return replace(form, name=made, **changes)

    def trace(self, made: str, operands: Sequence[Form], steps: Mapping[int, Step] | None = None) -> None:
        """Note how a map is computed along every spatial axis: by the step given for it, else cell by cell."""
        rank = max((form.rank for form in operands), default=SPACE)
        for axis in sorted({*range(SPACE, rank), *self.steps}):
            # A value of one size for every image has axes of its own.
            names = tuple(dict.fromkeys(form.name for form in operands if axis < form.rank or not form.free))
            if names:
                self.steps.setdefault(axis, []).append((steps or {}).get(axis, Step(made, names)))

    def extent(self, form: Form, *channels: int) -> str:
        """Compute the shape of a map with these channels, or parts of them, from the image: [N, *channels, *S]."""
        made = f"{form.name}_extent"
        batch, cells = (self.measured(form.name, dims, made) for dims in ((0,), range(SPACE, form.rank)))
        return self.add("Concat", [batch, self.tensors.ints(channels, "channels"), cells], made, axis=0)

    def measured(self, name: str, dims: Sequence[int], wanted: str) -> str:
        """Compute the sizes of some dimensions of a value from its Shape."""
        return self.add("Gather", [self.add("Shape", [name], wanted), self.tensors.ints(tuple(dims), "dims")], wanted)
