"""How far a command's work has come, as a line on a terminal and as lines in a log."""

from __future__ import annotations

import dataclasses
import io
import itertools

from rich.console import Console
from rich.table import Table

from trp_search.cli.progress import Log, bar, is_due, sentence
from trp_search.records import Progress

WITHIN = Progress(
    what="training",
    done=410,
    total=1000,
    unit="images",
    epoch=3,
    epochs=30,
    per_second=1234.5,
    seconds_left=725.0,
    at=0.0,
)


def test_a_step_is_told_with_its_share_its_speed_and_the_time_left():
    assert sentence(WITHIN) == "training, epoch 3 of 30: 41 %, 1,234 images/s, 12:05 left"
    begun = dataclasses.replace(WITHIN, done=0, per_second=None, seconds_left=None)
    assert sentence(begun) == "training, epoch 3 of 30: 0 %"
    unknown = dataclasses.replace(begun, what="tracing", total=None, epoch=None)
    assert sentence(unknown) == "tracing"


def test_what_follows_a_step_that_is_over_is_not_called_by_its_name():
    assert sentence(dataclasses.replace(WITHIN, done=1000)) == "working"


def test_the_line_of_a_terminal_fits_eighty_columns():
    console = Console(width=80, record=True, file=io.StringIO())
    table = Table.grid(padding=(0, 1))
    long = dataclasses.replace(WITHIN, what="validation", epoch=164, epochs=164)
    table.add_row("*", *bar(dataclasses.replace(long, per_second=12345.0)))
    console.print(table)
    (line,) = console.export_text().splitlines()
    assert line.rstrip().endswith("41 %, 12,345 images/s, 12:05 left")


def test_a_log_of_a_day_has_its_first_line_after_five_seconds_and_few_hundred_in_all():
    told: list[float] = []
    for now in map(float, range(86_400)):
        if is_due(now, told[-1] if told else 0.0):
            told.append(now)
    assert told[:3] == [5.0, 35.0, 65.0]
    assert len(told) < 500
    assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(told))


def test_a_log_says_nothing_of_a_short_command_and_one_line_of_a_longer_one():
    written: list[str] = []
    times = iter([100.0, 100.0, 104.9, 106.0, 106.1])
    log = Log(written.append, clock=lambda: next(times))
    log.show(WITHIN)
    log.tick()
    log.tick()
    assert written == []
    log.tick()
    log.tick()
    assert written == [f"0:06  {sentence(WITHIN)}\n"]
