"""Options from a file: which file, what it may say, and that the command line is stronger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import fc2conv
from fc2conv.__main__ import main
from fc2conv.cli import main as group
from fc2conv.cli.option import Option
from fc2conv.errors import ExitCode
from fc2conv.options import Limits, Options, VerifyOptions
from fc2conv.report.types import Report

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, planned: Report, tmp_path: Path) -> list[Options]:
    """The options of each call of `plan`, in a working directory that is a repository's root."""
    calls: list[Options] = []

    def plan(_: str, options: Options, **__: object) -> Report:
        calls.append(options)
        return planned

    monkeypatch.setitem(vars(fc2conv), "plan", plan)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return calls


def write(text: str, name: str = "fc2conv.toml") -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("only", ["exact", "numeric"])
def test_a_proof_that_is_asked_for_is_done(asked: list[Options], only: str) -> None:
    write("no-verify = true", "named.toml")
    assert main(["a", "b", "--dry-run", "--config", "named.toml", f"--{only}-only"]) == ExitCode.DONE
    assert main(["a", "b", "--dry-run", "--config", "named.toml"]) == ExitCode.DONE
    assert [(each.verify, each.verification.only) for each in asked] == [(True, only), (False, None)]


def test_every_form_of_option(asked: list[Options]) -> None:
    write("""
        scope = "all"
        include = ["a*", "b"]
        exclude = "c"
        overwrite-input-shape = ["im:0:1,3,8,8"]
        freeze-initializers = true
        max-added-transposes = 2
        rtol = 1e-3
        seed = 7
        val-range = "0,255"
        providers = "A,B"
        timeout = 10
        no-verify = true
    """)
    assert main(["a", "b", "--dry-run", "--config", "fc2conv.toml"]) == ExitCode.DONE
    assert asked == [
        Options(
            scope="all",
            include=("a*", "b"),
            exclude=("c",),
            input_shapes={"im:0": (1, 3, 8, 8)},
            freeze_initializers=True,
            max_added_transposes=2,
            verify=False,
            verification=VerifyOptions(
                input_shapes={"im:0": (1, 3, 8, 8)},
                rtol=1e-3,
                seed=7,
                val_range=(0, 255),
                providers=("A", "B"),
                limits=Limits(timeout=10),
            ),
            limits=Limits(timeout=10),
        )
    ]


def test_the_command_line_is_stronger_and_a_list_is_replaced(asked: list[Options]) -> None:
    write('scope = "all"\nexclude = ["a", "b"]\ninline = true\n')
    main(["a", "b", "--dry-run", "--scope", "spatial", "--exclude", "c", "--external-data"])
    assert asked == [Options(scope="spatial", exclude=("c",), form="external")]


def test_a_commands_table_is_stronger_than_the_rest(asked: list[Options]) -> None:
    write('scope = "all"\nfreeze-initializers = true\n[check]\nscope = "spatial"\n', "fc2conv.toml")
    main(["check", "a"])
    main(["convert", "a", "b", "--dry-run"])
    frozen = Options(freeze_initializers=True)
    assert asked == [replace(frozen, scope="spatial"), replace(frozen, scope="all")]


def test_an_option_that_a_command_lacks_is_another_commands(asked: list[Options]) -> None:
    write("inline = true\nfail-on = ['nothing']\n")
    assert main(["check", "a"]) == ExitCode.DONE
    assert asked == [Options()]


@pytest.mark.parametrize(
    ("files", "scope"),
    [
        ({"fc2conv.toml": "scope = 'all'"}, "all"),
        ({"pyproject.toml": "[tool.fc2conv]\nscope = 'all'"}, "all"),
        ({"pyproject.toml": "[tool.other]\nx = 1"}, "spatial"),
        ({"pyproject.toml": "not TOML"}, "spatial"),
        ({"pyproject.toml": "[tool.fc2conv]\nscope = 'spatial'", "fc2conv.toml": "scope = 'all'"}, "all"),
        ({"pyproject.toml": "[tool.fc2conv]\nscope = 'spatial'", "../fc2conv.toml": "scope = 'all'"}, "spatial"),
        ({"pyproject.toml": "[project]\nname = 'fc2conv'", "../fc2conv.toml": "scope = 'all'"}, "all"),
        ({"../pyproject.toml": "[tool.fc2conv]\nscope = 'all'"}, "all"),
        ({"../../fc2conv.toml": "scope = 'all'"}, "spatial"),
    ],
    ids=["own", "shared", "no table", "no TOML", "own first", "nearest", "without a table", "root", "beyond the root"],
)
def test_which_file(
    asked: list[Options], monkeypatch: pytest.MonkeyPatch, files: dict[str, str], scope: str, tmp_path: Path
) -> None:
    (tmp_path / ".git").rmdir()
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "repo" / "folder")
    for name, text in files.items():
        write(text, name)
    main(["check", "a"])
    assert [options.scope for options in asked] == [scope]


def test_without_a_repository_only_the_working_directory_counts(
    asked: list[Options], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".git").rmdir()
    (tmp_path / "below").mkdir()
    write("scope = 'all'")
    main(["check", "a"])
    monkeypatch.chdir("below")
    main(["check", "a"])
    assert [options.scope for options in asked] == ["all", "spatial"]


def test_a_named_file_and_none(asked: list[Options]) -> None:
    write("scope = 'all'")
    write("[tool.fc2conv]\nforce = true", "other/pyproject.toml")
    main(["check", "a", "--config", "other/pyproject.toml"])
    main(["check", "a", "--no-config"])
    assert asked == [Options(force=True), Options()]


def test_an_option_that_may_be_given_alone_is_true(asked: list[Options]) -> None:
    write("static = true")
    main(["check", "a"])
    write("static = 2")
    main(["check", "a"])
    assert [options.static for options in asked] == [1, 2]


def test_an_editor_may_begin_a_file_with_its_mark(asked: list[Options]) -> None:
    write("\ufeffscope = 'all'")
    main(["check", "a"])
    assert asked == [Options(scope="all")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scop = 'all'", "fc2conv.toml: there is no option 'scop': did you mean 'scope'?"),
        ("max_added_transposes = 1", "there is no option 'max_added_transposes': did you mean 'max-added-transposes'?"),
        ("[tool.fc2conv]\nscope = 'all'", "[tool.fc2conv] is for pyproject.toml: write the options without a table"),
        ("debug = true", "there is no option 'debug'"),
        ("[check]\nseed = 1", "fc2conv.toml: [check]: there is no option 'seed': remove it"),
        ("[chekc]\nscope = 'all'", "fc2conv.toml: there is no option 'chekc': did you mean 'check'?"),
        ("[explain]\nscope = 'all'", "there is no option 'explain'"),
        ("check = 1", "fc2conv.toml: check is a command, and no table of its options: write [check]"),
        ("[[check]]", "check is a command, and no table of its options: write [check]"),
        ('include = ["a\\u0000"]', "fc2conv.toml: include holds a NUL"),
        ("[convert]\nsope = 'all'", "[convert]: there is no option 'sope': did you mean 'scope'?"),
        ("cam = 'yes'", "fc2conv.toml: cam is not true or false: write cam = true"),
        ("scope = true", "fc2conv.toml: scope is not a string or a number"),
        ("scope = ['all']", "fc2conv.toml: scope is not a string or a number"),
        ("include = [1, true]", "include is not a list of strings"),
        ("include = {}", "include is not a list of strings"),
        ("scope = 'some'", "fc2conv.toml: Invalid value for '--scope': 'some' is not one of"),
        ("max-added-transposes = -1", "fc2conv.toml: Invalid value for '--max-added-transposes': -1 is not in the"),
        ("scope = ", "fc2conv.toml cannot be read as TOML"),
    ],
)
def test_what_fits_no_option_is_refused_with_the_file(
    asked: list[Options], capsys: Captured, text: str, message: str
) -> None:
    write(text)
    assert main(["a", "b", "--dry-run"]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert (out, asked, err.count("\n")) == ("", [], 1)
    assert message in err


RESERVED = {
    "custom-op-library": "loads code",
    "providers": "loads code",
    "engine": "loads code",
    "scheduler": "loads code",
    "report": "names a file to write",
    "save-failing-inputs": "names a file to write",
    "run": "names a file to write",
    "no-verify": "changes what is proved",
    "force": "changes what is proved",
    "exact-only": "changes what is proved",
    "numeric-only": "changes what is proved",
    "seed": "changes what is proved",
    "check-n": "changes what is proved",
    "rtol": "changes what is proved",
    "atol": "changes what is proved",
    "per-output": "changes what is proved",
    "val-range": "changes what is proved",
    "load-inputs": "changes what is proved",
    "ort-opt": "changes what is proved",
    "certificate": "changes what is proved",
    "timeout": "changes the limits",
    "memory-limit": "changes the limits",
    "jobs": "changes what is run",
    "models-per-process": "changes what is run",
    "shard": "changes what is run",
    "resume": "changes what is run",
    "retry": "changes what is run",
    "max-failures": "changes what is run",
    "dry-run": "changes what is run",
}
"""The options that a file may not set which was found by searching."""


def as_value(option: Option) -> str:
    """A value of an option's type, as TOML."""
    return "false" if option.is_flag else "['1']" if option.multiple else "1"


@pytest.mark.parametrize("name", RESERVED)
def test_a_file_that_was_found_sets_no_more_than_the_conversion(
    asked: list[Options], capsys: Captured, name: str
) -> None:
    having = {
        command: option
        for command, each in group.commands.items()
        for option in each.params
        if isinstance(option, Option) and f"--{name}" in option.opts
    }
    assert having
    for table, option in {"": next(iter(having.values())), **{f"[{each}]\n": having[each] for each in having}}.items():
        write(f"{table}{name} = {as_value(option)}\n")
        assert main(["check", "a"]) == ExitCode.USAGE
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert f"fc2conv.toml: {name} {RESERVED[name]}, which a file that was found by searching may not do" in printed
        assert f"give --{name} on the command line" in printed
        write(f"[tool.fc2conv]\n{name} = {as_value(option)}\n", "pyproject.toml")
        Path("fc2conv.toml").unlink()
        assert main(["check", "a"]) == ExitCode.USAGE
        assert f"pyproject.toml: {name} {RESERVED[name]}" in capsys.readouterr().err
    assert asked == []


def test_every_other_option_may_be_found() -> None:
    options = [each for command in group.commands.values() for each in command.params if isinstance(each, Option)]
    assert {max(each.opts, key=len).removeprefix("--") for each in options if each.reserved} == set(RESERVED)


def test_a_file_that_was_named_may_set_all(asked: list[Options]) -> None:
    write("no-verify = true\nrtol = 0.5\nforce = true\n[check]\ntimeout = 5\n", "named.toml")
    main(["check", "a", "--config", "named.toml"])
    main(["a", "b", "--dry-run", "--config", "named.toml"])
    limits = Limits(timeout=5)
    assert asked == [
        Options(force=True, limits=limits, verification=VerifyOptions(limits=limits)),
        Options(force=True, verify=False, verification=VerifyOptions(rtol=0.5)),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--config missing.toml", "missing.toml could not be read (No such file or directory)"),
        ("--config pyproject.toml", "pyproject.toml has no table [tool.fc2conv]"),
        ("--config fc2conv.toml --no-config", "--config and --no-config exclude each other"),
        ("--no-config --config fc2conv.toml", "--config and --no-config exclude each other"),
    ],
)
def test_a_named_file_must_serve(asked: list[Options], capsys: Captured, line: str, message: str) -> None:
    write("scope = 'all'")
    write("[tool.fc2conv]\n"[:6], "pyproject.toml")
    assert main(["check", "a", *line.split()]) == ExitCode.USAGE
    assert message in capsys.readouterr().err
    assert asked == []


def test_a_working_directory_that_is_gone_has_no_options(
    asked: list[Options], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    main(["check", "/a"])
    assert asked == [Options()]


def test_a_tool_that_is_no_table(asked: list[Options], capsys: Captured) -> None:
    write("tool.fc2conv = 1", "pyproject.toml")
    assert main(["check", "a"]) == ExitCode.USAGE
    assert "pyproject.toml: tool.fc2conv is not a table" in capsys.readouterr().err
    assert asked == []
