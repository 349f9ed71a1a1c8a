"""What several test files need: reports to draw, and the fixture model on which the finished tool runs."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import onnx
import pytest
from inprocess import here
from made import converted_layer, kept_layer
from warm import warm

from fc2conv import api
from fc2conv.reasons import Code
from fc2conv.report.types import Check, FileInfo, LayoutNodes, OutputDifference, Report, Run, Verdict, Verification
from fc2conv.sandbox import START, contained, rarely_collect

ROOT = Path(__file__).parent.parent

# What a shell starts in the background ignores Ctrl-C, and so would all that these tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


BYTECODE = "PYTHONPYCACHEPREFIX"
_OWN = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Lets what the tests start keep its bytecode: to compile it takes most of a start.

    Who wants no bytecode beside the sources has it in a folder of this run.
    """
    if sys.dont_write_bytecode and BYTECODE not in os.environ:
        config.stash[_OWN] = Path(tempfile.mkdtemp(prefix="fc2conv-bytecode-"))
        os.environ[BYTECODE] = str(config.stash[_OWN])
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes that folder."""
    if _OWN in config.stash:
        shutil.rmtree(config.stash[_OWN], ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that writes the golden cases' outputs."""
    parser.addoption("--update-golden", action="store_true", help="Write what the golden cases give into their files.")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Has no cycles looked for while some thousands of tests are collected, nor later among these.

    Later they are looked for as rarely as in a child, where models are worked on.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        rarely_collect()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker for each core where the whole suite runs; none for a part that was named."""
    named = any(Path(str(each).partition("::")[0]).exists() for each in config.invocation_params.args)
    return 0 if named else os.cpu_count() or 1


CONTAINED = {
    *("crashes", "test_contained.py", "test_custom_operators.py", "test_hostile.py", "test_process.py"),
    *("test_contained_library.py", "test_signals.py", "test_surroundings.py", "test_terminal.py"),
}
"""Tests of what a process of its own is for; all others convert in this one, which takes a third of the time."""


MARKS = {
    **{"io": "io", "test_report_browser.py": "browser"},
    **dict.fromkeys(("batch", "crashes", "fuzz", "test_ci.py", "test_custom_operators.py", "test_docs.py"), "slow"),
    "test_hostile.py": "slow",
}
"""The mark of the tests in a folder or a file, for `-m "not slow"`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by where they are."""
    for item in items:
        for name in MARKS.keys() & set(item.path.relative_to(ROOT).parts):
            item.add_marker(MARKS[name])


@pytest.fixture(autouse=True, scope="module")
def uncontained(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has models converted in this process; what is contained is a fork, whatever threads the libraries have left."""
    START.set("fork")
    with pytest.MonkeyPatch.context() as patch:
        if not CONTAINED & set(request.path.relative_to(ROOT).parts):
            patch.setattr(api, "contained", here)
            patch.setenv("OMP_NUM_THREADS", "1")  # threads for each small model take more than the model
        yield


@pytest.fixture(autouse=True)
def contained_if_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the models of a test that is marked `contained` converted in processes of their own."""
    START.set("fork")
    if request.node.get_closest_marker("contained"):
        monkeypatch.setattr(api, "contained", contained)


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A script that does what `fc2conv` does, in a fork of a process that has loaded it."""
    with warm(tmp_path_factory.mktemp("warm")) as script:
        yield script


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
            Check(name="exact", verdict=Verdict.PROVED, detail="proved on 2 and 3 items, error below 2^-62"),
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
            converted_layer("fc6", [4096, 25088], [4096, 512, 7, 7]),
            converted_layer("fc7", [4096, 4096], [4096, 4096, 1, 1]),
            converted_layer("fc8", [1000, 4096], [1000, 4096, 1, 1]),
            kept_layer("aux/MatMul", Code.VIEW_LOST, "aux/LayerNormalization"),
        ],
        layout_nodes=LayoutNodes(before=3, after=1),
        verification=passed,
        versions={"fc2conv": "0.1.0", "onnx": "1.21.0"},
        run=Run(seconds={"load": 0.012, "verify": 1.5}, peak_memory_bytes=64 << 20),
    )


@pytest.fixture
def planned(converted: Report) -> Report:
    """The same as a plan."""
    return msgspec.structs.replace(converted, outcome="planned", output=None, verification=None)


@pytest.fixture
def idle(planned: Report) -> Report:
    """A plan in which nothing is to be done."""
    file, nodes = FileInfo(path="resnet.onnx", bytes=1000), LayoutNodes(before=0, after=0)
    return msgspec.structs.replace(planned, input=file, sites=[], layout_nodes=nodes, run=Run())


@pytest.fixture
def fixture(root: Path) -> Callable[[str], onnx.ModelProto]:
    """A committed fixture by name."""
    return lambda name: onnx.load(root / "fixtures" / f"{name}.onnx")
