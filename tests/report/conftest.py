"""Reports that several modules draw."""

from __future__ import annotations

import pytest
from pages import converted, mismatch, strangely_named

from fc2conv.report.types import Report


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return converted("mini_vgg", tmp_path_factory.mktemp("vgg"))


@pytest.fixture(scope="module")
def failed() -> Report:
    return mismatch("mini_vgg")


@pytest.fixture(scope="module")
def strange() -> Report:
    return strangely_named()
