"""Libraries of operators, whose code runs: only where they are named, and in a process that bears whatever they do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_contained import children

import fc2conv
from fc2conv.__main__ import main
from fc2conv.errors import ExitCode, UsageError
from fc2conv.options import VerifyOptions


@pytest.fixture(autouse=True)
def leaves_no_process() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


LIBRARY = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
void *RegisterCustomOps(void *options, const void *api) {
  FILE *mark = fopen("%s", "a");
  fputs("loaded", mark);
  fclose(mark);
  %s
  return 0;
}
"""


@pytest.fixture
def library(tmp_path: Path) -> Callable[..., Path]:
    """Makes a library that registers nothing, tells in a file that it was loaded, and does what is asked."""

    def make(what: str = "") -> Path:
        source, path = tmp_path / "ops.c", tmp_path / "ops.so"
        source.write_text(LIBRARY % (tmp_path / "mark", what))
        try:
            subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)
        except FileNotFoundError:
            pytest.skip("there is no C compiler here to make a library with")
        return path

    return make


def test_a_library_of_operators_is_loaded_where_it_is_named(library: Callable[..., Path], lenet: Path) -> None:
    path, out = library(), lenet.with_name("o.onnx")
    mark = path.with_name("mark")
    fc2conv.convert(lenet)
    assert not mark.exists()
    assert main([str(lenet), str(out), "-q", "--custom-op-library", str(path)]) == 0
    assert mark.read_text().startswith("loaded")
    assert "ops.so" not in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("what", "message", "more"),
    [
        ("*(volatile int *)0 = 1;", "died of SIGSEGV", ()),
        ('fputs("the end of it\\n", stderr); abort();', "died of SIGABRT (the end of it)", ()),
        ("_exit(0);", "ended with 0", ()),
        ("for (;;);", "not done in 2.5 s", ("--timeout", "2.5")),
        ("for (;;) if (!malloc(1 << 20)) abort();", "died of SIGABRT", ("--memory-limit", "1000")),
    ],
    ids=["crash", "abort", "exit", "hang", "hunger"],
)
def test_native_code_that_goes_wrong_is_contained(
    what: str,
    message: str,
    more: tuple[str, ...],
    library: Callable[..., Path],
    lenet: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path, out = library(what), lenet.parent / "out"
    out.mkdir()
    code = main([str(lenet), str(out / "o.onnx"), "--custom-op-library", str(path), *more])
    assert code == ExitCode.LIMIT
    said = capfd.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert f"lenet.onnx: onnxruntime, loading {path}: {message}" in said.err
    assert not list(out.iterdir())


def test_a_library_that_is_none_is_refused(lenet: Path) -> None:
    options = VerifyOptions(custom_op_libraries=(str(lenet),))
    with pytest.raises(UsageError, match=r"--custom-op-library .*lenet\.onnx cannot be loaded"):
        fc2conv.verify(lenet, lenet, options)
