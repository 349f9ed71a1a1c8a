"""Class activation maps (Zhou et al. 2016): the map whose pooling is the score of the class.

    s = Conv1x1 (Mean (f))   ->   cam = Conv1x1 (f), and s = Mean (cam)

The mean and what is affine along the channels may change places, as the mean of a bias is the bias. The maximum does so
only with a positive factor. After the score an output may have one activation, which the check repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto

from fc2conv.dataclass import dataclass
from fc2conv.fcn.forms import CHANNELS, SPACE, Form
from fc2conv.fcn.slider import Slider, Stuck
from fc2conv.ir.graph import int_attribute, ints_attribute, label, named, op
from fc2conv.reasons import Code
from fc2conv.verification.spec import CamClaim

_PASSED = ("Identity", "Dropout", "Transpose")
LAID_OUT = (*_PASSED, "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")
"""Operators that lay out scores in another way."""
ACTIVATIONS = ("Softmax", "Sigmoid", "LogSoftmax")
MEANS = ("GlobalAveragePool", "AveragePool", "ReduceMean")
MAXIMA = ("GlobalMaxPool", "MaxPool", "ReduceMax")


@dataclass(frozen=True)
class _Pooled:
    """Pooling of a map over windows: `mean` times their mean plus `maximum` times their maximum."""

    read: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    mean: float
    maximum: float

    def times(self, factor: float) -> _Pooled:
        return replace(self, mean=self.mean * factor, maximum=self.maximum * factor)


def activation_map(slider: Slider, output: str, shown: str, name: str) -> tuple[Form, CamClaim]:
    """Add the class activation map of an output, whose map is `shown`, under a name, and return what is claimed of it.

    Raise Stuck where no map has the score.
    """
    makers = {made: node for node in slider.nodes for made in node.output if made}
    score, then, compared = _score(makers, shown)
    pooled, made = _exchanged(slider, *_before_pooling(slider, makers, score, output), name)
    before = slider.named(pooled.read)
    form = slider.derived(before, made, sizes=before.sizes_of(slider.named(compared).sizes[CHANNELS]))
    return form, CamClaim(made, compared, then, pooled.kernel, pooled.strides, pooled.mean, pooled.maximum)


def _no_map(node: NodeProto, why: str) -> Stuck:
    """Return the error that says why no map has the score for its pooling."""
    return Stuck(Code.NO_CLASS_ACTIVATION, node, why)


def _score(makers: dict[str, NodeProto], shown: str) -> tuple[str, str, str]:
    """Return the value before an output's activation, that activation, and the value that the check compares with."""
    name, then, compared = shown, "", shown
    while (node := makers.get(name)) is not None:
        kind, operand = activation_of(makers, node)
        if kind and not then:
            name, then = operand, kind
        elif op(node) in ("ArgMax", "ArgMin") and not then:
            name = compared = node.input[0]
        elif op(node) in _PASSED:
            name = node.input[0]
        else:
            break
    return name, then, compared


def activation_of(makers: Mapping[str, NodeProto], node: NodeProto) -> tuple[str, str]:
    """Return the activation of scores that a node gives, and the name of the scores; "" and "" for another node.

    A LogSoftmax may be written as `x - ReduceLogSumExp (x)`, or as the Log of a Softmax.
    """
    kind = op(node)
    if kind in ACTIVATIONS:
        return kind, node.input[0]
    inner = behind_layout(makers, node.input[0]) if kind == "Log" else None
    if inner is not None and op(inner) == "Softmax":
        return "LogSoftmax", inner.input[0]
    less = makers.get(node.input[1]) if kind == "Sub" else None
    if less is None or op(less) != "ReduceLogSumExp" or not int_attribute(less, "keepdims", 1):
        return "", ""
    return ("LogSoftmax", node.input[0]) if less.input[0] == node.input[0] else ("", "")


def behind_layout(makers: Mapping[str, NodeProto], name: str) -> NodeProto | None:
    """Return the node that makes a value, before nodes that only lay it out."""
    while (node := makers.get(name)) is not None and op(node) in LAID_OUT:
        name = node.input[0]
    return node


def _before_pooling(
    slider: Slider, makers: dict[str, NodeProto], score: str, output: str
) -> tuple[dict[str, _Pooled], list[NodeProto]]:
    """Find the pooling that a score comes from, and the nodes between, which are to change places with it.

    Means of maps with the same cells may meet in a node that is linear along the channels.
    """
    nodes: list[NodeProto] = []
    pools: dict[str, _Pooled] = {}

    def follow(name: str) -> None:
        node = makers.get(name)
        if node is None:
            raise _no_map(NodeProto(name=output), "its score is an input")
        if name in pools or node in nodes:
            return
        pooled = _pooling(slider, makers, node)
        if pooled is not None:
            pools[name] = pooled
            return
        operands = _operands(slider, node)
        if not operands:
            raise _no_map(node, f"{op(node)} neither pools the whole map nor is affine at each cell")
        for each in operands:
            follow(each)
        nodes.append(node)

    follow(score)
    sizes = {form.name: form.sizes[SPACE:] for form in slider.forms.values()}
    same = len({(each.kernel, each.strides, sizes.get(each.read)) for each in pools.values()}) == 1
    if len(pools) > 1 and not (same and all((each.mean, each.maximum) == (1, 0) for each in pools.values())):
        joins = next(node for node in nodes if len(_operands(slider, node)) > 1)
        raise _no_map(joins, f"{op(joins)} joins what are not means of maps with the same cells")
    return pools, nodes


def _pooling(slider: Slider, makers: dict[str, NodeProto], node: NodeProto) -> _Pooled | None:
    """Return the pooling that a node is (over all cells of a window, or a sum of two of one map), or None."""
    for pool in slider.pools:
        kind, mean = op(pool.node), _Pooled(pool.read, pool.kernel, (1,) * len(pool.kernel), 1.0, 0.0)
        if kind == "ReduceSum" and pool.action == "slide":  # a mean, multiplied by a number after it
            if op(node) == "AveragePool" and node.input[0] == pool.read:
                return mean
        elif pool.made in node.output:
            if pool.action == "within" or kind not in (*MEANS, *MAXIMA):
                why = f"{kind}, which is no mean and no maximum of the map at the end of the backbone"
                raise _no_map(pool.node, why)
            return _nested(slider, makers, mean if kind in MEANS else replace(mean, mean=0.0, maximum=1.0))
    if node.output[0] in slider.whole:
        kernel = tuple(ints_attribute(node, "kernel_shape") or ())
        return _Pooled(node.input[0], kernel, tuple(ints_attribute(node, "strides") or [1] * len(kernel)), 0.0, 1.0)
    if op(node) in ("Add", "Sum") and len(node.input) == 2:
        return _sum(slider, makers, node)
    return None


def _nested(slider: Slider, makers: dict[str, NodeProto], outer: _Pooled) -> _Pooled:
    """Merge a pooling with the one that it reads, of the same kind along other axes: both are one pooling."""
    maker = makers.get(outer.read)
    inner = _pooling(slider, makers, maker) if maker is not None and op(maker) in (*MEANS, *MAXIMA) else None
    if inner is None or (inner.mean, inner.maximum) != (outer.mean, outer.maximum) or not outer.kernel:
        return outer
    return replace(inner, kernel=tuple(a * b for a, b in zip(inner.kernel, outer.kernel, strict=True)))


def _sum(slider: Slider, makers: dict[str, NodeProto], node: NodeProto) -> _Pooled | None:
    """Add two poolings of one map, as its mean and its maximum; return None where an operand is no pooling."""
    parts: list[_Pooled] = []
    for name in node.input:
        factor = 1.0
        maker = makers.get(name)
        while maker is not None and (op(maker) in _PASSED or _factor(slider, maker) is not None):
            factor *= _factor(slider, maker) or 1.0
            maker = makers.get(_operands(slider, maker)[0])
        found = _pooling(slider, makers, maker) if maker is not None else None
        if found is None:
            return None
        parts.append(found.times(factor))
    one, other = parts
    if one.read != other.read and not one.maximum and not other.maximum:
        return None
    if (one.read, one.kernel, one.strides) != (other.read, other.kernel, other.strides):
        raise _no_map(node, "it adds the pooling of two maps")
    return replace(one, mean=one.mean + other.mean, maximum=one.maximum + other.maximum)


def _operands(slider: Slider, node: NodeProto) -> list[str]:
    """Return the map operands of a node that is affine along the channels in all of them; [] for another node."""
    kind = op(node)
    computed = [name for name in node.input if slider.values(name) is None]
    if kind in (*_PASSED, "Add", "Sub", "Sum") or _affine(slider, node) is not None:
        return computed
    if kind == "Concat" and int_attribute(node, "axis", 0) == CHANNELS and len(computed) == len(node.input):
        return computed
    if kind in ("ReduceMean", "ReduceSum"):
        return computed[:1] if slider.listed(node, "axes", 1) == [CHANNELS] else []
    return []


def _exchanged(
    slider: Slider, pools: Mapping[str, _Pooled], nodes: Sequence[NodeProto], wanted: str
) -> tuple[_Pooled, str]:
    """Copy the nodes after pooling onto the maps that it reads; return the pooling of what they make, and its name.

    Raise Stuck for the first node that may not change places with the pooling.
    """
    pooled, last = next(iter(pools.values())), slider.tensors.unique(wanted)
    renamed = {name: each.read for name, each in pools.items()}
    copies: list[NodeProto] = []
    for node in nodes:
        factor, made = _factor(slider, node), node.output[0]
        if op(node) in _PASSED and op(node) != "Transpose":
            renamed[made] = renamed[node.input[0]]
        elif pooled.maximum and factor is not None:
            renamed[made] = renamed[_operands(slider, node)[0]]
            pooled = pooled.times(factor)
        elif pooled.maximum and _affine(slider, node) and not pooled.mean:
            raise _no_map(node, f"{op(node)} of a maximum: put it in front of the pooling, which is proved then")
        elif pooled.maximum:
            raise _no_map(node, f"{op(node)} of a maximum is no maximum of one map")
        else:
            copies.append(new := named(node, slider.tensors.unique(f"{label(node)}_cam")))
            new.input[:] = [renamed.get(name, name) for name in node.input]
            new.output[:] = [renamed.setdefault(made, slider.tensors.unique(f"{wanted}_{made}"))]
    if copies:
        copies[-1].output[0] = last
        slider.nodes += copies
    else:
        slider.add("Identity", [pooled.read], f"{wanted}_same", made=last)
    return pooled, last


def _affine(slider: Slider, node: NodeProto) -> bool | None:
    """Return whether a node that is affine along the channels grows with each of them; None if it is not affine."""
    kind = op(node)
    if kind == "Conv":
        shape = _shape(slider, node.input[1])
        plain = not any(ints_attribute(node, "pads") or []) and node.input[0] not in node.input[1:]
        return False if plain and shape and all(size == 1 for size in shape[SPACE:]) else None
    if kind == "BatchNormalization" and not int_attribute(node, "training_mode", 0):
        scale = slider.values(node.input[1])
        return scale is not None and bool((scale > 0).all())
    if kind == "Neg":
        return False
    if kind == "Gather" and int_attribute(node, "axis", 0) == CHANNELS:
        return True
    if kind == "Slice" and slider.listed(node, "axes", 3) == [CHANNELS]:
        return True
    numbers = [slider.values(name) for name in node.input]
    constant = next((each for each in numbers if each is not None), None)
    if kind not in ("Add", "Sub", "Mul", "Div") or constant is None or all(each is not None for each in numbers):
        return None
    if numbers[0] is not None and kind in ("Sub", "Div"):
        return False if kind == "Sub" else None
    return kind in ("Add", "Sub") or bool((constant > 0).all())


def _factor(slider: Slider, node: NodeProto) -> float | None:
    """Return the positive number that a node multiplies every class by; None where it does something else."""
    if op(node) not in ("Mul", "Div") or not _affine(slider, node):
        return None
    values = next(np.asarray(each, np.float64) for name in node.input if (each := slider.values(name)) is not None)
    number = float(values.flat[0])
    return (number if op(node) == "Mul" else 1 / number) if (values == number).all() else None


def _shape(slider: Slider, name: str) -> Sequence[int]:
    made = slider.tensors.made(name)
    return slider.constants.shape(name) or slider.shapes.get(name, ()) if made is None else made.shape
