"""Two models, compared check by check."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import msgspec
from onnx import helper

from fc2conv.io.choices import check_shapes
from fc2conv.io.forms import declared_shapes
from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Certificate, Check, OutputDifference, Verdict, Verification, worst
from fc2conv.verification import feeds
from fc2conv.verification.exact.check import check_exact, position, same_nodes
from fc2conv.verification.exact.positions import MOST_ITEMS
from fc2conv.verification.exact.result import Exact
from fc2conv.verification.fitting import ITEMS, fits, grown, sizes_of
from fc2conv.verification.nodes import in_order, is_random
from fc2conv.verification.numeric import Comparison, judged, saved
from fc2conv.verification.recorded import identity
from fc2conv.verification.runtime import use_libraries
from fc2conv.verification.structure import check_signature, check_structure, check_valid, comparable, noted
from fc2conv.verification.trials import NAME, OTHER_BATCH, Trial, run_models


def skipped(name: str, why: str) -> Check:
    """Return a check that was not made."""
    return Check(name=name, verdict=Verdict.SKIPPED, detail=why)


def verify_pair(
    original: ModelFile, converted: ModelFile, ours: bool, options: VerifyOptions, inlined: ModelFile | None = None
) -> Verification:
    """Compare two models, by checks in the report's order: `checker`, `signature`, `structure`, `exact`, `numeric`.

    The verdict on an output is

    - differs, if exact arithmetic or the numbers say so;
    - else proved, if exact arithmetic says so: a difference of numbers is then rounding, and does not count;
    - else inconclusive, if exact arithmetic follows both models and they part, however close the numbers are;
    - else agrees, if the numbers do;
    - else inconclusive.

    The verdict of the whole is the worst. If the converted model is one of `ours`, its description must be unchanged.
    For two models of others note what they only say in another way; where their signatures are not the same, show the
    numbers if one feed suits both. Raise UsageError for `input_shapes` that fit no input.

    `inlined` is the original with the functions inlined that the converted model lacks. It is compared instead of the
    original where each node is the same, as values of functions then have the names by which both models are followed.
    """
    check_shapes(options.input_shapes, declared_shapes(original.model))
    use_libraries(options.custom_op_libraries)
    sizes = sizes_of(original, options.input_shapes)
    if inlined is not None and inlined.model is not original.model and options.only != "numeric":
        original = inlined if same_nodes(original, inlined, sizes[min(sizes)]) else original
    checks = [
        check_valid(original, converted, ours),
        check_signature(original, converted, ours),
        check_structure(original, converted, ours),
    ]
    notes = [] if ours else noted(original, converted)
    original, converted = _with_drawn_names(original, converted)
    certificate = None
    if any(check.verdict is Verdict.DIFFERS for check in checks[1:]):
        exact, numeric = Exact(skipped("exact", "see above")), Comparison(skipped(NAME, "see above"))
        if not ours and comparable(original, converted) and options.only != "exact":
            numeric = judged(run_models(original, converted, options, named=False))
    else:
        exact, numeric, certificate = _compared(original, converted, sizes, options, ours)
    last, again = saved(numeric, options)
    checks += [exact.check, last]
    outputs = outputs_of(original, exact, replace(numeric, check=last), ours)
    faults = [check.verdict for check in checks if check.verdict is Verdict.DIFFERS]
    undecided = [check.verdict for check in checks[:1] if check.verdict is Verdict.INCONCLUSIVE]  # a file not valid
    verdict = worst([*(each.verdict for each in outputs), *faults, *undecided])
    return Verification(
        verdict=Verdict.INCONCLUSIVE if verdict is Verdict.SKIPPED else verdict,
        checks=checks,
        outputs=outputs,
        parting=exact.parting,
        certificate=certificate,
        notes=notes,
        reproduce=again,
    )


def _with_drawn_names(original: ModelFile, converted: ModelFile) -> tuple[ModelFile, ModelFile]:
    """Return both models with the same names for what they draw.

    Random numbers are distinguished by the names of results. Names that only one model has are paired in their order.
    """
    drawn = [[n for n in in_order(file.model.graph.node) if is_random(n)] for file in (original, converted)]
    names = [{node.output[0] for node in nodes} for nodes in drawn]
    old, new = ([n for n in nodes if n.output[0] not in names[0] & names[1]] for nodes in drawn)
    if not old or [n.op_type for n in old] != [n.op_type for n in new]:
        return original, converted
    pairs = {(a.output[0], b.output[0]): f"{a.output[0]} as {b.output[0]}" for a, b in zip(old, new, strict=True)}
    first, second = ({pair[i]: name for pair, name in pairs.items()} for i in (0, 1))
    return _drawing(original, first), _drawing(converted, second)


def _drawing(file: ModelFile, names: Mapping[str, str]) -> ModelFile:
    """Return the model with other names for these results of nodes, and an Identity of each for its readers."""
    model = deepcopy(file.model)
    del model.graph.node[:]
    for node in file.model.graph.node:
        model.graph.node.append(node)
        if node.output and node.output[0] in names:
            model.graph.node[-1].output[0] = names[node.output[0]]
            model.graph.node.append(helper.make_node("Identity", [names[node.output[0]]], [node.output[0]]))
    return replace(file, model=model)


def _compared(
    original: ModelFile, converted: ModelFile, sizes: dict[int, feeds.Shapes], options: VerifyOptions, ours: bool
) -> tuple[Exact, Comparison, Certificate | None]:
    """Prove, and run the models: once where all is proved and no more runs are asked for.

    Where the models are not proved at the likeliest sizes, try exact arithmetic at the sizes that ran.
    """
    if options.only == "numeric":
        runs = run_models(original, converted, options, items=_items(position(original, converted, sizes)), named=ours)
        return Exact(skipped("exact", "only numbers are asked for")), judged(runs), None
    files = identity(original), identity(converted)

    def prove(at: dict[int, feeds.Shapes]) -> Exact:
        more = grown(original, at, options.input_shapes)
        return check_exact(original, converted, at, options.seed, repr(files).encode(), more)

    exact = prove(sizes)
    if exact.stopped and exact.proved:  # only some numbers of items suit the model
        exact = prove({min(sizes): sizes[min(sizes)]})
    numeric = Comparison(skipped(NAME, "only a proof is asked for"))
    if options.only != "exact":
        brief = exact.proved and options.check_n == 1
        how = {"brief": brief, "items": _items(exact.position), "probes": ours or not exact.proved, "named": ours}
        runs = run_models(original, converted, options, **how)
        if not exact.proved:
            parted = exact.parted and not exact.position_unseen
            for others in _sizes_that_run(original, runs[0], sizes, options.input_shapes, parted):
                exact = prove(others)
                if not exact.proved:
                    break
        numeric = judged(runs, exact.same)
    return (
        exact,
        numeric,
        Certificate(
            a=files[0],
            b=files[1],
            seed=options.seed,
            primes=list(exact.primes),
            residues=dict(exact.residues),
            input_shapes={name: list(shape) for name, shape in options.input_shapes.items()},
        ),
    )


def _items(position: int) -> int:
    """Return a second batch that goes beyond a position, if that is not too far.

    The position leaves room for one item behind the one that a node names.
    """
    return max(OTHER_BATCH, position + 1 if position <= MOST_ITEMS + 1 else 0)


def outputs_of(original: ModelFile, exact: Exact, numeric: Comparison, ours: bool) -> list[OutputDifference]:
    """Return the differences of all outputs, and of inner values that differ.

    Models of others that are not proved may part where no run shows it. For `ours` the ends of what was converted are
    compared as well: where these agree, an output without numbers (no box was found) agrees too.
    """
    known = {each.output: each for each in numeric.outputs}
    found = []
    names = dict.fromkeys(v.name for v in original.model.graph.output)
    parted = (name for name, each in known.items() if name not in names and each.numeric is Verdict.DIFFERS)
    for name in (*names, *parted):
        blank = OutputDifference(output=name, verdict=numeric.check.verdict, numeric=numeric.check.verdict)
        output = known.get(name, blank)
        said = exact.outputs.get(name, Verdict.SKIPPED)
        if Verdict.DIFFERS in (said, output.numeric):
            verdict = Verdict.DIFFERS
        elif said is Verdict.PROVED:
            verdict = said
        else:
            numbers = numeric.check.verdict if ours and output.numeric is Verdict.INCONCLUSIVE else output.numeric
            unseen = (exact.unseen and not ours) or numeric.hidden
            open_ = unseen or name in exact.followed or numbers is not Verdict.AGREES
            verdict = Verdict.INCONCLUSIVE if open_ else Verdict.AGREES
        found.append(msgspec.structs.replace(output, verdict=verdict, exact=said))
    return found


def _sizes_that_run(
    original: ModelFile,
    ran: Trial,
    tried: Mapping[int, feeds.Shapes],
    given: feeds.Given,
    parted: bool,
) -> list[dict[int, feeds.Shapes]]:
    """Return the shapes that are left to try; one batch after the other where the model does not take every batch.

    Where the models have `parted`, return only these batches, and only if it does not take the batch that parted.
    """
    found = sizes_of(original, given, ran.setting, ran.one_batch)
    rest = [found] if found != tried and not parted else []
    if ran.setting is None or len(tried) == 1 or (found != tried and not ran.one_batch):
        return rest
    batches = {n: replace(ran.setting, batch=n) for n in (1, *ITEMS)}
    suit = [n for n, setting in batches.items() if fits(original, setting, given)]
    if len(suit) in (0, len(batches)) or (parted and min(tried) in suit):
        return rest
    return [{n: feeds.shapes(original.model, batches[n], given)} for n in suit]
