"""Two models held against each other, rung by rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fc2conv.contained import note
from fc2conv.onnxfile import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.proof import feeds
from fc2conv.proof.alone import check_alone
from fc2conv.proof.certificate import Certificate
from fc2conv.proof.exact.check import check_exact
from fc2conv.proof.exact.positions import MOST_ITEMS
from fc2conv.proof.judging import Comparison, saved
from fc2conv.proof.notes import noted
from fc2conv.proof.numeric import compare_models, observe
from fc2conv.proof.proof import Site
from fc2conv.proof.runtime import use_libraries
from fc2conv.proof.sites import SitePair, recognise
from fc2conv.proof.structure import (
    Tensors,
    changed_weight,
    check_graphs,
    check_signature,
    check_structure,
    check_valid,
    comparable,
)
from fc2conv.report.types import Check, Verdict, Verification

_BATCH = 2
_UNLIKE = "the models are not made of the same nodes"
_LATER = ("exact", "numeric")
_PROOFS = ("exact", "certificate", "numeric")
_ITEMS = (2, 3, 5, 9, 17, 33, MOST_ITEMS + 1)
"""Batches for exact arithmetic, the least of which is computed; see `check_exact`."""
_FREE = frozenset(
    """Gemm MatMul FusedGemm FusedMatMul TransposeMatMul QLinearMatMul QGemm MatMulInteger
MatMulIntegerToFloat DynamicQuantizeMatMul Conv QLinearConv ConvInteger Add Sub Mul Div Identity Constant
ConstantOfShape Flatten Reshape Squeeze Unsqueeze Transpose Shape Gather Concat Slice Cast""".split()
)
"""Ops that a conversion adds or takes away."""


def verify_pair(
    original: ModelFile, converted: ModelFile, pairs: Sequence[SitePair] | None, options: VerifyOptions
) -> Verification:
    """Compares two models and tells what was proved.

    The rungs, in the report's order: `checker`, `signature`, `structure`, `exact`, then `certificate` and `layers`
    where exact arithmetic could not follow the models, and `numeric`. The verdict is

    - fail, if any rung fails;
    - else inconclusive, if exact arithmetic finds that the two part, however close the numbers are;
    - else pass, if one of `exact`, `certificate`, `numeric` passes;
    - else inconclusive.

    With `pairs` None the layers are recognised by the names of their nodes; if some are, and
    the models are not made of the same nodes apart from them, a contradiction is inconclusive, as another tool may have
    fused what it says is not there. With none recognised there is no certificate unless the two models are the same. A
    broken signature or structure ends the comparison, as there is then nothing to compare. Raises UsageError for
    `input_shapes` that fit no input.
    """
    feeds.check_shapes(original.model, options.input_shapes)
    use_libraries(options.custom_op_libraries)
    tensors, told = Tensors(original, converted), pairs is not None
    checks = [
        check_valid(original, converted),
        check_signature(original, converted, exact=told),
        check_structure(original, converted, tensors) if told else check_graphs(original, converted),
    ]
    notes = [] if told else noted(original.model, converted.model, checks[1].verdict == "pass")
    broken = any(check.verdict == "fail" for check in checks[1:])
    if broken and (told or not comparable(original, converted)):
        skipped = [Check(name=name, verdict="skipped", detail="see above") for name in _LATER]
        return Verification(verdict="fail", checks=checks + skipped, notes=notes)
    found = pairs if pairs is not None else recognise(original, converted)
    numeric = compare_models(original, converted, options, found, told)
    if broken:
        skipped = [Check(name=name, verdict="skipped", detail="see above") for name in _LATER[:-1]]
        last, again = saved(numeric, options)
        return Verification(
            verdict="fail", checks=[*checks, *skipped, last], outputs=numeric.outputs, notes=notes, reproduce=again
        )
    exact = check_exact(original, converted, _sizes(original, numeric, options.input_shapes), options.seed)
    rungs, unlike = [exact.check], exact.parted
    proved, refuted = exact.proved, False
    if not exact.proved:
        shapes = _shapes(original, numeric, options.input_shapes)
        certificate, sites = _certificate(original, converted, found, shapes, tensors, told)
        rungs += [certificate, check_alone(sites, numeric.captured)]
        proved = certificate.verdict == "pass" and not exact.parted
        refuted = rungs[-1].verdict == "fail"
        unlike = unlike or (bool(found) and certificate.detail.startswith(_UNLIKE))
    changed = "" if told else changed_weight(original.model, converted.model, tensors, dead=False)
    if changed and not proved and checks[-1].verdict == "pass":
        checks[-1] = Check(name="structure", verdict="inconclusive", detail=changed)
    if numeric.if_proved is not None and proved and not refuted:
        numeric = numeric.if_proved
    last, again = saved(numeric, options)
    checks += [*rungs, last]
    verdict = _overall(checks, contradicted=unlike or checks[2].verdict == "inconclusive")
    return Verification(verdict=verdict, checks=checks, outputs=numeric.outputs, notes=notes, reproduce=again)


def _overall(checks: Sequence[Check], contradicted: bool) -> Verdict:
    if any(check.verdict == "fail" for check in checks):
        return "fail"
    if contradicted:
        return "inconclusive"
    proved = any(check.verdict == "pass" for check in checks if check.name in _PROOFS)
    return "pass" if proved else "inconclusive"


def _shapes(original: ModelFile, ran: Comparison, given: Mapping[str, tuple[int, ...]]) -> feeds.Shapes:
    """The certificate's shapes: those with which the original ran, and batch 2 where the batch is open."""
    if feeds.unsupported(original.model):
        return {}
    setting = ran.setting or next(iter(feeds.settings()))
    return feeds.shapes(original.model, setting if ran.one_batch else replace(setting, batch=_BATCH), given)


def _sizes(original: ModelFile, ran: Comparison, given: Mapping[str, tuple[int, ...]]) -> dict[int, feeds.Shapes]:
    """The shapes for exact arithmetic, for several batches where the batch is open."""
    if feeds.unsupported(original.model):
        return {1: {}}
    setting = ran.setting or next(iter(feeds.settings()))
    batches = _ITEMS if feeds.dynamic_batch(original.model, given) and not ran.one_batch else (setting.batch,)
    return {n: feeds.shapes(original.model, replace(setting, batch=n), given) for n in batches}


def _certificate(
    original: ModelFile,
    converted: ModelFile,
    found: Sequence[SitePair],
    shapes: feeds.Shapes,
    tensors: Tensors,
    told: bool,
) -> tuple[Check, list[Site]]:
    certificate = Certificate(original, converted, found, shapes, tensors.identical, strict=told)
    note("the certificate")
    check = certificate.check()
    if check.verdict == "inconclusive" and certificate.unshaped and not feeds.unsupported(original.model):
        observed = observe(original, certificate.unshaped, shapes)
        certificate = Certificate(original, converted, found, shapes, tensors.identical, told, observed=observed)
        check = certificate.check()
    if told:
        return check, certificate.sites
    if check.verdict == "fail" and _ops(original) != _ops(converted):
        return Check(name=check.name, verdict="inconclusive", detail=f"{_UNLIKE}; {check.detail}"), []
    return check, certificate.sites


def _ops(file: ModelFile) -> Counter[str]:
    """How often each op is there, with the parts of fused layers as nodes of their own."""
    found: Counter[str] = Counter()
    for node in file.model.graph.node:
        if node.op_type not in _FREE:
            found[node.op_type] += 1
        elif node.op_type == "DynamicQuantizeMatMul":
            found["DynamicQuantizeLinear"] += 1
        elif node.op_type == "FusedGemm":
            found.update(a.s.decode() for a in node.attribute if a.name == "activation" and a.s)
    return found
