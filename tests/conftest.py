"""What several test files need: reports to draw, and the fixture model on which the finished tool runs."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from inprocess import here
from made import converted_site, kept_site

from fc2conv import api
from fc2conv.reasons import Code
from fc2conv.report.types import Check, FileInfo, LayoutNodes, OutputDifference, Report, Run, Verdict, Verification

ROOT = Path(__file__).parent.parent

# What a shell starts in the background ignores Ctrl-C, and so would all that these tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that writes the golden cases' outputs."""
    parser.addoption("--update-golden", action="store_true", help="Write what the golden cases give into their files.")


IN_THIS_PROCESS = {"golden", "fuzz", "verification", "kinds", "targets", "test_constants.py", "test_light_zoo.py"}
"""Tests that convert some thousands of small models: a process for each would be most of what they take."""


@pytest.fixture(autouse=True, scope="module")
def uncontained(request: pytest.FixtureRequest) -> Iterator[None]:
    """What conversions give, and not that they are contained, is tested in these files."""
    with pytest.MonkeyPatch.context() as patch:
        if IN_THIS_PROCESS & set(request.path.relative_to(ROOT).parts):
            patch.setattr(api, "contained", here)
        yield


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def lenet(tmp_path: Path) -> Path:
    """A copy of fixtures/lenet.onnx, for the tests of the whole tool."""
    source = ROOT / "fixtures" / "lenet.onnx"
    return Path(shutil.copy(source, tmp_path))


@pytest.fixture
def passed() -> Verification:
    """A verification in which every check passed."""
    return Verification(
        verdict=Verdict.PROVED,
        checks=[
            Check(name="structure", verdict=Verdict.AGREES, detail="13 nodes outside the heads are identical"),
            Check(name="exact", verdict=Verdict.PROVED, detail="proved on 2 items, error below 2^-62"),
        ],
        outputs=[
            OutputDifference(
                output="logits",
                max_abs_difference=1.5e-6,
                max_abs_reference=12.25,
                bound=1.2e-3,
                verdict=Verdict.PROVED,
            )
        ],
    )


@pytest.fixture
def converted(passed: Verification) -> Report:
    """Three of four layers converted, one kept."""
    return Report(
        outcome="converted",
        scope="spatial",
        input=FileInfo(path="vgg16.onnx", bytes=553_437_328),
        output=FileInfo(path="out.onnx", bytes=553_437_012),
        sites=[
            converted_site("fc6", [4096, 25088], [4096, 512, 7, 7]),
            converted_site("fc7", [4096, 4096], [4096, 4096, 1, 1]),
            converted_site("fc8", [1000, 4096], [1000, 4096, 1, 1]),
            kept_site("aux/MatMul", Code.VIEW_LOST, "aux/LayerNormalization"),
        ],
        layout_nodes=LayoutNodes(before=3, after=1),
        verification=passed,
        versions={"fc2conv": "0.1.0", "onnx": "1.21.0"},
        run=Run(seconds={"load": 0.012, "verify": 1.5}, peak_memory_bytes=64 << 20),
    )


@pytest.fixture
def planned(converted: Report) -> Report:
    """The same as a plan."""
    return Report(
        outcome="planned",
        scope="spatial",
        input=converted.input,
        output=None,
        sites=converted.sites,
        layout_nodes=converted.layout_nodes,
        verification=None,
        versions=converted.versions,
        run=converted.run,
    )


@pytest.fixture
def idle(converted: Report) -> Report:
    """A plan in which nothing is to be done."""
    return Report(
        outcome="planned",
        scope="spatial",
        input=FileInfo(path="resnet.onnx", bytes=1000),
        output=None,
        sites=[],
        layout_nodes=LayoutNodes(before=0, after=0),
        verification=None,
        versions=converted.versions,
        run=Run(),
    )


@pytest.fixture
def fixture(root: Path) -> Callable[[str], onnx.ModelProto]:
    """A committed fixture by name."""
    return lambda name: onnx.load(root / "fixtures" / f"{name}.onnx")


LEAVES_MORE = {"batch", "test_report_browser.py"}
"""Tests whose libraries leave threads and processes behind."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests that leave threads at the end: beside these nothing can be forked, and an interpreter takes long.

    The tests that convert in this process leave those of onnxruntime's sessions.
    """

    def place(item: pytest.Item) -> int:
        parts = set(item.path.relative_to(ROOT).parts)
        return 2 if LEAVES_MORE & parts else int(bool(IN_THIS_PROCESS & parts))

    items.sort(key=place)
