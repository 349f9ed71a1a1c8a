"""Every planted fault is refused, on weak weights too, and every right conversion is proved."""

from __future__ import annotations

import pytest
from mutations import FAULTS, Network, findings, networks


def test_there_are_enough_of_both() -> None:
    assert len(FAULTS) >= 25
    assert len({network.name for network in networks()}) >= 8
    assert {network.weights for network in networks()} == {"random", "tiny", "equal", "symmetric", "saturating", "dead"}


@pytest.mark.parametrize("network", networks(), ids=lambda network: f"{network.name}-{network.weights}")
def test_the_right_conversion_is_proved(network: Network) -> None:
    result = network.verify(network.subject().model)
    assert result.verdict == "proved", result.checks
    assert next(c for c in result.checks if c.name == "exact").verdict == "proved", result.checks


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_refused(fault: str) -> None:
    found = list(findings(fault, one_in=6))
    assert found, f"{fault} changes nothing anywhere"
    missed = [f"{f.network.name} with {f.network.weights} weights: {f.rungs}" for f in found if not f.refused]
    assert not missed, missed
