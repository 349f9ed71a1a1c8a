"""What keeps a network from sliding: the obstacles that a pass finds, with the names of the original."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction

from onnx import ModelProto, NodeProto

from fc2conv.errors import InputError
from fc2conv.fcn.beside import along_others
from fc2conv.fcn.describe import Held
from fc2conv.fcn.forms import Form
from fc2conv.fcn.geometry import of_mixed_strides
from fc2conv.fcn.slider import Slider, Stuck
from fc2conv.ir.graph import label, op
from fc2conv.reasons import Code, Reason

NO_NETWORK = "give a network that works on images"
_WITHOUT = "cut the model behind that node, or export it without it"
_EVEN = (
    "Export the network for images whose maps have even sizes, such as a multiple of 32; "
    "otherwise cut the model before that node."
)
_ONE_SIZE = "Export the network with a Resize in front, so that all its images have one size."


def named(slider: Slider, original: ModelProto, held: Mapping[str, Held]) -> list[Reason]:
    """Return the obstacles, with the names of the original."""
    kinds = [{label(node): op(node) for node in nodes} for nodes in (original.graph.node, slider.nodes)]
    found = []
    for each in slider.obstacles:
        node, detail = _known_as(each.node, slider, original, held), _in_own_names(each.detail, original)
        own, here = (kind.get(name, "") for kind, name in zip(kinds, (node, each.node), strict=True))
        if own and here and own != here and detail.split(" ")[0] == here:
            detail = f"{own} ({here} in the network that slides){detail.removeprefix(here)}"
        found.append(replace(each, node=node, detail=detail))
    return found


def _known_as(name: str, slider: Slider, original: ModelProto, held: Mapping[str, Held]) -> str:
    """Return the original's node that a node of the converted or the sliding model comes from: itself or one after it.

    A node without a name has that of its result, which may be a spatial form; inputs and outputs are what they are.
    """
    makers = {made: label(node) for node in original.graph.node for made in node.output if made}
    known, nodes = set(makers.values()), [*slider.graph.nodes, *slider.nodes]
    ends = {value.name for value in (*original.graph.input, *original.graph.output)}
    todo, seen = [] if name in ends else [name], set[str]()
    while todo:
        each = todo.pop(0)
        plain, _ = held.get(each, (each, None))
        if plain in known or plain in makers:
            return plain if plain in known else makers[plain]
        results = [made for node in nodes if label(node) == each or each in node.input for made in node.output]
        todo += [made for made in dict.fromkeys(results) if made and made not in seen]
        seen.update(results)
    return name


def _in_own_names(detail: str, original: ModelProto) -> str:
    """Return what is said of an obstacle, with the original's names instead of those of their spatial forms."""
    known = {each.name for each in original.graph.initializer}.union(*(node.output for node in original.graph.node))
    words = ((word, word.removesuffix("_s")) for word in detail.split(" "))
    return " ".join(plain if plain in known and word not in known else word for word, plain in words)


def no_image(blocker: NodeProto | None, of_tokens: bool) -> InputError:
    """Return the error for a model that no image enters; `blocker` may be the node that its axes do not pass.

    With layers `of_tokens` that were kept it may be a model of a row of tokens, which slides where these are converted.
    """
    if blocker is None:
        what = "no input of the model is read by a convolution or a pooling, so that nothing slides"
        return InputError(what, f"{NO_NETWORK}{', or use --scope all for one of tokens' if of_tokens else ''}")
    what = f"behind {label(blocker)} ({op(blocker)}), in front of a convolution, the image's axes are not followed"
    return InputError(f"{what}, so that nothing slides", _WITHOUT)


def of_spread(slider: Slider, node: NodeProto, form: Form) -> Reason:
    """Return the reason for a value of one cell along some axes that meets a map of several."""
    along = {axis for axis in form.free if form.sizes[axis] == 1}
    return Stuck(Code.MAP_SPREAD, node, form.name, along_others(slider, along)).reason


def of_strides(slider: Slider) -> list[Reason]:
    """Return the reasons for nodes at which maps meet that fit each other at the training size alone."""
    made = mixed_stride_values(slider, slider.images)
    images = set[str]().union(*(mixed_stride_values(slider, [name]) for name in slider.images))
    uneven = {name for name, strides in made.items() if any(stride.denominator > 1 for stride in strides)}
    remedies = {name: _EVEN if name in uneven else "" if name in images else _ONE_SIZE for name in made}
    found = [(node, name) for node in slider.nodes for name in node.output if name in made]
    return [Reason(Code.STRIDES_UNLIKE, label(node), remedy=remedies[name]) for node, name in found]


def mixed_stride_values(slider: Slider, images: Iterable[str]) -> dict[str, set[Fraction]]:
    """Return the values that are made of maps of different strides, of one image or of several, with the strides."""
    grow = [(axis, list(slider.fed(axis))) for axis in slider.steps]
    return {
        value: strides
        for axis, names in grow
        for value, strides in of_mixed_strides(slider.steps[axis], [name for name in names if name in images]).items()
    }
