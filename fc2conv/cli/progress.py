"""The progress of a batch, on stderr: a bar on a terminal, else a line now and then. Failures appear at once."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from fc2conv.cli.console import log
from fc2conv.io.escape import counted, one_line

if TYPE_CHECKING:
    from rich.live import Live

    from fc2conv.report.types import Outcome

_LINES = 20
"""How many lines a run without a terminal writes, without those of failures."""

_SHOWN = 3


class Progress:
    """Counts what is done, and shows it; nothing where it is quiet."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total = total
        self._quiet = quiet
        self._begin = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._flying: dict[str, None] = {}
        self._same = 0
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if not self._quiet and sys.stderr is not None and sys.stderr.isatty():
            self._live = _live(self._total, self._counts.total, self._lines)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, name: str) -> None:
        self._flying[name] = None

    def finished(self, name: str, outcome: Outcome, message: str, *, same: bool) -> None:
        self._flying.pop(name, None)
        self._counts[outcome] += 1
        self._same += same
        if self._quiet:
            return
        from fc2conv.report.types import WRITTEN

        if outcome not in WRITTEN and not same:
            self._say(f"fc2conv: {one_line(name)}: {outcome}: {one_line(message)}")
        done = self._counts.total()
        if self._live is None and (done == self._total or done % max(1, self._total // _LINES) == 0):
            log(f"fc2conv: {self._line(done)}")

    def tick(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _lines(self) -> list[str]:
        names = [one_line(name) for name in list(self._flying)[:_SHOWN]]
        more = [f"and {len(self._flying) - _SHOWN} more"] if len(self._flying) > _SHOWN else []
        return [f"{self._rate():.1f} models/s  {self._outcomes()}", *names, *more]

    def _line(self, done: int) -> str:
        rate = self._rate()
        speed = f", {rate:.1f} models/s" if rate else ""
        left = f", {(self._total - done) / rate:.0f} s left" if rate and done < self._total else ""
        return f"{done} of {counted(self._total, 'model')}{speed}{left}: {self._outcomes()}"

    def _rate(self) -> float:
        """Return the models per second, without those that an earlier run did."""
        return (self._counts.total() - self._same) / max(time.monotonic() - self._begin, 1e-9)

    def _outcomes(self) -> str:
        counts = [f"{count} {outcome}" for outcome, count in sorted(self._counts.items())]
        return ", ".join(counts + ([f"{self._same} of them before"] if self._same else []))

    def _say(self, line: str) -> None:
        if self._live is None:
            log(line)
        else:
            from rich.text import Text

            self._live.console.print(Text(line), soft_wrap=True)


def _live(total: int, done: Callable[[], int], lines: Callable[[], list[str]]) -> Live:
    """Make a bar with lines below it, each cut at the terminal's edge."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.text import Text

    columns = (
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        Remaining(),
    )
    bar = Progress(*columns)
    task = bar.add_task("models", total=total)

    def drawn() -> Group:
        bar.update(task, completed=done())
        return Group(bar, *(Text(each, no_wrap=True, overflow="ellipsis") for each in lines()))

    console = Console(stderr=True)
    return Live(get_renderable=drawn, console=console, transient=True, auto_refresh=False)
