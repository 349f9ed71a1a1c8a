"""Golden cases as text: the flags of a conversion, a model, and what comes out.

    # flags: --scope all
    # random: w float[5,24] seed 1
    <ir_version: 8, opset_import: ["": 13]>
    graph (float[N,4,3,2] x) => (float[N,5] y)
    {
       f = Flatten (x)
       [fc] y = MatMul (f, w)
    }
    # output: converted, proved, layout nodes 1 -> 1
    # fc: [3, 2]
    graph (float[N,4,3,2] x) => (float[N,5] y)
       <float[5,4,3,2] w>
    {
       ...

Each file is `cases/FAMILY/NAME.onnxtxt`. Above `# output` it is written by hand, below by `pytest --update-golden`.
A line `# random` makes an initializer of normal values (`positive` ones, as a variance has; small integers for integer
types; `in a Constant`: a node). `# sizes` gives symbolic dimensions their sizes; N is 1 and then 3 where it says
nothing. `# tolerance` bounds max|a - b| / max|a|, else 1e-5. `# verdict: agrees` is for what no proof follows.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from fc2conv.cli.convert import convert
from fc2conv.cli.parameters import options
from fc2conv.ir.graph import walk
from fc2conv.options import Options
from fc2conv.report.types import Report

FOLDER = Path(__file__).parent / "cases"
OUTPUT = "# output:"
LAYOUT_OPS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}

_HEADER = re.compile(r"^# (\w+): *(.*)$", re.MULTILINE)
_RANDOM = re.compile(r"(\S+) (\w+)(?:\[([\d,]*)\])? seed (\d+)( positive)?( in a Constant)?")
_TYPES = re.compile(r"(\w+): (?:ints?|strings?|floats|graph|tensor) = (?!\[\]|@)")


@dataclass(frozen=True)
class Case:
    """One file: `given` is its text above the output, `expected` the output."""

    path: Path
    given: str
    expected: str

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.stem

    @cached_property
    def header(self) -> dict[str, list[str]]:
        """The values of each `# key: value`."""
        found: dict[str, list[str]] = {}
        for key, value in _HEADER.findall(self.given):
            found.setdefault(key, []).append(value)
        return found

    def model(self) -> ModelProto:
        """The model, with its random weights."""
        model = onnx.parser.parse_model(self.given)
        for line in self.header.get("random", []):
            _add_random(model.graph, line)
        if model.ir_version < 4:  # such a model lists every initializer as an input
            for tensor in model.graph.initializer:
                model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        return model

    @property
    def options(self) -> Options:
        """What the flags say, without a verification: the tests judge the result themselves."""
        return _options(self.header.get("flags", [""])[0])

    @property
    def tolerance(self) -> float:
        """The bound of max|a - b| / max|a|."""
        return float(self.header.get("tolerance", ["1e-5"])[0])

    @property
    def runs(self) -> list[dict[str, int]]:
        """The symbolic sizes of each run."""
        words = self.header.get("sizes", [""])[0].split()
        sizes = {name: int(size) for name, size in (word.split("=") for word in words)}
        open_batch = re.search(r"[\[,]N[,\]]", self.given)
        return [{"N": batch, **sizes} for batch in ((1, 3) if open_batch and "N" not in sizes else (1,))]


@cache
def _options(flags: str) -> Options:
    command = ["in.onnx", "out.onnx", "--no-config", "--no-verify", *shlex.split(flags)]
    with convert.make_context("convert", command) as context:
        return options(context.params)


def read(path: Path) -> Case:
    """A case from its file."""
    given, output, expected = path.read_text("utf-8").partition(OUTPUT)
    return Case(path, given, output + expected)


CASES = [read(path) for path in sorted(FOLDER.glob("*/*.onnxtxt"))]


def _add_random(graph: GraphProto, line: str) -> None:
    found = _RANDOM.fullmatch(line)
    assert found, f"# random: {line!r} is not NAME TYPE[DIMS] seed NUMBER"
    name, kind, dims, seed, positive, constant = found.groups()
    shape = [int(size) for size in dims.split(",")] if dims else []
    draw, dtype = (
        np.random.default_rng(int(seed)),
        helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(kind.upper())),
    )
    if np.issubdtype(dtype, np.integer):
        least = 0 if positive or np.issubdtype(dtype, np.unsignedinteger) else -3
        values = draw.integers(least, 4, shape)
    else:
        values = draw.standard_normal(shape) * 0.25
        values = np.abs(values) + 0.5 if positive else values
    tensor = numpy_helper.from_array(np.asarray(values).astype(dtype), name)
    if constant:
        graph.node.insert(0, helper.make_node("Constant", [], [name], value=tensor))
    else:
        graph.initializer.append(tensor)


# ------------------------------------------------------------------ output


def layout_nodes(model: ModelProto) -> int:
    """How many layout nodes the model holds, in subgraphs and functions too."""
    nodes = [node for _, graph in walk(model.graph) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    return sum(node.op_type in LAYOUT_OPS for node in nodes)


def output(report: Report, model: ModelProto, verdict: str) -> str:
    """What a case's file says below `# output`: the decisions, and the graph if it is another one."""
    layout = report.layout_nodes
    lines = [f"{OUTPUT} {report.outcome}, {verdict}, layout nodes {layout.before} -> {layout.after}"]
    for layer in report.sites:
        kept = layer.reason and f"{layer.reason.code} at {layer.reason.node}"
        lines.append(f"# {layer.scope}{'/' * bool(layer.scope)}{layer.node}: {kept or layer.kernel_shape}")
    if report.outcome == "converted":
        lines.append(text(model))
    return "\n".join(lines) + "\n"


def text(model: ModelProto) -> str:
    """A graph as text, and the functions behind it: weights by type and shape, small integers by their values."""
    short = ModelProto()
    short.CopyFrom(model)
    for _, graph in walk(short.graph):
        _shorten(graph)
    printed = onnx.printer.to_text(short)
    plain = _TYPES.sub(r"\1 = ", printed[printed.index(">\ngraph") + 2 :]).replace(" =  {", " = {")
    return "\n".join(_wrapped(line.rstrip()) for line in plain.rstrip().split("\n"))


def _wrapped(line: str) -> str:
    """A list of declarations in lines that fit a screen."""
    indent = " " * (len(line) - len(line.lstrip()) + 1)
    if not line.lstrip().startswith("<"):
        return line
    return textwrap.fill(line, 110, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _shorten(graph: GraphProto) -> None:
    weights = [tensor for tensor in graph.initializer if not _shown(tensor)]
    shown = [tensor for tensor in graph.initializer if _shown(tensor)]
    infos = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in weights]
    for name in ("initializer", "value_info"):
        graph.ClearField(name)
    graph.initializer.extend(shown)
    graph.value_info.extend(infos)
    for node in graph.node:
        for each in node.attribute:
            if each.type == AttributeProto.TENSOR and not _shown(each.t):
                kind, dims = TensorProto.DataType.Name(each.t.data_type), ",".join(map(str, each.t.dims))
                each.CopyFrom(helper.make_attribute(each.name, f"{kind}[{dims}]"))


def _shown(tensor: TensorProto) -> bool:
    """Whether a tensor is short, and its values are whole numbers or alone."""
    values = numpy_helper.to_array(tensor)
    if values.size > 16 or values.dtype.kind not in "biuf":
        return False
    return values.size == 1 or values.dtype.kind in "biu" or bool((values == np.round(values)).all())
