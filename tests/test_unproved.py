"""What is said where a conversion is not proved: whose fault it is, and what helps."""

from __future__ import annotations

import pytest

from fc2conv import VerifyOptions
from fc2conv.errors import InconclusiveError, MismatchError
from fc2conv.pipeline.proofs import check_proved
from fc2conv.report.types import Check, Report, Verdict, Verification


def found(name: str, verdict: Verdict, detail: str = "") -> Verification:
    return Verification(verdict=verdict, checks=[Check(name=name, verdict=verdict, detail=detail)])


@pytest.mark.parametrize("name", ["structure", "exact", "numeric"])
def test_a_wrong_rewrite_is_to_be_reported(name: str, planned: Report) -> None:
    with pytest.raises(MismatchError, match="nothing was written; please report this model") as caught:
        check_proved(found(name, Verdict.DIFFERS), VerifyOptions(), lambda _: planned)
    assert caught.value.report is planned


def test_numbers_that_are_judged_as_the_caller_chose_are_not(planned: Report) -> None:
    chosen = VerifyOptions(rtol=0.0, atol=0.0)
    with pytest.raises(MismatchError, match="try it without --rtol, --atol, and report the model if that fails"):
        check_proved(found("numeric", Verdict.DIFFERS), chosen, lambda _: planned)


def test_what_the_caller_chose_is_no_excuse_for_another_check(planned: Report) -> None:
    with pytest.raises(MismatchError, match="please report this model"):
        check_proved(found("exact", Verdict.DIFFERS), VerifyOptions(rtol=0.0), lambda _: planned)


def test_what_cannot_be_compared_says_what_helps(planned: Report) -> None:
    nothing = found("numeric", Verdict.INCONCLUSIVE, "onnxruntime does not run the original: no op Mystery")
    with pytest.raises(InconclusiveError, match=r"no op Mystery.*--custom-op-library"):
        check_proved(nothing, VerifyOptions(), lambda _: planned)


def test_the_check_that_leaves_it_open_is_named(planned: Report) -> None:
    """Numbers that say nothing of what is proved are not what is missing."""
    kinds = {"exact": Verdict.PROVED, "numeric": Verdict.INCONCLUSIVE, "windows": Verdict.INCONCLUSIVE}
    checks = [Check(name=name, verdict=verdict, detail=f"of {name}") for name, verdict in kinds.items()]
    with pytest.raises(InconclusiveError, match="windows: of windows"):
        check_proved(Verification(verdict=Verdict.INCONCLUSIVE, checks=checks), VerifyOptions(), lambda _: planned)
