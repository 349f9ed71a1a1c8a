"""The wheel and the sdist: all files of the package, metadata that are true, and pins that name this version."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

from fc2conv.version import __version__

ROOT = Path(__file__).parent.parent

pytest.importorskip("hatchling", reason="the packages are built by hatchling, which is not installed")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[zipfile.ZipFile, tarfile.TarFile]:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, timeout=300)
    return (
        zipfile.ZipFile(folder / f"fc2conv-{__version__}-py3-none-any.whl"),
        tarfile.open(folder / f"fc2conv-{__version__}.tar.gz"),
    )


def package_files() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fc2conv").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(
    built: tuple[zipfile.ZipFile, tarfile.TarFile],
) -> None:
    names = {name for name in built[0].namelist() if ".dist-info/" not in name}
    assert names == package_files()


def test_the_sdist_has_what_its_tests_read(built: tuple[zipfile.ZipFile, tarfile.TarFile]) -> None:
    names = {name.partition("/")[2] for name in built[1].getnames()}
    assert package_files() <= names
    pages = {path.name for path in ROOT.glob("*.md")}
    assert {"pyproject.toml", "Makefile", "action.yml", ".pre-commit-hooks.yaml", "tests/test_packages.py"} <= names
    assert pages <= names


def test_each_extra_that_an_error_names_is_one(built: tuple[zipfile.ZipFile, tarfile.TarFile]) -> None:
    metadata = Parser().parsestr(built[0].read(f"fc2conv-{__version__}.dist-info/METADATA").decode())
    extras = set(metadata.get_all("Provides-Extra", []))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *(ROOT / "fc2conv").rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    named = {each for found in re.findall(r"(?:fc2conv|'\.)\[([a-z,-]+)\]", text) for each in found.split(",")}
    assert "report" in named
    assert named <= extras


def test_what_is_pinned_is_this_version() -> None:
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    job = yaml.safe_load((ROOT / "examples" / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    pins = [*re.findall(r"fc2conv@v(\S+)", page), *re.findall(r"rev: v(\S+)", page)]
    pins += re.findall(r"fc2conv==(\S+)", f"{page}\n{job['fc2conv']['variables']['FC2CONV']}\n")
    assert len(pins) >= 3
    assert set(pins) == {__version__}
