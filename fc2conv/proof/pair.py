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
from fc2conv.proof.numeric import Comparison, compare_models, observe
from fc2conv.proof.proof import Site
from fc2conv.proof.runtime import use_libraries
from fc2conv.proof.sites import SitePair, recognise
from fc2conv.proof.structure import Tensors, check_signature, check_structure, check_valid
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
    broken signature or structure ends the comparison, as there is then nothing to compare. Raises UsageError for
    `input_shapes` that fit no input.
    """
    check_shapes(options.input_shapes, declared_shapes(original.model))
    use_libraries(options.custom_op_libraries)
    tensors = Tensors(original, converted)
    checks = [
        check_valid(original, converted),
        check_signature(original, converted),
        check_structure(original, converted, tensors),
    ]
    if any(check.verdict == "fail" for check in checks[1:]):
        skipped = [Check(name=name, verdict="skipped", detail="see above") for name in _LATER]
        return Verification(verdict="fail", checks=checks + skipped)
    found = pairs if pairs is not None else recognise(original, converted)
    numeric = compare_models(original, converted, options, found, told=pairs is not None)
    shapes = _shapes(original, numeric, options.input_shapes)
    check, sites = _certificate(original, converted, found, shapes, tensors, told=pairs is not None)
    checks += [check, check_alone(sites, numeric.captured), numeric.check]
    verdict = _overall(checks, contradicted=bool(found) and check.detail.startswith(_UNLIKE))
    return Verification(verdict=verdict, checks=checks, outputs=numeric.outputs, reproduce=numeric.reproduce)


def _overall(checks: Sequence[Check], contradicted: bool) -> Verdict:
    if any(check.verdict == "fail" for check in checks):
        return "fail"
    if contradicted:
        return "inconclusive"
    proved = any(check.verdict == "pass" for check in checks if check.name in ("certificate", "numeric"))
    return "pass" if proved else "inconclusive"


def _shapes(original: ModelFile, ran: Comparison, given: Mapping[str, tuple[int, ...]]) -> feeds.Shapes:
    """The certificate's shapes: those with which the original ran, and batch 2 where the batch is open."""
    if feeds.unsupported(original.model):
        return {}
    setting = ran.setting or next(iter(feeds.settings()))
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
