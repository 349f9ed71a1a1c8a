"""Faults that need more than the model has, or an open batch: both models get an output, or items are mixed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from editing import FLOAT, Editor, Fault, Shape, several, static
from onnx import NodeProto, TensorProto

PAST_NUMBERS = 7
FAR = 500


def half(_: Editor, new: Editor) -> bool:
    """To half the precision and back, where what is rounded is not a half already."""

    def full(name: str, _: Shape) -> bool:
        around = [new.maker(name), *new.readers(name)]
        return not any(node is None or node.op_type in ("Cast", "Hardmax", "Relu", "Dropout") for node in around)

    name = new.value(full)
    if name:
        kind = TensorProto.FLOAT16
        new.behind(name, lambda x: [c := new.make("Cast", x, to=kind), new.make("Cast", c.output[0], to=FLOAT)])
    return bool(name)


# ------------------------------------------------------------------ what must be there first


def appended(rank: int, right: Callable[[Editor, str], list[NodeProto]],
             wrong: Callable[[Editor, str], list[NodeProto]], kind: int = FLOAT) -> Fault:  # fmt: skip
    """Both models get one more output, made of one that they have: by the right nodes, and by wrong ones."""

    def plant(old: Editor, new: Editor) -> bool:
        found = [v.name for v in old.source.graph.output if v.name in old.varying and _ends_in(old, v.name, rank)]
        if not found:
            return False
        name = found[int(new.rng.integers(len(found)))]
        for editor, make in ((old, right), (new, wrong)):
            made = make(editor, name)
            made[-1].output[0] = "appended"
            editor.model.graph.node.extend(made)
            editor.output(kind, ("?",) * len(old.shape(name)), "appended")
        return True

    return plant


def _ends_in(old: Editor, name: str, rank: int) -> bool:
    kind, shape = old.kinds.get(name, (0, ()))
    return kind == FLOAT and len(shape) >= rank and several(shape[-1])


def _reverse(editor: Editor, x: str, name: str) -> NodeProto:
    width = int(editor.shape(name)[-1])
    return editor.make("Gather", x, editor.ints(*reversed(range(width))), axis=-1)


def _hardmax(editor: Editor, x: str) -> list[NodeProto]:
    return [editor.make("Hardmax", x, axis=len(editor.shape(x)) - 1)]


def _hardmax_reversed(editor: Editor, x: str) -> list[NodeProto]:
    turned = _reverse(editor, x, x)
    hard = editor.make("Hardmax", turned.output[0], axis=len(editor.shape(x)) - 1)
    return [turned, hard, _reverse(editor, hard.output[0], x)]


def _argmax(editor: Editor, x: str) -> list[NodeProto]:
    return [editor.make("ArgMax", x, axis=len(editor.shape(x)) - 1)]


def _argmax_reversed(editor: Editor, x: str) -> list[NodeProto]:
    turned = _reverse(editor, x, x)
    (found,) = _argmax(editor, x)
    found.input[0] = turned.output[0]
    return [turned, found, editor.make("Sub", editor.ints(int(editor.shape(x)[-1]) - 1), found.output[0])]


def _added(editor: Editor, x: str) -> list[NodeProto]:
    whole = editor.make("Cast", x, to=TensorProto.INT32)
    total = editor.make("Add", whole.output[0], whole.output[0])
    return [whole, total, editor.make("Cast", total.output[0], to=FLOAT)]


def _added_as_floats(editor: Editor, x: str) -> list[NodeProto]:
    whole = editor.make("Cast", x, to=TensorProto.INT32)
    back = editor.make("Cast", whole.output[0], to=FLOAT)
    return [whole, back, editor.make("Add", back.output[0], back.output[0])]


def _two_random(editor: Editor, x: str) -> list[NodeProto]:
    one, other = (editor.make("RandomNormalLike", x) for _ in range(2))
    return [one, other, editor.make("Mul", one.output[0], other.output[0])]


def _one_random(editor: Editor, x: str) -> list[NodeProto]:
    one = editor.make("RandomNormalLike", x)
    return [one, editor.make("Mul", one.output[0], one.output[0])]


def outputs(old: Editor, new: Editor) -> bool:
    """Two outputs of one type and shape change places; another one is added where there is no such pair."""
    ends = [v.name for v in new.source.graph.output if v.name in new.varying and not new.readers(v.name)]
    every = [name for name in ends if new.maker(name) is not None]
    pairs = [(a, b) for a in every for b in every if a < b and new.kinds.get(a) == new.kinds.get(b) is not None]
    if not pairs:
        return appended(1, lambda e, x: [e.make("Neg", x)], lambda e, x: [e.make("Identity", x)])(old, new)
    one, other = pairs[int(new.rng.integers(len(pairs)))]
    new.behind(one, lambda x: [new.make("Identity", x)])
    new.behind(other, lambda x: [new.make("Identity", x)])
    first, second = new.maker(one), new.maker(other)
    assert first is not None
    assert second is not None
    (first.input[0], second.input[0]) = (second.input[0], first.input[0])
    late = max(list(new.nodes).index(first), list(new.nodes).index(second))
    for node in (first, second):
        kept = NodeProto()
        kept.CopyFrom(node)
        new.model.graph.node.remove(node)
        new.model.graph.node.insert(late, kept)
    return True


# ------------------------------------------------------------------ the batch


def items(chain: Callable[[Editor, str], list[NodeProto]]) -> Fault:
    """Nodes that mix or drop items of an open batch; a Trilu may have made those behind a number 0 already."""

    def plant(_: Editor, new: Editor) -> bool:
        plain = bool(new.batch) and all(node.op_type != "Trilu" for node in new.nodes)
        name = new.value(lambda _, shape: plain and shape[0] == new.batch)
        if name:
            new.behind(name, lambda x: chain(new, x))
        return bool(name)

    return plant


def _mean_of_items(new: Editor, x: str) -> list[NodeProto]:
    mean, zero = new.reduced("ReduceMean", x, [0]), new.make("Sub", x, x)
    return [mean, zero, new.make("Add", mean.output[0], zero.output[0])]


def _first(count: int) -> Callable[[Editor, str], list[NodeProto]]:
    return lambda new, x: [new.sliced(x, [0], [0], [count])]


def _blank_beyond(count: int) -> Callable[[Editor, str], list[NodeProto]]:
    """Items beyond a number times 0."""

    def chain(new: Editor, x: str) -> list[NodeProto]:
        sizes = new.make("Shape", x)
        number = new.make("Gather", sizes.output[0], new.add(np.array(0, np.int64)), axis=0)
        zero, one, last = (new.add(np.array(n, np.int64)) for n in (0, 1, count))
        places = new.make("Range", zero, number.output[0], one)
        kept = new.make("Less", places.output[0], last)
        mask = new.make("Cast", kept.output[0], to=FLOAT)
        flat = new.make("Flatten", x)
        turned = new.make("Transpose", flat.output[0], perm=[1, 0])
        blank = new.make("Mul", turned.output[0], mask.output[0])
        back = new.make("Transpose", blank.output[0], perm=[1, 0])
        return [sizes, number, places, kept, mask, flat, turned, blank, back, new.make("Reshape", back.output[0],
                                                                                       sizes.output[0])]  # fmt: skip

    return chain


def frozen(_: Editor, new: Editor) -> bool:
    """A Reshape to two items, of what has an odd number of elements in each: it runs with no other odd batch."""
    name = new.value(lambda _, s: s[0] == new.batch and static(s[1:]) and bool(np.prod(s[1:]) % 2))

    def chain(x: str) -> list[NodeProto]:
        flat, sizes = new.shaped(x, 2, -1), new.make("Shape", x)
        return [flat, sizes, new.make("Reshape", flat.output[0], sizes.output[0])]

    if name and new.batch:
        new.behind(name, chain)
    return bool(name and new.batch)


def _mean_by_size(editor: Editor, x: str) -> list[NodeProto]:
    total, sizes = editor.reduced("ReduceSum", x, [0]), editor.make("Shape", x)
    count = editor.make("Gather", sizes.output[0], editor.ints(0), axis=0)
    number = editor.make("Cast", count.output[0], to=FLOAT)
    return [total, sizes, count, number, editor.make("Div", total.output[0], number.output[0])]


def _mean_of_two(editor: Editor, x: str) -> list[NodeProto]:
    total = editor.reduced("ReduceSum", x, [0])
    return [total, editor.make("Div", total.output[0], editor.add(np.array([2], np.float32)))]


def of_open_batch(fault: Fault) -> Fault:
    """A fault that is one where the batch is open."""
    return lambda old, new: bool(old.batch) and fault(old, new)


FAULTS: dict[str, Fault] = {
    "Cast to half and back": half,
    "Hardmax of a reversed axis": appended(2, _hardmax, _hardmax_reversed),
    "ArgMax of a reversed axis": appended(2, _argmax, _argmax_reversed, TensorProto.INT64),
    "Cast before an integer Add": appended(1, _added, _added_as_floats),
    "two random nodes made one": appended(1, _two_random, _one_random),
    "outputs swapped": outputs,
    "ReduceMean over the batch": items(_mean_of_items),
    "a Slice of the batch at 3": items(_first(3)),
    "a Slice of the batch at 1000": items(_first(1000)),
    "the batch frozen at two items": frozen,
    "items beyond a number blank": items(_blank_beyond(PAST_NUMBERS)),
    "items beyond a far number blank": items(_blank_beyond(FAR)),
    "two items in a mean over the batch": of_open_batch(appended(1, _mean_by_size, _mean_of_two)),
}
