"""What a caller may choose, as frozen types shared by the library and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, replace
from pathlib import PurePath
from typing import Any, Literal, TypeVar

from fc2conv.dataclass import dataclass
from fc2conv.options.checked import Checked, near

Scope = Literal["spatial", "all"]
Form = Literal["keep", "external", "inline"]
OrtOpt = Literal["disable", "all", "both"]
Only = Literal["exact", "numeric"]
ConvRank = Literal["auto", "1d", "2d"]
GlobalPool = Literal["slide", "keep", "error"]
Norms = Literal["auto", "keep", "map"]
LayerForm = Literal["auto", "keep", "map", "point"]
OutputForm = Literal["keep", "4d"]
ScoreMap = Literal["logits", "probabilities"]
Reduction = Literal["none", "mean", "max"]
Padding = Literal["keep", "same", "valid"]

FAILING_INPUTS = "failing-inputs.npz"
"""The name of a file of failing inputs in its folder."""

DECIDES = {"decides": True}
"""The metadata of options that decide what a conversion makes; the others say how it is proved, stored and reported."""


_Kind = TypeVar("_Kind", bound=Checked)


_ELSEWHERE = {
    "fully_convolutional": "sliding=fc2conv.SlidingOptions()",
    "overwrite_input_shape": "input_shapes={'input': (1, 3, 224, 224)}",
    "no_verify": "verify=False",
    "exact_only": "only='exact'",
    "numeric_only": "only='numeric'",
    "external_data": "form='external'",
    "inline": "form='inline'",
}
"""What the library has for options of the command line that have other names there."""


def _instead(name: str, known: tuple[str, ...]) -> str:
    """Return what to write instead of a name that is no option."""
    if name in {each.name for each in fields(SlidingOptions)}:
        return f"write sliding=fc2conv.SlidingOptions({name}=...)"
    return f"write {_ELSEWHERE[name]}" if name in _ELSEWHERE else f"the nearest is {near(name, known)!r}"


def chosen(kind: type[_Kind], options: _Kind | None, given: Mapping[str, Any]) -> _Kind:
    """Make options of one kind: those that are given by name over `options`, or over the defaults.

    A name may be that of a field of the `verification` or the `limits` within. Raise TypeError for a name that is no
    option, with the nearest, and what `Checked` raises for a value.
    """
    if options is not None and not isinstance(options, kind):
        raise TypeError(f"options is {options!r}; give a fc2conv.{kind.__name__}, or each option by its name")
    start = kind() if options is None else options
    own = {each.name for each in fields(start)}  # type: ignore[arg-type]  # every subclass is a dataclass
    inner: dict[str, dict[str, Any]] = {}
    homes = {
        each.name: name for name in ("limits", "verification") if name in own for each in fields(getattr(start, name))
    }
    for name in given:
        if name not in own and name not in homes:
            raise TypeError(f"{name!r} is not an option; {_instead(name, (*own, *homes))}")
        if name not in own:
            inner.setdefault(homes[name], {})[name] = given[name]
    made = {name: value for name, value in given.items() if name in own}
    made |= {home: replace(made.get(home, getattr(start, home)), **values) for home, values in inner.items()}
    return replace(start, **made)  # type: ignore[type-var]


@dataclass(frozen=True)
class Limits(Checked):
    """What the work on one model may take, which is done in a process of its own: seconds, and bytes of memory.

    `None` is chosen by the size of the model: 900 s and one more for every 2 MiB; 4 GiB and eight times the model, but
    no more than 0.9 of the machine's memory.
    """

    timeout: float | None = None
    memory_limit: int | None = None


@dataclass(frozen=True)
class VerifyOptions(Checked):
    """How two models are compared.

    `only` leaves one of the two comparisons out: with "exact" nothing is run, so that no number is compared; with
    "numeric" the numbers decide, and nothing is proved. `seed` seeds every input and the primes of exact arithmetic,
    `check_n` is how many random inputs are run per batch size (>= 1), and `rtol` and `atol` bound
    max|a - b| <= atol + rtol * max|a| per output; `None` chooses by element type. `val_range` is
    the least and the largest number that is fed; `None` takes it from the model, or N(0, 1). `load_inputs` are files
    whose arrays are fed instead (`FILE.npz`, `NAME:FILE.npy`), and `save_failing_inputs` is the folder for those
    on which the models differ. `ort_opt` is the level of onnxruntime's graph optimizations, `providers` are its
    execution providers (none: the CPU), `custom_op_libraries` the libraries with operators that it is given,
    `per_output` is a relative tolerance for some outputs by name, and `certificate` is a report whose proof is made
    once more, with its seed, and compared. `reports` are the files that the caller writes afterwards; no file of the
    models may be one of them. `command` are the words of the command line that asked, for the one that shows a
    difference again. `limits` are those of a comparison alone; one that is part of a conversion shares its limits.
    """

    only: Only | None = None
    seed: int = 0
    check_n: int = 1
    rtol: float | None = None
    atol: float | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    val_range: tuple[float, float] | None = None
    load_inputs: tuple[str, ...] = ()
    save_failing_inputs: str | None = None
    ort_opt: OrtOpt = "disable"
    providers: tuple[str, ...] = ()
    custom_op_libraries: tuple[str, ...] = ()
    per_output: Mapping[str, float] = field(default_factory=dict)
    certificate: str | None = None
    reports: tuple[str, ...] = field(default=(), compare=False)
    command: tuple[str, ...] = field(default=(), compare=False)
    limits: Limits = field(default_factory=Limits)

    @property
    def failing_inputs(self) -> str | None:
        """The file that `save_failing_inputs` asks for."""
        folder = self.save_failing_inputs
        return None if folder is None else str(PurePath(folder) / FAILING_INPUTS)


def input_file(source: str) -> tuple[str, str]:
    """Split one of `load_inputs` into the name of an input, "" for a file that names them itself, and the file."""
    name, _, path = ("", "", source) if source.endswith(".npz") else source.rpartition(":")
    return name, path


@dataclass(frozen=True)
class SlidingOptions(Checked):
    """How a network is made fully convolutional, so that it runs on an image of any size.

    `input_axes` are the dimensions of each input that become symbols (none: those that the first convolution takes for
    spatial). `global_pool` is what becomes of pooling over the whole map at the end of a backbone: a window of the
    training extent that slides, what it was, or an obstacle. `score_map` chooses what each output gives ("" stands for
    all), `reduce` adds one answer beside each map, `upsample` brings the maps to the size of the input, and `cam` adds
    the class activation maps of a head of global pooling and one layer. `verify_crops` measures how far each cell is
    from the original on that crop. `output_stride` is how many pixels the cells are apart (`None`: as the network has
    it), with dilations instead of strides. `padding` chooses the cells: those of crops within the image (`keep`), one
    for each stride of pixels, with zeros around what the head reads (`same`), or those alone that read no padding
    (`valid`).
    """

    input_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    global_pool: GlobalPool = "slide"
    score_map: Mapping[str, ScoreMap] = field(default_factory=dict)
    reduce: Reduction = "none"
    upsample: bool = False
    output_stride: int | None = None
    padding: Padding = "keep"
    cam: bool = False
    verify_crops: bool = False


@dataclass(frozen=True)
class Options(Checked):
    """How one model is converted.

    `include` and `exclude` are shell patterns on node names (or on the name of the first output of a node that has
    none); `input_shapes` fixes the shapes of graph inputs, and of values of which nothing else says the shape, for the
    analysis only (0: an open size); `max_added_transposes` is the budget of layout nodes per head after opaque nodes
    (`None`: 0 for scope `spatial`, no bound for `all`); `conv_rank` is the rank of convolutions (`auto`: that of the
    network's own, else two dimensions; with `2d` a network of one dimension is lifted); `expand_block_quantized` lets
    weights become floating point that no kernel holds in blocks; with `for_many` the options are those of many models,
    so that a pattern need not match in this one; `form` is where the output keeps its weights, `hashes` asks for the
    SHA-256 of the files in the report, and `illustrate` for the figures of both models and a drawing of each head.
    `limits` are those of the whole work on the model. With `sliding` the whole network is made fully convolutional.

    `target` is the name of a profile or the path of one (`fc2conv targets`): which layers are converted, and into what,
    goes by what it takes and prefers. `layer_form` is the form of a layer (a kernel over the map, 1x1 on its cells as
    channels, or kept), `norms` writes norms of the channels as reductions where that saves layout nodes, `qdq`
    quantized layers as Conv between DequantizeLinear and QuantizeLinear, `requantize` quantizes weights per output that
    were quantized along their inputs, which changes the numbers, `max_kernel` bounds both sides of a kernel and
    `max_kernel_area` their product, `max_channels` the input and the output channels, of which `channel_multiple`
    divides the number; each replaces the target's. `static` is a batch that is written into the model, with the sizes
    of `input_shapes`, and with `outputs` the results of layers stay maps `[N, M, 1, 1]`.
    """

    scope: Scope = field(default="spatial", metadata=DECIDES)
    include: tuple[str, ...] = field(default=(), metadata=DECIDES)
    exclude: tuple[str, ...] = field(default=(), metadata=DECIDES)
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, metadata=DECIDES)
    freeze_initializers: bool = field(default=False, metadata=DECIDES)
    max_added_transposes: int | None = field(default=None, metadata=DECIDES)
    conv_rank: ConvRank = field(default="auto", metadata=DECIDES)
    expand_block_quantized: bool = field(default=False, metadata=DECIDES)
    force: bool = False
    form: Form = "keep"
    verify: bool = True
    hashes: bool = False
    illustrate: bool = False
    for_many: bool = False
    verification: VerifyOptions = field(default_factory=VerifyOptions)
    limits: Limits = field(default_factory=Limits)
    sliding: SlidingOptions | None = field(default=None, metadata=DECIDES)
    target: str | None = field(default=None, metadata=DECIDES)
    layer_form: LayerForm = field(default="auto", metadata=DECIDES)
    norms: Norms = field(default="auto", metadata=DECIDES)
    qdq: bool = field(default=False, metadata=DECIDES)
    requantize: bool = field(default=False, metadata=DECIDES)
    max_kernel: int | None = field(default=None, metadata=DECIDES)
    max_kernel_area: int | None = field(default=None, metadata=DECIDES)
    max_channels: int | None = field(default=None, metadata=DECIDES)
    channel_multiple: int | None = field(default=None, metadata=DECIDES)
    static: int | None = None
    outputs: OutputForm = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sliding is not None and self.sliding.verify_crops and not self.verify:
            raise ValueError("verify is False, and verify_crops is True; crops are part of a verification")


def deciding() -> tuple[str, ...]:
    """Return the names of the options that decide what a conversion makes."""
    return tuple(each.name for each in fields(Options) if each.metadata.get("decides"))


@dataclass(frozen=True)
class HeatmapOptions(Checked):
    """How a picture is fed to a sliding network, and what of its answer is drawn.

    A pixel p from 0 to 255 is fed as `(p * scale - mean) / std`, per channel; an 8-bit input takes p itself.
    `bgr` turns the channels round, `size` is (height, width) to which the picture is resized first, and `output` the
    map (`None`: the first). `label` are the classes, by number or by name (`None`: the `top` ones with the highest
    scores); `names` is the file that names them. `value_range` are the scores drawn darkest and brightest (`None`: the
    lowest and the highest of what is drawn), `opacity` is how much of the picture they cover. `box` frames the crop of
    the best cell, `legend` writes the class and the scale below, as they are on a sheet of several, and `save_map`
    writes the map beside as `.npy`.
    """

    label: int | str | tuple[int | str, ...] | None = None
    output: str | None = None
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False
    size: tuple[int, int] | None = None
    names: str | None = None
    top: int = 1
    value_range: tuple[float, float] | None = None
    opacity: float = 0.6
    box: bool = False
    legend: bool = False
    save_map: bool = False
    limits: Limits = field(default_factory=Limits)


_SAID_ELSEWHERE = frozenset(["command", "for_many", "hashes", "illustrate", "reports"])


def non_default(options: Options | VerifyOptions | Limits | SlidingOptions) -> dict[str, str]:
    """Return the options that are not the default, as text by the name of their field, and those within them."""
    default, changed = type(options)(), dict[str, str]()
    for each in fields(options):
        value = getattr(options, each.name)
        if isinstance(value, VerifyOptions | Limits | SlidingOptions):
            changed |= {**({each.name: "True"} if isinstance(value, SlidingOptions) else {}), **non_default(value)}
        elif value != getattr(default, each.name) and each.name not in _SAID_ELSEWHERE:
            changed[each.name] = _text(value)
    return changed


def _text(value: object) -> str:
    match value:
        case Mapping():
            return ", ".join(f"{name}:{_text(one)}" for name, one in sorted(value.items()))
        case tuple():
            return ",".join(map(str, value))
    return str(value)
