"""The pages fit together: their links lead somewhere, the files they name are there, what is generated is current."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from documents import LINK, PAGES, ROOT, SESSION, anchors, blocks, each_page, prose, pytest_id

MACHINE = re.compile(r"(?<![\w.~-])/(?:home|root|work|opt|mnt|srv|var|Users|private)/|\b[A-Z]:\\")
REGISTRY = re.compile(r"--index-url|--extra-index-url|\bindex-url\b|artifactory|\bnexus\b|/simple\b|\.internal\b", re.I)


@each_page
def test_every_block_has_a_language_that_is_known(page: Path) -> None:
    """`text` is what nobody runs here: pictures, what other programs print, commands of other tools."""
    assert {block.language for block in blocks(page)} <= {*SESSION, "text", "toml", "yaml", "json", "csv"}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), f"{page.name}: {link}"
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{page.name}: {link} leads out of the project"
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


@each_page
def test_no_page_names_this_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert MACHINE.search(text) is None
    assert REGISTRY.search(text) is None


def test_every_page_is_reached_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(prose(page)))
        todo += [
            target for link in links if link.endswith(".md") and (target := (page.parent / link).resolve()).exists()
        ]
    assert set(ROOT.glob("docs/*.md")) <= seen


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    """Run `python docs/generate.py` after a change of a command, of the reasons or of the report's types.

    Raise SCHEMA_VERSION if a reader of reports could break.
    """
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for path, text in generate.files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not what the code says"


def test_every_page_is_on_the_map() -> None:
    page = ROOT / "docs" / "README.md"
    links = {(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page))}
    assert {*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md")} - {page} <= links


DESCRIBING = [page for page in PAGES if page.name != "SECURITY.md"]  # that one names files which an attacker leaves


@pytest.mark.parametrize("page", DESCRIBING, ids=pytest_id)
def test_a_file_that_a_page_names_is_there(page: Path) -> None:
    folders = ("fc2conv", "tests", "fixtures", "benchmarks", "docs")
    there = [f"/{path.relative_to(ROOT)}" for folder in folders for path in (ROOT / folder).rglob("*.py")]
    named = re.findall(r"`([\w/-]+\.py)\b", prose(page))
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


FOR_READERS = ("batch.md", "ci.md", "integrations.md", "passes.md", "sliding.md", "targets.md")


@pytest.mark.parametrize("name", FOR_READERS)
def test_a_page_for_one_kind_of_reader_is_two_screens_long(name: str) -> None:
    assert len((ROOT / "docs" / name).read_text(encoding="utf-8").splitlines()) <= 120
