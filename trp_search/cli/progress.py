"""Progress of a command's work: one line that is rewritten, or a line now and then in a log.

All of it goes to stderr unless stdout is a terminal, so that stdout can be piped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from trp_search.cli.console import OUT, shown
from trp_search.cli.formatting import clock
from trp_search.progress import Pace, heard, repeated
from trp_search.records import Progress

_BAR_WIDTH = 12
_SHORT_SECONDS = 1.0  # what is over by then gets no line on a terminal
_TICK_SECONDS = 0.5
_FIRST_SECONDS, _NEXT_SECONDS = 5.0, 30.0
_NEXT_SHARE = 0.01  # of the time so far: a log of a day stays readable


@contextmanager
def progress_shown() -> Iterator[None]:
    """Shows how far the work inside the block has come, unless that is not wanted."""
    if not wanted():
        yield
        return
    errors = Console(stderr=True)
    drawn_on = (c for c in (OUT, errors) if c.is_terminal and not c.is_dumb_terminal)
    terminal = next(drawn_on, None)
    display = Line(terminal) if terminal else Log(sys.stderr.write)
    pace = Pace()
    with (
        display.at_work(),
        heard(lambda step: display.show(pace.hear(step, now=time.time()))),
    ):
        yield


def wanted() -> bool:
    """Whether progress is shown; the environment may turn it off."""
    return os.environ.get("TRP_SEARCH_PROGRESS") != "off"


class Line:
    """One line of a terminal, there while something works."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._last: Progress | None = None
        self._live: Live | None = None
        self._spinner = Spinner("dots")

    def show(self, progress: Progress) -> None:
        """From now on shows this."""
        self._last = progress
        if self._live is None and time.monotonic() - self._began > _SHORT_SECONDS:
            self._live = Live(
                get_renderable=self._drawn,
                console=self._console,
                refresh_per_second=5,
                transient=True,
            )
            self._live.start()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Removes the line after the block."""
        try:
            yield
        finally:
            if self._live is not None:
                self._live.stop()

    def _drawn(self) -> Table:
        table = Table.grid(padding=(0, 1))
        assert self._last is not None
        table.add_row(self._spinner, *bar(self._last))
        return table


def bar(progress: Progress) -> tuple[ProgressBar | Text, ...]:
    """The cells of a row: what is done, a bar, how much and how fast."""
    if progress.is_over or not progress.total:
        return (Text(shown(_working(progress))),)
    drawn = ProgressBar(total=progress.total, completed=progress.done, width=_BAR_WIDTH)
    return Text(shown(_name(progress))), drawn, Text(measures(progress), style="dim")


class Log:
    """Lines in a log: the first after five seconds, then one every half a minute or rarer.

    A thread writes them, since a step may be silent for long.
    """

    def __init__(
        self, write: Callable[[str], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._began = self._written = clock()
        self._last: Progress | None = None

    def show(self, progress: Progress) -> None:
        """From now on tells of this."""
        self._last = progress

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Writes the lines of the block."""
        with repeated(self.tick, every=_TICK_SECONDS):
            yield

    def tick(self) -> bool:
        """Writes a line if one is due; false, since there may be more."""
        now = self._clock()
        if (
            self._last is not None
            and not self._last.is_over
            and is_due(now - self._began, self._written - self._began)
        ):
            self._written = now
            self._write(f"{clock(now - self._began)}  {shown(sentence(self._last))}\n")
        return False


def is_due(now: float, last: float) -> bool:
    """Whether a log gets a line `now` seconds after a command's begin, after one at `last` or 0."""
    pause = max(_NEXT_SECONDS, _NEXT_SHARE * now) if last > 0 else _FIRST_SECONDS
    return now - last >= pause


def sentence(progress: Progress) -> str:
    """`training, epoch 3 of 30: 41 %, 1,234 images/s, 12:05 left`."""
    if progress.is_over or not progress.total:
        return _working(progress)
    return f"{_name(progress)}: {measures(progress)}"


def measures(progress: Progress) -> str:
    """`41 %, 1,234 images/s, 12:05 left`, as far as it is known."""
    parts = [] if progress.share is None else [f"{progress.share:.0%}".replace("%", " %")]
    if progress.per_second is not None:
        parts.append(f"{_rate(progress.per_second)} {progress.unit}/s")
    if progress.seconds_left is not None:
        parts.append(f"{clock(progress.seconds_left)} left")
    return ", ".join(parts)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _name(progress: Progress) -> str:
    if progress.epoch is None:
        return progress.what
    return f"{progress.what}, epoch {progress.epoch} of {progress.epochs}"


def _working(progress: Progress) -> str:
    """A step without a length; one that is over is followed by one that is not told."""
    return "working" if progress.is_over else _name(progress)
