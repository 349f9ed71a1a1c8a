"""Sliding networks, the images on which they are tried, and the pairs of models that are compared on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property, partial
from math import lcm

from onnx import ModelProto

from fc2conv.dataclass import dataclass
from fc2conv.io.reader import ModelFile
from fc2conv.io.sizes import declared_size
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Check, OutputDifference, Verdict, worst
from fc2conv.verification import feeds
from fc2conv.verification.drafts import Shape
from fc2conv.verification.exact.check import check_exact
from fc2conv.verification.exact.positions import unseen
from fc2conv.verification.exact.result import Exact
from fc2conv.verification.exact.terms import Term
from fc2conv.verification.exact.walk import Walk
from fc2conv.verification.expected import Expected
from fc2conv.verification.fitting import sizes_of
from fc2conv.verification.nodes import label
from fc2conv.verification.numeric import Comparison, judged
from fc2conv.verification.pair import outputs_of, skipped, verify_pair
from fc2conv.verification.spec import Claims, Sizes
from fc2conv.verification.trials import NAME, run_models

_STEPS = 2
"""How many cells a map grows by on a larger image."""

Images = Mapping[str, Shape]
Values = Mapping[str, Term]


@dataclass
class Network:
    """A sliding network with its claims; `shapes` are those of inputs that a caller gives.

    Images without windows grow by multiples of `step` pixels.
    """

    file: ModelFile
    claims: Claims
    shapes: Mapping[str, Shape]
    step: int = 1

    def given(self, images: Images) -> dict[str, Shape]:
        """Return the shapes of inputs as a caller gives them; an open batch stays open."""
        found = dict(self.shapes)
        for value in feeds.inputs(self.file.model):
            if value.name in images:
                declared = declared_size(value.type.tensor_type.shape.dim[0]) or 0
                batch = self.shapes[value.name][0] if value.name in self.shapes else declared
                grows = 0 in self.claims.axes.get(value.name, {}).values()  # one image, without a batch
                found[value.name] = images[value.name] if grows else (batch, *images[value.name][1:])
        return found

    def fed(self, images: Images) -> feeds.Shapes:
        """Return the shapes of all inputs, for one item."""
        return feeds.shapes(self.file.model, next(feeds.settings()), self.given(images))

    def values(self, images: Images, file: ModelFile | None = None) -> dict[str, Term]:
        """Return all values of the network, or of a file with its inputs, on images of this size."""
        return Walk(file or self.file, self.fed(images)).run()

    @cached_property
    def _training(self) -> Values:
        return self.values(self.claims.inputs)

    def resized(self, sizes: Callable[[str, int, int], int]) -> Images:
        """Return images with sizes by their input, axis and training size."""
        shapes = {name: list(shape) for name, shape in self.claims.inputs.items()}
        for name, axes in self.claims.axes.items():
            for axis, dim in axes.items():
                shapes[name][dim] = sizes(name, axis, shapes[name][dim])
        return {name: tuple(shape) for name, shape in shapes.items()}

    def runs(self, name: str, axis: int) -> Sizes:
        """Return the sizes of an image along an axis on which the network runs."""
        return self.claims.sizes.get(name, {}).get(axis, Sizes())

    def larger(self) -> Iterator[Images]:
        """Yield larger images: some cells larger, and of a size that is no multiple of the stride."""

        def grown(odd: int, name: str, axis: int, size: int) -> int:
            every = {(claim.periods[axis], claim.every[axis]) for claim in self.claims.maps
                     if axis in claim.windowed and axis in claim.periods}  # fmt: skip
            if not every:
                return self.runs(name, axis).above(size - -(size // 2) // self.step * self.step + odd)
            period = lcm(*(period for period, _ in every))
            single = len(every) == 1 and min(cells for _, cells in every) == 1
            more = _STEPS if single and not odd else 1
            return self.runs(name, axis).above(size + period * more + (odd if period > 1 else 0))

        for odd in (0, 1):
            yield self.resized(partial(grown, odd))

    def beyond(self, values: Values) -> Iterator[str]:
        """Yield a line for each node that names a position of an axis that grows, beyond its size in `values`."""
        for node in self.file.model.graph.node:
            if position := unseen(node, self._training, values):
                yield f"{label(node)} names the position {position} of an axis that grows, beyond what is run"

    def described(self, images: Images) -> str:
        """Write the sizes of images along the axes that grow, in words."""
        every = [[images[name][dims[axis]] for axis in sorted(dims)] for name, dims in self.claims.axes.items() if dims]
        return ", ".join("x".join(map(str, sizes)) for sizes in every)

    def other_sizes(self, values: Values, images: Images) -> Iterator[str]:
        """Yield a line for each output that is to be as large as an image and is not."""
        for name, _, source in self.claims.upsampled:
            dims = self.claims.axes[source]
            wanted = tuple(images[source][dims[axis]] for axis in sorted(dims))
            shape = values[name].shape
            if shape is not None and tuple(shape[axis] for axis in sorted(dims)) != wanted:
                yield f"{name} has the shape {list(shape)}, and its image {list(wanted)}"


_NEITHER = "it has no head behind the padding, and the original makes no such map of a larger image"


def known_shapes(values: Values) -> dict[str, Shape]:
    """Return the shapes of values, as far as they are known."""
    return {name: term.shape for name, term in values.items() if term.shape is not None}


@dataclass
class Pairs:
    """The pairs of models that one check compares: what exact arithmetic and numbers say, and what was seen besides.

    Of each of the `outputs`, which the report lists with this `label`, some cells must be `compared`. The primes are
    made from the files in `key`.
    """

    name: str
    label: str
    network: Network
    options: VerifyOptions
    key: bytes
    outputs: Sequence[str]
    compared: set[str] = field(default_factory=set)
    exacts: list[Exact] = field(default_factory=list)
    numbers: list[Check] = field(default_factory=list)
    differences: dict[str, OutputDifference] = field(default_factory=dict)
    seen: list[Check] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def add(self, pair: Expected, images: Images, one_batch: bool = True) -> None:
        """Compare a pair, by numbers as well if it is the first pair, or is not proved."""
        exact = self._exact(pair, images, one_batch)
        numeric = Comparison(skipped(NAME, "only a proof is asked for"))
        if self.options.only != "exact" and not (self.exacts and exact.proved):
            options = replace(self.options, input_shapes=self.network.given(images))
            brief = exact.proved and options.check_n == 1
            numeric = judged(run_models(pair.wanted, pair.found, options, brief=brief, probes=False), exact.same)
        self.exacts.append(exact)
        self.numbers.append(numeric.check)
        self.compared.update(pair.compared)
        self._list(outputs_of(pair.wanted, exact, numeric, False))

    def _exact(self, pair: Expected, images: Images, one_batch: bool) -> Exact:
        """Prove one pair; several batches are compared only without `one_batch`, at the training size."""
        if self.options.only == "numeric":
            return Exact(skipped("exact", "only numbers are asked for"))
        sizes = sizes_of(pair.wanted, self.network.given(images))
        least = min(sizes)
        sizes = {least: sizes[least]} if one_batch else sizes
        return check_exact(pair.wanted, pair.found, sizes, self.options.seed, self.key)

    def _list(self, differences: Iterable[OutputDifference]) -> None:
        """List what is known of outputs; for an output that was compared before keep the worse verdict."""
        for each in differences:
            before = self.differences.get(each.output, each)
            if before is each or worst([each.verdict, before.verdict]) != before.verdict:
                self.differences[each.output] = each

    def take(self, other: Pairs) -> None:
        """Add what another check compared."""
        self.exacts += other.exacts
        self.numbers += other.numbers
        self.compared |= other.compared
        self._list(other.differences.values())

    def fault(self, verdict: Verdict, details: Iterable[str]) -> None:
        """Add a check of this verdict for each of these details."""
        self.seen += (Check(name=self.name, verdict=verdict, detail=each) for each in details)

    def check(self) -> Check:
        """Return the verdict of exact arithmetic and of what was seen; where these do not decide, that of the numbers.

        An output of which nothing was compared makes it inconclusive, and is listed.
        """
        missing = [name for name in self.outputs if name not in self.compared]
        if missing:
            of = f" of {', '.join(missing)}" if self.compared else ""
            self.fault(Verdict.INCONCLUSIVE, [f"nothing compared{of}: {_NEITHER}"])
            listed = (f"{name} ({self.label})" for name in missing)
            self._list(OutputDifference(output=each, verdict=Verdict.INCONCLUSIVE) for each in listed)
        decided = [*self.seen, *(exact.check for exact in self.exacts if exact.parted or exact.unseen)]
        wrong = [each for each in (*decided, *self.numbers) if each.verdict is Verdict.DIFFERS]
        if wrong or decided:
            first = (wrong or decided)[0]
            return Check(name=self.name, verdict=first.verdict, detail=first.detail)
        last = next((exact for exact in self.exacts if not exact.proved), self.exacts[0])
        verdict, numbers = Verdict.PROVED, ""
        if not last.proved:
            found = worst(check.verdict for check in self.numbers)
            verdict = Verdict.INCONCLUSIVE if found is Verdict.SKIPPED else found
            numbers = next(check.detail for check in self.numbers if check.verdict in (found, Verdict.SKIPPED))
        detail = "; ".join(filter(None, (last.check.detail, *self.said, numbers)))
        return Check(name=self.name, verdict=verdict, detail=detail)


# ------------------------------------------------------------------ an existing network, and what is made now

_GEOMETRY = "fc2conv.geometry."
"""The prefix of the keys of metadata_props that say where the cells of an output lie."""


def check_remade(
    made: ModelFile, there: ModelFile, claims: Claims, options: VerifyOptions, versions: tuple[str, str]
) -> Check:
    """Compare a model with what is made now, on larger images; `versions` are those that made the two.

    A network that another version made may be another one and right as well: that is inconclusive.
    """
    verdict, detail = _remade(made, there, claims, options)
    by, now = versions
    if not verdict.accepted and by != now:
        verdict, detail = Verdict.INCONCLUSIVE, f"{detail}; made by fc2conv {by}, and this is {now}"
    return Check(name="remade", verdict=verdict, detail=detail)


def _remade(made: ModelFile, there: ModelFile, claims: Claims, options: VerifyOptions) -> tuple[Verdict, str]:
    one, other = _geometry(made.model), _geometry(there.model)
    if one != other:
        name = next(key for key in (*one, *other) if one.get(key) != other.get(key))
        return Verdict.DIFFERS, f"what {name} says of the cells is not what this conversion says"
    fresh, own = (Network(file, claims, options.input_shapes) for file in (made, there))
    proofs: list[str] = []
    verdict = Verdict.PROVED
    for images in fresh.larger():
        if proofs and any(fresh.values(images)[claim.name].shape is None for claim in claims.maps):
            continue  # a size that does not suit every network
        at = replace(options, input_shapes=fresh.given(images), load_inputs=())
        found = verify_pair(made, there, False, at)
        if not found.verdict.accepted:
            last = next(check for check in found.checks if check.verdict == found.verdict)
            return found.verdict, f"not what this conversion makes of the original, {last.name}: {last.detail}"
        if beyond := next(own.beyond(own.values(images)), ""):
            return Verdict.INCONCLUSIVE, beyond
        verdict = worst([verdict, found.verdict])
        exact = next(check.detail for check in found.checks if check.name == "exact")
        proofs.append(f"{exact}, on {fresh.described(images)}")
    return verdict, f"what this conversion makes of the original: {'; '.join(proofs)}"


def _geometry(model: ModelProto) -> dict[str, str]:
    return {str(entry.key): entry.value for entry in model.metadata_props if str(entry.key).startswith(_GEOMETRY)}
