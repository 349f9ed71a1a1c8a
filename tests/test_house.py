"""The rules of the house, held by parsing every module: docs/architecture.md says why they are what they are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fc2conv.reasons import Code

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fc2conv"

# From low to high. A part imports only from the rows above it in this table, and from itself; the parts of one
# row know nothing of each other. A new module goes into the row just below the highest that it needs.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("reasons", "errors", "options", "parsing", "process", "version", "claims", "workspace"),
    ("shortage", "choices"),
    ("contained",),
    ("report",),
    ("files",),
    ("apart",),
    ("axes", "mincut"),
    ("view", "moves"),
    ("onnxfile",),
    ("graph",),
    ("intake", "unproved"),
    ("stored", "corrections", "definitions", "folding", "stand_ins"),
    ("arithmetic", "node_shapes"),
    ("shapes",),
    ("constants",),
    ("propagation",),
    ("weights", "sites"),
    ("layout",),
    ("demands",),
    ("placement",),
    ("decide",),
    ("reporting", "illustrations"),
    ("tensors",),
    ("convolutions",),
    ("rewrite",),
    ("functions",),
    ("scopes", "proof"),
    ("sliding",),
    ("convolutional", "picture"),
    ("flow",),
    ("api",),
    ("batch",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)

# Where the rows say too little: all that these parts may import of fc2conv.
ONLY: dict[str, set[str]] = {
    "report": {"reasons", "errors", "parsing"},
    "contained": {"errors", "options", "process", "shortage"},
    "proof": {
        "reasons",
        "errors",
        "options",
        "parsing",
        "choices",
        "shortage",
        "claims",
        "contained",
        "report",
        "onnxfile",
        "files",
    },
    "cli": {
        "reasons",
        "errors",
        "options",
        "parsing",
        "choices",
        "version",
        "report",
        "files",
        "apart",
        "batch",
        "__init__",
    },
}

# Libraries that only some modules may import, by the beginnings of those modules' names.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "click": ("fc2conv.cli", "fc2conv.__main__"),
    "graphlay": ("fc2conv.report.html",),
    "jinja2": ("fc2conv.report.html",),
    "onnxruntime": ("fc2conv.proof",),
    "PIL": ("fc2conv.picture",),
    "rich": tuple(
        f"fc2conv.{name}" for name in ("report.look", "report.text", "report.summary", "report.sliding_text", "cli")
    ),
    "psutil": ("fc2conv.batch.local",),
    "distributed": ("fc2conv.batch.dasked",),
    "fsspec": ("fc2conv.batch.remote",),
}

# Libraries that a part must not import.
WITHOUT: dict[str, set[str]] = {
    "axes": {"onnx", "numpy"},
    "view": {"onnx", "numpy"},
    "mincut": {"onnx", "numpy"},
    "workspace": {"onnx", "numpy"},
    "files": {"onnx", "numpy"},
    "moves": {"onnx", "numpy"},
    "report": {"onnx", "numpy"},
    "cli": {"onnx", "numpy", "msgspec"},
}

MAX_LINES = 320

MODULES = sorted(PACKAGE.rglob("*.py"))
ROW = {part: row for row, parts in enumerate(LAYERS) for part in parts}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def part_of(module: str) -> str:
    """`fc2conv.layout.reshape` is in the part `layout`; `fc2conv` itself is `__init__`."""
    return [*module.split("."), "__init__"][1]


def imports_of(path: Path) -> Iterator[str]:
    """Every module that `path` names in an import, wherever in the file it stands, in absolute form."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            if node.module == "fc2conv":
                yield from (_submodule(alias.name) for alias in node.names)
            else:
                yield node.module


def _submodule(name: str) -> str:
    here = PACKAGE / name
    return f"fc2conv.{name}" if here.is_dir() or here.with_suffix(".py").exists() else "fc2conv"


def pytest_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(params=MODULES, ids=pytest_id)
def module(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_imports_go_one_way(module: Path) -> None:
    part = part_of(name_of(module))
    assert part in ROW, f"{part} has no row in LAYERS"
    for other in {part_of(name) for name in imports_of(module) if name.split(".")[0] == "fc2conv"} - {part}:
        assert other in ROW, f"{other} has no row in LAYERS"
        assert ROW[other] < ROW[part], f"{name_of(module)} imports {other}, which is not below {part}"
        assert other in ONLY.get(part, ROW), f"{name_of(module)} imports {other}, and {part} may not"


def test_libraries_stay_where_they_belong(module: Path) -> None:
    name = name_of(module)
    used = {imported.split(".")[0] for imported in imports_of(module)}
    for library, places in LIBRARIES.items():
        assert library not in used or name.startswith(places), f"{name} imports {library}"
    assert not used & WITHOUT.get(part_of(name), set())


def test_a_file_can_be_read_in_one_go(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_every_module_says_what_it_is_for(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), f"{module} has no docstring"


def test_the_tables_name_no_part_that_is_gone() -> None:
    present = {part_of(name_of(path)) for path in MODULES}
    assert set(WITHOUT) | set(ONLY) <= set(ROW)
    if {"convert", "plan", "rewrite"} <= present:
        assert set(ROW) <= present, f"no longer there: {set(ROW) - present}"


def test_the_parser_sees_imports_that_hide(tmp_path: Path) -> None:
    source = "import fc2conv.plan\ndef f():\n    from fc2conv import cli, convert_me\n    import onnx.helper\n"
    (tmp_path / "sample.py").write_text(source)
    assert set(imports_of(tmp_path / "sample.py")) == {"fc2conv.plan", "fc2conv.cli", "fc2conv", "onnx.helper"}


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("code", Code, ids=lambda code: code.value)
def test_every_code_is_documented(code: Code) -> None:
    page = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    assert f"| {code.value} | {code.meaning} |" in page
