"""A cut whose budget is time: chosen on a target, and timed there again by another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from trp_search.cli.arguments import option
from trp_search.cli.console import line
from trp_search.cli.help import TIMED as PANEL
from trp_search.cli.timing import Fields, warn_of_load
from trp_search.errors import InputError, TrpSearchError, last_words
from trp_search.records import BASELINE, TIMED, Cut, Keep, Point, Target, WholeNetwork, made
from trp_search.records.objectives import TIMES
from trp_search.records.timed import asked_of, keeps
from trp_search.report.times import clock as clocked
from trp_search.store import RunFolder

Budgeted = Annotated[
    str | None, option("NAME", "the target on which a time budget is measured", PANEL)
]

_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The target that was asked for, by name and fields."""

    name: str
    fields: Fields


def checked_clock(keep: Keep, name: str | None, fields: Fields) -> Clock | None:
    """Where a time budget counts; None for another budget.

    Raises:
        InputError: a target without such a budget, such a budget without a target, or a target that
            cannot be.
    """
    flag = f"--{keep.key().replace('_', '-')}"
    if keep.key() not in TIMED:
        if name is not None or fields:
            wanted = ", ".join(f"--{key.replace('_', '-')}" for key in TIMED)
            raise InputError(f"--target: {flag} is not a time budget; time budgets are {wanted}")
        return None
    if name is None:
        raise InputError(f"{flag}: needs --target NAME, where it is measured")
    _target(name, fields)
    return Clock(name=name, fields=fields)


def _target(name: str, fields: Fields) -> Target:
    """A target as it was asked for, whatever the size of the images."""
    given: dict[str, str | int] = {"name": name, "height": 1, "width": 1, **fields}
    return made(Target, f"--target {name}", **given)


def by_time(folder: RunFolder, trial: str, wanted: Cut, clock: Clock) -> Cut:
    """`wanted` as ranks by layer, chosen by measured times."""
    from trp_search.runs import clock as stopwatch
    from trp_search.runs.timed_cut import check_timed, timed_cut

    target = stopwatch.target_of(folder, clock.name, clock.fields)
    check_timed(wanted, target)
    stopwatch.machine_of(folder, target)
    line(f"Timing layers on {target.name}; run nothing else meanwhile ...")
    warn_of_load()
    found, timing = timed_cut(folder, trial, wanted, target, seconds=_SECONDS)
    reached = f"{TIMES(timing.speedup)} ({timing.low:.2f} to {timing.high:.2f})"
    line(f"Chosen: {reached} on {target.name}", style="dim")
    return found


def later(folder: RunFolder, wanted: Cut, clock: Clock) -> Callable[[Cut], Cut]:
    """`by_time`, for a baseline that is yet to be stored; what needs none is checked now.

    Raises:
        InputError: such a cut cannot be timed there.
    """
    from trp_search.runs.timed_cut import check_timed

    check_timed(wanted, _target(clock.name, clock.fields))
    return lambda cut: by_time(folder, BASELINE, cut, clock)


def confirm_time(folder: RunFolder, point: Point, keep: Keep, clock: Clock) -> None:
    """Times the point's stored network in a fresh process, and says how it keeps to the budget.

    Raises:
        TrpSearchError: it does not, within 3 %; the point stays.
    """
    command = [sys.executable, "-m", "trp_search", "latency", str(folder.path), "--trust"]
    command += ["--target", clock.name, "--point", point.id]
    for name, value in clock.fields.items():
        if name != "width":
            command += [f"--{'image-size' if name == 'height' else name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  own words
    if done.returncode != 0:
        raise TrpSearchError(f"the point could not be timed: {last_words(done.stderr)}")
    found = folder.read_latencies()[clock.name][point.id]
    line(f"On {clock.name}, by another process: {clocked(found)[1]}", style="bold")
    assert isinstance(keep, WholeNetwork), keep
    if not keeps(found.low, asked_of(keep, found.dense_seconds * 1e3)):
        raise TrpSearchError(
            f"point {point.id} misses {keep.key()} {keep.amount:g}: measured again, it "
            f"is {TIMES(found.speedup)} ({found.low:.2f} to {found.high:.2f}) as fast"
        )
