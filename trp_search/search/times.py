"""What a search measures itself: layers' times before its first trial, its front after the last."""

from __future__ import annotations

from collections.abc import Callable

from trp_search import report
from trp_search.errors import InputError, NothingFoundError
from trp_search.records import TimeTable
from trp_search.report.times import misses
from trp_search.runs import clock, networks, reach
from trp_search.runs import quantize as quantizing
from trp_search.runtimes.machine import busy
from trp_search.selection import pareto
from trp_search.selection.snapshot import Snapshot
from trp_search.space import SearchSpace
from trp_search.store import RunFolder


def before_trials(
    space: SearchSpace, run: RunFolder, *, tell: Callable[[str], None]
) -> list[TimeTable]:
    """The layers' times from which this search predicts, those that are not in the run yet.

    Raises:
        InputError: the target's runtime or device is not there, or the run's times are others'.
    """
    if space.target is None or not reach.is_missing(space, run):
        return []
    tell(f"timing layers on {space.target.name}")
    if said := busy():
        tell(said)
    return reach.tables(space, space.target, run)


def after_trials(space: SearchSpace, run: RunFolder, *, tell: Callable[[str], None]) -> None:
    """Quantises the front, times it on the space's targets where it was not, and draws the page.

    A failure is only reported, because the search itself has succeeded.
    """
    _quantise(space, run, tell)
    for asked in space.timed_on:
        try:
            target = clock.target_of(run, asked.name, asked.model_dump(exclude={"seconds"}))
            left = clock.untimed(run, target)
            tell(f"timing {len(left)} networks on {asked.name}")
            for _ in clock.measure(run, target, left, seconds=asked.seconds):
                pass
        except (InputError, NothingFoundError) as error:
            tell(f"not timed on {asked.name}: {error}")
    found = Snapshot(folder=run)
    for said in misses(found.points, found.latencies) if space.target else ():
        tell(said)
    if space.timed_on or space.int8:
        report.write(run)


def _quantise(space: SearchSpace, run: RunFolder, tell: Callable[[str], None]) -> None:
    """Puts the front into int8 for the space's runtimes where it is not yet; scores it on test."""
    for tool in space.int8:
        try:
            worth = quantizing.worth_it(Snapshot(folder=run))
            left = quantizing.unquantized(run, worth, tool)
            tell(f"quantising {len(left)} networks for {tool}")
            for _ in quantizing.quantize(run, left, tool):
                pass
        except (InputError, NothingFoundError) as error:
            tell(f"not quantised for {tool}: {error}")
    for point in pareto.search_front(run.read_all_points(), space) if space.int8 else ():
        networks.score_test(run, point)
