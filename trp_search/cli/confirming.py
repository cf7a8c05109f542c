"""`trp-search confirm`: repeats the front's trainings with other seeds."""

from __future__ import annotations

import statistics
from typing import Annotated

from rich.table import Column, Table

from trp_search import report
from trp_search.cli.arguments import Run, Trust, option, positive
from trp_search.cli.bundles import follow, stoppable
from trp_search.cli.console import OUT, line, pairs, warn
from trp_search.cli.formatting import here
from trp_search.cli.spaces import trusted
from trp_search.cli.tables import table_of
from trp_search.errors import TrpSearchError
from trp_search.records import Point, Repeat
from trp_search.records.objectives import TIMES
from trp_search.report.formatting import their_speedups
from trp_search.store import exclusive

_SEEDS = 3


def confirm(
    run: Run,
    seeds: Annotated[
        int | None, option("N", "repeats of each training [default: 3]", parser=positive)
    ] = None,
    *,
    trust: Trust = False,
) -> None:
    """Repeat the front's trainings with other seeds; show the spread."""
    folder = trusted(run, trust=trust)
    from trp_search.runs import confirm as again

    busy = "another command is at work in this folder; confirm its front when it has ended"
    with exclusive(folder.lock, wait_seconds=0.0, holder=busy), stoppable():
        left = again.plan(folder, seeds=_SEEDS if seeds is None else seeds)
        failed = 0
        for place, (spec, points) in enumerate(left, start=1):
            line(f"Training {place} of {len(left)}: trial {points[0].trial} again", style="bold")
            result = follow(again.confirm(folder, spec, points))
            if not result.ended_well:
                warn(f"{spec.name} {result.ending}: {result.why_not}")
                failed += 1
    repeats = folder.read_repeats()
    if not repeats or (failed and failed == len(left)):
        raise TrpSearchError("no training ended well; nothing was confirmed")
    line()
    OUT.print(_table([p for p in folder.read_points() if p.id in repeats], repeats))
    pairs([("report", here(report.write(folder)))])


def _table(points: list[Point], repeats: dict[str, list[Repeat]]) -> Table:
    """The search's score beside that of other seeds, the slowest first."""
    numbers = ("speedup", "the search's", "seeds", "their speedup", "mean", "from", "to")
    table = table_of(Column("point", no_wrap=True), *numbers)
    for point in sorted(points, key=lambda point: point.speedup):
        found = [repeat.score.value for repeat in repeats[point.id]]
        ends = (statistics.mean(found), min(found), max(found))
        own = point.score.shown
        table.add_row(
            point.id,
            TIMES(point.speedup),
            own,
            str(len(found)),
            their_speedups(repeats[point.id]),
            *map(point.score.metric.show, ends),
        )
    return table
