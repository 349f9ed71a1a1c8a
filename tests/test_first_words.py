"""What people type before they have read the help: misspelt commands, `help`, `-V`."""

from __future__ import annotations

import pytest

from fc2conv.__main__ import main
from fc2conv.errors import ExitCode


@pytest.mark.parametrize(("word", "nearest"), [("chekc", "check"), ("verfy", "verify"), ("convrt", "convert")])
def test_a_misspelt_command_is_answered_with_the_nearest(
    word: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, "m"]) == ExitCode.USAGE
    assert f"did you mean '{nearest}'?" in capsys.readouterr().err


def test_help_of_a_misspelt_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "chekc"]) == ExitCode.USAGE
    assert "did you mean 'check'?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["help"], ["help", "check"], ["-V"]])
def test_what_people_try_first(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == ExitCode.DONE
    assert "fc2conv" in capsys.readouterr().out
