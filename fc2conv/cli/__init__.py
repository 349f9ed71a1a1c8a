"""The command line: parses, calls the library, prints. Results go to stdout, everything else to stderr.

Each command is a module of its own. onnx, onnxruntime, numpy, msgspec and rich are loaded by what a command calls,
never by this package.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from fc2conv.cli.batch import batch
from fc2conv.cli.check import check
from fc2conv.cli.console import log, stdout
from fc2conv.cli.convert import convert
from fc2conv.cli.explain import explain
from fc2conv.cli.heatmap import heatmap
from fc2conv.cli.report import report
from fc2conv.cli.targets import targets
from fc2conv.cli.trace import trace
from fc2conv.cli.values import files
from fc2conv.cli.verify import verify
from fc2conv.errors import ExitCode
from fc2conv.version import __version__

_DEFAULT_COMMAND = "convert"

_EXIT_CODES = """\
\b
Exit codes:
    0  done, nothing to do included
    1  check found work or what it is to fail on, or --require is unmet
    2  usage
    3  the input is unreadable, invalid or not supported
    4  the models differ; nothing was written
    5  nothing could be compared; nothing was written
    6  the output could not be written
    7  a batch with models that failed
    8  a limit, or a native library that crashed on the model
   70  a fault of fc2conv
  129  hung up (SIGHUP)
  130  interrupted (Ctrl-C)
  143  terminated (SIGTERM)
"""


class DefaultCommand(click.Group):
    """A group in which `fc2conv IN OUT` means `fc2conv convert IN OUT`, and that lists its commands as written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing and not args:  # the shell asks what may follow
            return super().parse_args(ctx, args)
        if not args:
            log(ctx.get_help())
            ctx.exit(ExitCode.USAGE)
        own = {name for option in self.get_params(ctx) for name in option.opts}
        if args[0] == "help" and not Path("help").exists():
            args = [*args[1:2], "--help"]
        elif args[0] not in {*self.commands, *own}:
            self._refuse_misspelt(args[0])
            args = [_DEFAULT_COMMAND, *args]
        with stdout():
            return super().parse_args(ctx, args)
        raise click.exceptions.Exit(ExitCode.DONE)

    def _refuse_misspelt(self, word: str) -> None:
        """Raises UsageError for a word that is nearly a command, and neither a file nor the name of a model."""
        near = get_close_matches(word, self.commands, n=1, cutoff=0.7) if word.isalpha() else []
        if near and not Path(word).exists():
            raise click.UsageError(f"there is no command {word!r}; did you mean '{near[0]}'?")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, and the files that IN may be."""
        return [*super().shell_complete(ctx, incomplete), *files(ctx, None, incomplete)]

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=DefaultCommand,
    epilog=_EXIT_CODES,
    options_metavar="IN OUT [OPTIONS] |",
    subcommand_metavar="COMMAND ...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", prog_name="fc2conv", message="%(prog)s %(version)s")
def main() -> None:
    """Rewrite the fully connected layers of an ONNX model as convolutions, and prove that the result agrees.

    \b
      fc2conv model.onnx out.onnx          convert, prove, write
      fc2conv check *.onnx                 what would change, and the reasons
      fc2conv verify model.onnx out.onnx   compare two models
      fc2conv batch zoo out                many models, unattended
      fc2conv heatmap fcn.onnx a.png b.png where a sliding network sees a class
      fc2conv trace model.onnx NODE        how the planner saw a node
      fc2conv explain FC102                a reason code and what to do about it
      fc2conv targets dla                  what a target takes, with sources

    Options stand behind the command, or behind IN OUT: `fc2conv convert --help` lists them. A model that is
    called like a command is written ./check.
    """


for _command in (convert, check, verify, batch, report, heatmap, trace, explain, targets):
    main.add_command(_command)
