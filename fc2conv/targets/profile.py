"""A profile: the limits and preferences of one target, as a TOML file says them.

Every fact has a source, and every source a date. A limit is a list of facts, all of which hold; a fact that names
`types` holds for layers of these types alone. A table that is missing sets no limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from fc2conv.errors import UsageError
from fc2conv.io.parsing import of_toml
from fc2conv.options.checked import MOST_MULTIPLE, close

Count = Annotated[int, msgspec.Meta(ge=1)]


class Source(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Where a fact is from: a document or a compiler, its address, its version, and the day on which it was read."""

    title: str
    date: str
    url: str = ""
    version: str = ""


class Fact(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What every fact has: the name of its source, and what else is to be said of it."""

    source: str
    note: str = ""


class Limit(Fact, frozen=True, kw_only=True, rename="kebab"):
    """The numbers that a target takes: a range, some numbers, odd ones, multiples of a number."""

    least: Count | None = None
    most: Count | None = None
    allowed: list[Count] = []
    odd: bool = False
    multiple: Annotated[int, msgspec.Meta(ge=1, le=MOST_MULTIPLE)] = 1
    types: list[str] = []

    def takes(self, value: int) -> bool:
        """Return whether a number is within the limit."""
        if (self.least is not None and value < self.least) or (self.most is not None and value > self.most):
            return False
        return not ((self.allowed and value not in self.allowed) or (self.odd and value % 2 == 0)) and (
            value % self.multiple == 0
        )

    def __str__(self) -> str:
        low, high = self.least, self.most
        ends = f"{low} to {high}" if low is not None and high is not None else ""
        ends = ends or ("" if high is None else f"at most {high}") or ("" if low is None else f"at least {low}")
        words = [ends, ", ".join(map(str, self.allowed)), "odd" if self.odd else ""]
        words.append(f"a multiple of {self.multiple}" if self.multiple != 1 else "")
        return " and ".join(filter(None, words)) or "any"


class Law(Fact, frozen=True, kw_only=True, rename="kebab"):
    """A limit of the weights that one output reads: height * width * ceil(input channels / lanes) <= most."""

    lanes: Count
    most: Count
    types: list[str] = []

    def __str__(self) -> str:
        return f"height * width * ceil(channels / {self.lanes}) at most {self.most}"


class Names(Fact, frozen=True, kw_only=True, rename="kebab"):
    """Some names: of operators, or of element types as NumPy calls them."""

    names: list[str]

    def takes(self, value: str) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return ", ".join(self.names)


class Pairs(Fact, frozen=True, kw_only=True, rename="kebab"):
    """The kernels that a target has, as (height, width)."""

    sizes: list[tuple[Count, Count]]

    def __str__(self) -> str:
        return ", ".join(f"{height}x{width}" for height, width in self.sizes)


class Flag(Fact, frozen=True, kw_only=True, rename="kebab"):
    """A yes or no."""

    value: bool

    def __str__(self) -> str:
        return "yes" if self.value else "no"


class Weight(Fact, frozen=True, kw_only=True, rename="kebab"):
    """What one node of an operator costs, where 1 is the default; Reshape is Flatten, Squeeze and Unsqueeze as well."""

    operator: Literal["Reshape", "Transpose"]
    weight: Annotated[float, msgspec.Meta(ge=0, le=1000)]

    def __str__(self) -> str:
        return f"{self.operator} {self.weight:g}"


class Norm(Fact, frozen=True, kw_only=True, rename="kebab"):
    """How a norm over the channels runs best: as it is, or as reductions over axis 1 of the map."""

    value: Literal["keep", "map"]

    def __str__(self) -> str:
        return self.value


class Form(Fact, frozen=True, kw_only=True, rename="kebab"):
    """The form in which the target runs a layer best; with `operators` a layer of these, which comes before others."""

    value: Literal["map", "point", "keep"]
    operators: list[str] = []

    def __str__(self) -> str:
        return f"{self.value} for {', '.join(self.operators)}" if self.operators else self.value


class Convolutions(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What a convolution may be.

    `kernels` lists pairs where height and width do not vary apart; a kernel of one dimension has a width alone.
    `input_channels` are those of one group, `flattened` bounds the channels and cells of a map that a Reshape makes
    channels of one cell. `height` and `width` are those of the map that is read.
    """

    kernel_height: list[Limit] = []
    kernel_width: list[Limit] = []
    kernel_area: list[Limit] = []
    kernel_law: list[Law] = []
    kernels: list[Pairs] = []
    input_channels: list[Limit] = []
    output_channels: list[Limit] = []
    flattened: list[Limit] = []
    groups: list[Limit] = []
    rank: list[Limit] = []
    height: list[Limit] = []
    width: list[Limit] = []
    types: list[Names] = []


class Layers(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What a fully connected layer may be that stays one.

    `operators` are those that the target takes for a layer (none: Gemm and MatMul), `rank` is that of the input, and
    `plain` asks for a Gemm with alpha = beta = 1 and transA = 0.
    """

    runs: list[Flag] = []
    operators: list[Names] = []
    inputs: list[Limit] = []
    outputs: list[Limit] = []
    rank: list[Limit] = []
    plain: list[Flag] = []
    types: list[Names] = []
    batch: list[Limit] = []


class Products(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Whether the target runs a product of two values that are computed."""

    runs: list[Flag] = []


class Whole(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What holds for a model: its batch, whether all sizes must be numbers, and operators that the target lacks."""

    batch: list[Limit] = []
    static: list[Flag] = []
    lacks: list[Names] = []


class Preferences(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What runs best, which is what the cost of a plan is made of (the tiers are in planning/costs.py).

    | key | what it says | without it, as for `onnx` |
    | --- | --- | --- |
    | `form` | of a layer, or of `operators`: `map` (a kernel over the map), `point` (1x1 on one cell), `keep` | `map` |
    | `tokens` | of a layer over tokens, whose input has more dimensions than two: `map` (1x1) or `keep` | `form` |
    | `conv_rank` | of a convolution over tokens: the rank of its input | that of the network's own, else 4 |
    | `layout` | the weight of a Transpose, and of a Reshape (Flatten, Squeeze, Unsqueeze) | 1 each |
    | `qdq` | whether quantized layers are Conv between DequantizeLinear and QuantizeLinear | QLinearConv |
    | `norms` | of a norm over the channels: `map` writes it as reductions where that saves layout nodes | `keep` |
    """

    form: list[Form] = []
    tokens: list[Form] = []
    conv_rank: list[Limit] = []
    layout: list[Weight] = []
    qdq: list[Flag] = []
    norms: list[Norm] = []


class Profile(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """One target. `name` is that of the file without `.toml`; `like` names a shipped one whose tables it has."""

    name: str
    title: str
    like: str = ""
    about: str = ""
    confidence: Literal["high", "medium", "low"] = "high"
    sources: dict[str, Source] = {}
    conv: Convolutions = Convolutions()
    fc: Layers = Layers()
    product: Products = Products()
    model: Whole = Whole()
    prefers: Preferences = Preferences()

    @property
    def form(self) -> Literal["map", "point", "keep"]:
        """The form of a layer that runs best; a kernel over the map where the profile says nothing."""
        return next((fact.value for fact in self.prefers.form if not fact.operators), "map")

    def keeps(self, operator: str, rank: int | None) -> Form | None:
        """Return the preference to leave a layer unconverted, by its operator and the rank of its input; else None."""
        tokens = self.prefers.tokens if rank is not None and rank > 2 else []
        own = [fact for fact in (*tokens, *self.prefers.form) if operator in fact.operators]
        plain = [fact for fact in tokens or self.prefers.form if not fact.operators]
        found = next(iter([*own, *plain]), None)
        return found if found is not None and found.value == "keep" else None

    def convolves(self, kind: str) -> bool:
        """Return whether a kernel may have an element type, as NumPy calls it."""
        return all(fact.takes(kind) for fact in self.conv.types)

    @property
    def lacks(self) -> dict[str, Names]:
        """The operators that the target lacks, each with the fact that says so."""
        return {name: fact for fact in self.model.lacks for name in fact.names}

    def said(self, source: str) -> str:
        """Name a source in a few words: its title, version and date."""
        found = self.sources.get(source)
        if found is None:
            return source
        return f"{found.title}{f' {found.version}' if found.version else ''}, {found.date}"

    def facts(self) -> Iterator[tuple[str, str, Fact]]:
        """Yield every fact with its table and its key, in the order of the tables."""
        for table in ("conv", "fc", "product", "model", "prefers"):
            part = getattr(self, table)
            for field in msgspec.structs.fields(part):
                for fact in getattr(part, field.name):
                    if isinstance(fact, Fact):
                        yield table, field.encode_name, fact


def table(text: str, where: str) -> dict[str, Any]:
    """Read the tables of a profile's text; raise UsageError for an unknown key, with the nearest one."""
    try:
        plain = of_toml(text)
    except ValueError as error:
        raise UsageError(f"{where} cannot be read as TOML ({error})", "correct the profile") from error
    _check_keys(plain, Profile, where)
    return plain


def made(plain: Mapping[str, Any], where: str) -> Profile:
    """Make the profile of some tables; raise UsageError for a value that does not fit its key."""
    try:
        found = msgspec.convert(plain, Profile)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}", "see docs/target-profiles.md for what a profile may say") from None
    for part, key, fact in found.facts():
        if fact.source not in found.sources:
            what = f"{where}: {part}.{key} names the source '{fact.source}', which [sources] has not"
            raise UsageError(what, f"add [sources.{fact.source}] with its title and date")
    return found


def _check_keys(plain: Mapping[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    """Raise UsageError for a key that the table does not have."""
    hints = get_type_hints(kind)
    known = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(kind)}
    for key, value in plain.items():
        if key not in known:
            near = close(key, known)
            remedy = f"did you mean '{near}'?" if near else f"it may have {', '.join(known)}"
            raise UsageError(f"{where}: there is no key '{key}'", remedy)
        inner = [each for each in (known[key], *get_args(known[key])) if _is_struct(each)]
        if not inner:
            continue
        by_name = not _is_struct(known[key]) and isinstance(value, dict)
        tables = value.values() if by_name else value if isinstance(value, list) else [value]
        for each in tables:
            if isinstance(each, dict):
                _check_keys(each, inner[0], f"{where}: {key}")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
