"""The command line: parses, calls the library, prints. Results go to stdout, everything else to stderr.

Each command is a module of its own, which is loaded when the command is looked up. onnx, onnxruntime, numpy, msgspec
and rich are loaded by what a command calls, never by this package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

import click

from fc2conv.cli.console import exit_codes, log, stdout
from fc2conv.cli.option import files
from fc2conv.errors import ExitCode
from fc2conv.options.checked import close
from fc2conv.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_DEFAULT_COMMAND = "convert"


class Commands(Mapping[str, click.Command]):
    """The commands by name; each is a function of the module of its name."""

    names = (_DEFAULT_COMMAND, "check", "verify", "batch", "report", "heatmap", "trace", "explain", "targets")

    def __getitem__(self, name: str) -> click.Command:
        if name not in self.names:
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"fc2conv.cli.{name}"), name)
        return command

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class DefaultCommand(click.Group):
    """A group in which `fc2conv IN OUT` means `fc2conv convert IN OUT`, and that lists its commands as written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing and not args:  # the shell asks what may follow
            return super().parse_args(ctx, args)
        if not args:
            log(ctx.get_help())
            ctx.exit(ExitCode.USAGE)
        own = {name for option in self.get_params(ctx) for name in option.opts}
        if args[0] == "help" and not os.path.exists("help"):
            args = [*args[1:2], "--help"]
            if args[0] not in self.commands:
                self._refuse_misspelt(args[0])
        elif args[0] not in {*self.commands, *own}:
            self._refuse_misspelt(args[0])
            args = [_DEFAULT_COMMAND, *args]
        with stdout():
            return super().parse_args(ctx, args)
        raise click.exceptions.Exit(ExitCode.DONE)

    def _refuse_misspelt(self, word: str) -> None:
        """Raise UsageError for a word that is nearly a command, and neither a file nor the name of a model."""
        if not word.isalpha() or os.path.exists(word):
            return
        if near := close(word, self.commands, 0.7):
            raise click.UsageError(f"there is no command {word!r}; did you mean '{near}'?")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands, and the files that IN may be."""
        return [*super().shell_complete(ctx, incomplete), *files(ctx, None, incomplete)]

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=DefaultCommand,
    commands=Commands(),
    epilog=exit_codes(),
    options_metavar="IN OUT [OPTIONS] |",
    subcommand_metavar="COMMAND ...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", prog_name="fc2conv", message="%(prog)s %(version)s")
def main() -> None:
    """Rewrite the fully connected layers of an ONNX model as convolutions, and prove the result.

    \b
      fc2conv model.onnx out.onnx           convert, prove, write
      fc2conv check models/*.onnx           plan only, as a gate for CI
      fc2conv verify model.onnx out.onnx    prove two models equal
      fc2conv batch zoo out                 convert a folder

    Options follow the command, or IN OUT: `fc2conv convert --help` lists them. Write ./check for a model that has the
    name of a command.
    """
