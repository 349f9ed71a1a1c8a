"""The rules of the house, checked by parsing every module: docs/architecture.md says why they are what they are."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from fc2conv.reasons import Code

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fc2conv"

# From low to high. A part is a module of the root or a folder. It imports only from itself and from the rows above it
# in this table; the parts of one row know nothing of each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("dataclass",),
    ("reasons", "errors", "options", "version", "system", "layout"),
    ("sandbox", "io"),
    ("report", "ir"),
    ("layers", "verification", "diagrams"),
    ("analysis", "targets"),
    ("planning",),
    ("rewrite",),
    ("fcn",),
    ("pipeline",),
    ("api",),
    ("batch", "integrations", "__init__"),
    ("cli",),
    ("__main__",),
)

# Where the rows say too little: all that modules of these names may import of fc2conv, by the beginnings of names.
ONLY: dict[str, tuple[str, ...]] = {
    "report": ("dataclass", "reasons", "errors", "io.parsing", "io.escape", "io.files", "report"),
    "sandbox": ("dataclass", "errors", "options", "system", "sandbox"),
    "verification": (
        *("dataclass", "reasons", "errors", "options", "sandbox", "report", "verification"),
        "io",
    ),
    "layout": ("dataclass", "layout"),
    "cli": (
        *("dataclass", "reasons", "errors", "options", "version", "system"),
        *("report", "batch", "__init__", "cli"),
        *("io.parsing", "io.choices", "io.escape", "io.files", "io.apart", "targets"),
    ),
}

# Libraries that only some modules may import, by the beginnings of those modules' names.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "click": ("cli", "__main__"),
    "graphlay": ("report.html",),
    "jinja2": ("report.html",),
    "onnxruntime": ("io", "verification"),
    "PIL": ("fcn.picture",),
    "rich": ("report.terminal", "report.folded", "cli.progress"),
    "psutil": ("batch.local", "system"),
    "filelock": ("system",),
    **dict.fromkeys(("fcntl", "resource", "select", "msvcrt"), ("system",)),
    "distributed": ("batch.dasked",),
    "olive": ("integrations.olive",),
    "onnx_ir": ("integrations.onnx_ir",),
    "fsspec": ("batch.remote",),
}

# Libraries that modules of these names must not import.
WITHOUT: dict[str, set[str]] = {
    "layout": {"onnx", "numpy"},
    "planning.mincut": {"onnx", "numpy"},
    "io.workspace": {"onnx", "numpy"},
    "io.files": {"onnx", "numpy"},
    "io.escape": {"onnx", "numpy"},
    "io.choices": {"onnx", "numpy"},
    "io.parsing": {"onnx", "numpy"},
    "report": {"onnx", "numpy"},
    "cli": {"onnx", "numpy", "msgspec"},
}

MOST_PARTS = 26
MOST_LEVELS = 14
MOST_ROOT_MODULES = 9
MAX_LINES = 320

MODULES = sorted(PACKAGE.rglob("*.py"))
ROW = {part: row for row, parts in enumerate(LAYERS) for part in parts}


def name_of(path: Path) -> str:
    """Give the dotted name of a module below fc2conv: `analysis.reshapes`, `report`, `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def own(module: str) -> str | None:
    """Give an imported module's name below fc2conv; None for one of a library."""
    root, _, rest = module.partition(".")
    return (rest or "__init__") if root == "fc2conv" else None


def part_of(name: str) -> str:
    return name.partition(".")[0]


def begins(name: str, beginnings: Iterable[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in beginnings)


@cache
def read(path: Path) -> tuple[str | None, frozenset[str]]:
    """A module's docstring, and every module that it names in an import, wherever in the file that is."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return ast.get_docstring(tree) if tree.body else "there is nothing to say", frozenset(_imports(path, tree))


def imports_of(path: Path) -> frozenset[str]:
    return read(path)[1]


def _imports(path: Path, tree: ast.Module) -> Iterator[str]:
    """Give the modules in absolute form."""
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            if node.module == "fc2conv":
                yield from (_submodule(alias.name) for alias in node.names)
            else:
                yield node.module


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node, without a look at their expressions, which are most of a file."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for each in getattr(node, field, ()):
            yield each
            yield from _statements(each)


def _submodule(name: str) -> str:
    here = PACKAGE / name
    return f"fc2conv.{name}" if here.is_dir() or here.with_suffix(".py").exists() else "fc2conv"


def test_imports_go_one_way() -> None:
    for path in MODULES:
        name = name_of(path)
        part = part_of(name)
        assert part in ROW, f"{part} has no row in LAYERS"
        for other in filter(None, map(own, imports_of(path))):
            below = part_of(other)
            assert below in ROW, f"{other} has no row in LAYERS"
            assert below == part or ROW[below] < ROW[part], f"{name} imports {other}, which is not below"
            assert part not in ONLY or begins(other, ONLY[part]), f"{name} imports {other}, and {part} may not"


def test_libraries_stay_where_they_belong() -> None:
    for path in MODULES:
        name = name_of(path)
        used = {imported.split(".")[0] for imported in imports_of(path)}
        for library, places in LIBRARIES.items():
            assert library not in used or begins(name, places), f"{name} imports {library}"
        for beginning, libraries in WITHOUT.items():
            assert not begins(name, [beginning]) or not used & libraries, f"{name} imports {used & libraries}"


def test_the_house_stays_small() -> None:
    edges: dict[str, set[str]] = {part: set() for part in ROW}
    for path in MODULES:
        part = part_of(name_of(path))
        edges[part] |= {part_of(other) for other in filter(None, map(own, imports_of(path)))} - {part}
    levels: dict[str, int] = {}
    for part in sorted(ROW, key=ROW.__getitem__):
        levels[part] = 1 + max((levels[other] for other in edges[part]), default=0)
    assert len(edges) <= MOST_PARTS
    assert max(levels.values()) <= MOST_LEVELS
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_ROOT_MODULES


def test_a_file_can_be_read_in_one_go() -> None:
    assert [path for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES] == []


def test_the_docstring_of_a_function_begins_with_a_verb() -> None:
    """A noun's article, a question word and the third person are what other docstrings begin with."""
    other = set("The A An What Whether How Where Why Which Who All Every Each One No It Its This That Of For".split())
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not any("property" in ast.unparse(d) for d in node.decorator_list):
                word = ((ast.get_docstring(node) or "Return") + " ").split()[0].rstrip(",:;.")
                third = word.endswith("s") and not word.endswith("ss")
                if word in other or third or not (word.isalpha() and word.istitle()):
                    found.append(f"{path.name}: {node.name}: {word}")
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    assert [path for path in MODULES if not read(path)[0]] == []


def test_the_tables_name_no_part_that_is_gone() -> None:
    names = {name_of(path) for path in MODULES}
    assert set(ROW) == {part_of(name) for name in names}
    assert set(WITHOUT) <= names
    assert set(ONLY) <= set(ROW)


def test_the_parser_sees_imports_that_hide(tmp_path: Path) -> None:
    source = """import fc2conv.plan
def f():
    from fc2conv import cli, convert_me
    try:
        import a
    except* ImportError:
        import b
    else:
        match a:
            case 1: import c
    finally:
        with a: import onnx.helper
"""
    (tmp_path / "sample.py").write_text(source)
    found = {"fc2conv.plan", "fc2conv.cli", "fc2conv", "onnx.helper", "a", "b", "c"}
    assert set(imports_of(tmp_path / "sample.py")) == found


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("code", Code, ids=lambda code: code.value)
def test_every_code_is_documented(code: Code) -> None:
    page = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    assert f"| {code.value} | {code.meaning} |" in page
