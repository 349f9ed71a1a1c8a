"""An existing sliding model, compared with what the same recipe makes now."""

from __future__ import annotations

from dataclasses import replace

from onnx import ModelProto

from fc2conv.io.reader import ModelFile
from fc2conv.options import VerifyOptions
from fc2conv.report.verification import Check, Verdict, worst
from fc2conv.verification.networks import Network
from fc2conv.verification.pair import verify_pair
from fc2conv.verification.spec import Claims

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
