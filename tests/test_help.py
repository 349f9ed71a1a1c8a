"""What the command line says of itself."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from fc2conv.__main__ import main
from fc2conv.cli import main as group
from fc2conv.errors import ExitCode

Captured = pytest.CaptureFixture[str]


def test_help_teaches(capsys: Captured) -> None:
    assert main(["--help"]) == ExitCode.DONE
    printed = capsys.readouterr().out
    assert "fc2conv model.onnx out.onnx" in printed
    assert [printed.index(f"\n  {name} ") for name in group.commands] == sorted(
        printed.index(f"\n  {name} ") for name in group.commands
    )
    for code in ExitCode:
        assert f"{code:d}  " in printed


def test_the_help_of_convert_groups_its_options_and_ends_with_exit_codes_and_examples(capsys: Captured) -> None:
    assert main(["convert", "--help"]) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    headings = [line.rstrip(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    groups = ["Input", "What to convert", "Form and target", "Fully convolutional", "Verification", "Output", "Limits"]
    assert headings == [*groups, "General"]
    codes = lines.index("  Exit codes:")
    examples = lines.index("  Examples:")
    assert lines.index("General:") < codes < examples
    assert all(line.startswith("    fc2conv ") for line in lines[examples + 1 :])
    assert len(lines) - examples == 4


@pytest.mark.parametrize("command", group.commands)
def test_each_help_text_begins_with_a_verb_and_an_option_is_in_a_group(command: str) -> None:
    from fc2conv.cli.console import HEADINGS

    options = [param for param in group.commands[command].params if isinstance(param, click.Option)]
    for option in options:
        assert option.help, option.name
        assert option.help[0].isupper()
        assert option.help.split()[0].rstrip("s") not in NOT_VERBS, f"{command} {option.name}: {option.help}"
        assert getattr(option, "heading", "General") in HEADINGS


NOT_VERBS = {
    "A",
    "An",
    "The",
    "No",
    "Only",
    "Where",
    "What",
    "How",
    "Most",
    "Large",
    "Weight",
    "Layer",
    "Rank",
    "Details",
}


def test_without_arguments_help_is_a_usage_error(capsys: Captured) -> None:
    assert main([]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "fc2conv model.onnx out.onnx" in err


@pytest.mark.parametrize("command", ["", *group.commands])
def test_help_fits_80_columns(capsys: Captured, command: str) -> None:
    assert main([*command.split(), "--help"]) == ExitCode.DONE
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())


def test_every_option_and_exit_code_is_in_the_reference(root: Path) -> None:
    page = (root / "docs" / "reference.md").read_text(encoding="utf-8")
    for command in group.commands.values():
        for name in (name for param in command.params if param.param_type_name == "option" for name in param.opts):
            assert f"`{name}" in page, f"{command.name} {name}"
    for code in ExitCode:
        assert f"\n| {code:d} | " in page


def test_version(capsys: Captured, root: Path) -> None:
    assert main(["--version"]) == ExitCode.DONE
    version = capsys.readouterr().out.strip().removeprefix("fc2conv ")
    assert version == fc2conv_version()
    assert "## [Unreleased]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def fc2conv_version() -> str:
    from fc2conv.version import __version__

    return __version__
