"""`trp-search search` and `resume`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from trp_search.cli.arguments import (
    Address,
    Concurrency,
    Run,
    Seed,
    Space,
    Timeout,
    Trials,
    Trust,
    option,
)
from trp_search.cli.console import OUT, following, line, pairs, warn
from trp_search.cli.formatting import command, here
from trp_search.cli.help import SEARCHED, WRITTEN
from trp_search.cli.signals import StoppedError
from trp_search.cli.spaces import with_configured
from trp_search.cli.supervised import tell_parent
from trp_search.cli.tables import point_table, slower_marks
from trp_search.errors import NothingFoundError, SearchError
from trp_search.records import Point
from trp_search.report import contents, history, rows
from trp_search.report.formatting import count
from trp_search.selection.select import out_of_reach
from trp_search.space import SearchSpace, changed, load_space
from trp_search.store import RunFolder


def search(  # noqa: PLR0913  options of a command
    space: Space,
    out: Annotated[
        Path | None, option("DIR", "a new run folder [default: results/SPACE-DATE-TIME]", WRITTEN)
    ] = None,
    trials: Trials = None,
    concurrency: Concurrency = None,
    address: Address = None,
    seed: Seed = None,
    begin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="try the settings of this run's front first",
            rich_help_panel=SEARCHED,
        ),
    ] = None,
    timeout: Timeout = 600.0,
) -> None:
    """Train, cut and score networks; keep the best at each speedup."""
    from trp_search.cli.live import watching
    from trp_search.search.start import begun_with, new_search

    loaded = changed(with_configured(space), seed=seed)
    if begin is not None:
        loaded = begun_with(loaded, RunFolder.open(begin))
    target = out or Path("results") / f"{space.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    with _stoppable(target), watching() as on_event:
        run = new_search(
            loaded,
            target,
            trials=trials,
            concurrency=concurrency,
            address=address,
            on_event=on_event,
            timeout=timeout,
        )
    _conclude(run, loaded)


def resume(
    run: Run,
    trials: Trials = None,
    concurrency: Concurrency = None,
    address: Address = None,
    timeout: Timeout = 600.0,
    *,
    trust: Trust = False,
) -> None:
    """Continue a stopped search, or add trials to a finished one."""
    from trp_search.cli.live import watching
    from trp_search.search.start import resume_search

    folder = RunFolder.open(run)
    with _stoppable(run), watching() as on_event:
        resume_search(
            folder,
            trials=trials,
            concurrency=concurrency,
            address=address,
            on_event=on_event,
            timeout=timeout,
            trust=trust,
        )
    _conclude(folder, load_space(folder.search))


@contextmanager
def _stoppable(run: Path) -> Iterator[None]:
    """Adds the command that continues the search to whatever stops the block."""
    tell_parent(run=str(run))
    begun = RunFolder(path=run.resolve()).search
    try:
        yield
    except KeyboardInterrupt:
        if not begun.exists():
            raise StoppedError(" before anything had begun") from None
        raise StoppedError(f"; resume with {command('resume', run)}") from None
    except SearchError as error:
        if not begun.exists():
            raise
        raise SearchError(f"{error}; resume with {command('resume', run)}") from error


def _conclude(run: RunFolder, space: SearchSpace) -> None:
    """Prints where everything is, the front, and the commands to type next."""
    read = contents.read(run)
    points, built = read.points, rows.build(read)
    front = [row.point for row in built.front]
    baseline = built.baseline.point if built.baseline else None
    numbers, results = read.numbers, read.results
    scored = {numbers[p.trial] for p in points if p.role == "trial" and p.trial in numbers}
    trials = count(len(scored), "scored trial")
    stopped = history.ends(results, numbers).counts["stopped"]
    early = f", {stopped} stopped at a rung" if stopped else ""
    line(f"Done: {trials}{early}, {len(front)} on the front", style="bold")
    if front:
        _front(run, front, space, baseline)
        if len(front) > _SHOWN:
            line(f"and {len(front) - _SHOWN} between them; the report has all", style="dim")
    line()
    pairs([("run", here(run.path)), ("report", here(run.report))])
    if front:
        following(next_commands(run, front))
    searched = [point for point in points if point.searched]
    if searched and not front:
        raise NothingFoundError(f"{here(run.path)}: {out_of_reach(searched, space)}")
    if not searched:
        reasons = [found.why_not for found in results.values() if found and found.why_not]
        why = f", as the last of {len(reasons)}: {reasons[-1]}" if reasons else ""
        raise NothingFoundError(f"{here(run.path)}: no trial gave a network{why}")


def _front(run: RunFolder, front: list[Point], space: SearchSpace, baseline: Point | None) -> None:
    tests, latencies = run.read_tests(), run.read_latencies()
    marks, notes = slower_marks(front, latencies)
    OUT.print(
        point_table(
            front, space.objectives, baseline=baseline, tests=tests, marks=marks, most=_SHOWN
        )
    )
    for note in notes:
        warn(note)


_SHOWN = 24  # of the points on a front


def next_commands(run: RunFolder, front: list[Point]) -> list[str]:
    """Commands that choose and export at a speedup that this front reaches."""
    path = here(run.path)
    fastest = max(point.speedup for point in front)
    # 2x where it is reached; otherwise the fastest, rounded down to what is.
    speedup = "2" if fastest >= 2 else f"{max(1.0, int(fastest * 10) / 10):g}"
    bundle = Path("models") / f"{run.path.name}-{speedup}x"
    return [
        command("select", path, "--speedup", speedup),
        command("export", path, "--speedup", speedup, "--out", bundle),
    ]
