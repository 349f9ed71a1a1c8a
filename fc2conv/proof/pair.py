"""Two models held against each other, rung by rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fc2conv.choices import check_shapes
from fc2conv.contained import note
from fc2conv.onnxfile import ModelFile, declared_shapes
from fc2conv.options import VerifyOptions
from fc2conv.proof import feeds
from fc2conv.proof.alone import check_alone
from fc2conv.proof.certificate import Certificate
from fc2conv.proof.fitting import fitted
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
_LATER = ("certificate", "layers", "numeric")
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

    The rungs, in the report's order: `checker`, `signature`, `structure`, `certificate`, `layers`, `numeric`. The
    verdict is

    - fail, if any rung fails;
    - else pass, if the certificate or the numeric rung passes;
    - else inconclusive.

    So a certificate that could not be finished leaves the word to the numbers, and the other way round, but nothing
    outvotes a contradiction. With `pairs` None the layers are recognised by the names of their nodes; if some are, and
    the models are not made of the same nodes apart from them, a contradiction is inconclusive, as another tool may have
    fused what it says is not there. With none recognised there is no certificate unless the two models are the same. A
    broken signature or structure fails the whole; of two models of others the numbers are shown all the same, where one
    feed suits both. What they only say in another way is noted. Raises UsageError for `input_shapes` that fit no input.
    """
    check_shapes(options.input_shapes, declared_shapes(original.model))
    use_libraries(options.custom_op_libraries)
    tensors, told = Tensors(original, converted), pairs is not None
    checks = [
        check_valid(original, converted),
        check_signature(original, converted, exact=told),
        check_structure(original, converted, tensors) if told else check_graphs(original, converted),
    ]
    notes = [] if told else noted(original.model, converted.model, checks[1].verdict == "pass")
    found = pairs if pairs is not None else recognise(original, converted)
    if any(check.verdict == "fail" for check in checks[1:]):
        shown = not told and comparable(original, converted)
        numeric = compare_models(original, converted, options, found, told) if shown else None
        return _broken(checks, numeric, notes, options)
    numeric = compare_models(original, converted, options, found, told)
    shapes = _shapes(original, numeric, options.input_shapes)
    certificate, sites = _certificate(original, converted, found, shapes, tensors, told)
    layers = check_alone(sites, numeric.captured)
    proved = certificate.verdict == "pass"
    if not told and not proved and checks[2].verdict == "pass":
        changed = changed_weight(original.model, converted.model, tensors, dead=False)
        checks[2] = Check(name="structure", verdict="inconclusive", detail=changed) if changed else checks[2]
    if numeric.if_proved is not None and proved and layers.verdict != "fail":
        numeric = numeric.if_proved
    last, again = saved(numeric, options)
    checks += [certificate, layers, last]
    unlike = bool(found) and certificate.detail.startswith(_UNLIKE)
    verdict = _overall(checks, contradicted=unlike or checks[2].verdict == "inconclusive")
    return Verification(verdict=verdict, checks=checks, outputs=numeric.outputs, notes=notes, reproduce=again)


def _broken(
    checks: Sequence[Check], numeric: Comparison | None, notes: list[str], options: VerifyOptions
) -> Verification:
    """The end of a comparison with another signature or structure, and the numbers where there are some."""
    skipped = [Check(name=name, verdict="skipped", detail="see above") for name in _LATER]
    if numeric is None:
        return Verification(verdict="fail", checks=[*checks, *skipped], notes=notes)
    last, again = saved(numeric, options)
    every = [*checks, *skipped[:-1], last]
    return Verification(verdict="fail", checks=every, outputs=numeric.outputs, notes=notes, reproduce=again)


def _overall(checks: Sequence[Check], contradicted: bool) -> Verdict:
    if any(check.verdict == "fail" for check in checks):
        return "fail"
    if contradicted:
        return "inconclusive"
    proved = any(check.verdict == "pass" for check in checks if check.name in ("certificate", "numeric"))
    return "pass" if proved else "inconclusive"


def _shapes(original: ModelFile, ran: Comparison, given: Mapping[str, tuple[int, ...]]) -> feeds.Shapes:
    """The certificate's shapes: those with which the original ran, and batch 2 where the batch is open."""
    if feeds.unsupported(original.model, given):
        return {}
    first = next(iter(feeds.settings()))
    setting = ran.setting or fitted(original, first, given) or first
    return feeds.shapes(original.model, setting if ran.one_batch else replace(setting, batch=_BATCH), given)


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
    if check.verdict == "inconclusive" and certificate.unshaped and not feeds.unsupported(original.model, shapes):
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
