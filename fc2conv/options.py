"""What a caller may choose, as frozen types shared by the library and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Scope = Literal["spatial", "all"]
Form = Literal["keep", "external", "inline"]
OrtOpt = Literal["disable", "all", "both"]
ConvRank = Literal["auto", "1d", "2d"]


@dataclass(frozen=True)
class Limits:
    """What the work on one model may take, which is done in a process of its own: seconds, and bytes of memory.

    `None` is chosen by the size of the model: 900 s and one more for every 2 MiB; 4 GiB and eight times the model, but
    no more than 0.9 of the machine's memory.
    """

    timeout: float | None = None
    memory_limit: int | None = None


@dataclass(frozen=True)
class VerifyOptions:
    """How two models are compared.

    `seed` seeds every input, `check_n` is how many random inputs are run per batch size (>= 1), and `rtol`
    and `atol` bound max|a - b| <= atol + rtol * max|a| per output; `None` chooses by element type. `val_range` is
    the least and the largest number that is fed; `None` takes it from the model, or N(0, 1). `load_inputs` are files
    whose arrays are fed instead (`FILE.npz`, `NAME:FILE.npy`), and `save_failing_inputs` is the folder for those
    on which the models differ. `ort_opt` is the level of onnxruntime's graph optimizations, `providers` are its
    execution providers (none: the CPU), `custom_op_libraries` the libraries with operators that it is given,
    `per_output` is a relative tolerance for some outputs by name, and `certificate` is a report with hashes against
    which the two models are checked as well. `limits` are those of a comparison alone; one that is part of a conversion
    has a share in the conversion's.
    """

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
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Options:
    """How one model is converted.

    `include` and `exclude` are shell patterns on node names (or on the name of the first output of a node that
    has none); `input_shapes` fixes the shapes of graph inputs for the analysis only; `max_added_transposes` is
    the budget of layout nodes per head behind opaque nodes (`None`: 0 for scope `spatial`, no bound for `all`);
    `conv_rank` is the rank of convolutions over values that come from no map of their own (`auto`: what adds the
    fewest layout nodes); `expand_block_quantized` lets weights become floating point that no kernel holds in blocks;
    `form` is where the output keeps its weights, and `hashes` asks for the SHA-256 of the files in the report.
    `limits` are those of the whole work on the model.
    """

    scope: Scope = "spatial"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    freeze_initializers: bool = False
    max_added_transposes: int | None = None
    conv_rank: ConvRank = "auto"
    expand_block_quantized: bool = False
    force: bool = False
    form: Form = "keep"
    verify: bool = True
    hashes: bool = False
    verification: VerifyOptions = field(default_factory=VerifyOptions)
    limits: Limits = field(default_factory=Limits)
