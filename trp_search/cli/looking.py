"""`trp-search status`, `report` and `published`, without torch or Ray."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated

from trp_search import report as page
from trp_search.cli.arguments import Run, option
from trp_search.cli.console import OUT, line, pairs, warn
from trp_search.cli.formatting import command, duration, here
from trp_search.cli.progress import sentence
from trp_search.cli.tables import point_table, slower_marks
from trp_search.errors import InputError
from trp_search.records import EpochReport, Progress, TrialResult
from trp_search.records.objectives import TIMES
from trp_search.records.published import rows as rows_of
from trp_search.report import contents, history, rows
from trp_search.report.formatting import count, searched_ranks
from trp_search.report.times import misses
from trp_search.selection.select import out_of_reach
from trp_search.space import load_space
from trp_search.store import RunFolder

_SILENT_SECONDS = 30.0


def status(run: Run) -> None:
    """Show a run's progress, failures and front."""
    folder = RunFolder.open(run)
    read = contents.read(folder)
    built = rows.build(read)
    pairs(
        [
            ("run", here(folder.path)),
            ("network", f"{read.network} on {read.data}"),
            ("baseline", _baseline(read, built)),
            ("trials", _counts(history.ends(read.results, read.numbers))),
            *([("ranks", ranks)] if (ranks := searched_ranks(read.points)) else []),
            ("report", here(folder.report) if folder.report.exists() else "not written yet"),
        ]
    )
    running = {name: folder.trial(name).read_progress() for name in read.results}
    _unscored(read.results, read.epochs, running)
    front = [row.point for row in built.front]
    line()
    line(f"Front: {count(len(front), 'point')}", style="bold")
    if front:
        baseline = built.baseline.point if built.baseline else None
        names = [objective.name for objective in read.objectives]
        marks, notes = slower_marks(front, read.latencies)
        OUT.print(point_table(front, names, baseline=baseline, tests=read.tests, marks=marks))
        for note in [*notes, *misses(front, read.latencies)]:
            warn(note)
    elif searched := [point for point in read.points if point.searched]:
        line(out_of_reach(searched, load_space(folder.search)))
    for note in dict.fromkeys(point.counted for point in front if point.counted):
        warn(f"multiply-adds: counted {note}")
    if None in read.results.values():
        line()
        line(f"Resume a search that is not running with  {command('resume', here(folder.path))}")


def report(run: Run) -> None:
    """Write the page and front.csv of a run again."""
    folder = RunFolder.open(run)
    pairs([("report", here(page.write(folder))), ("front", here(folder.front))])


def published(
    network: Annotated[str | None, option("NAME", "this network alone, such as resnet20")] = None,
) -> None:
    """List published results (top-1 on test) with their sources."""
    found = rows_of(network)
    if not found:
        known = ", ".join(dict.fromkeys(row.network for row in rows_of()))
        raise InputError(f"--network: no published results for {network!r}; there are {known}")
    for source in dict.fromkeys((row.network, row.data, row.source) for row in found):
        line(f"{source[0]} on {source[1]}: {source[2]}", style="bold")
        own = [row for row in found if (row.network, row.data, row.source) == source]
        if own[0].baseline is not None:
            line(f"  uncompressed: {100 * own[0].baseline:.2f} %", style="dim")
        width = max(len(row.method) for row in own)
        for row in own:
            accuracy = f"{100 * row.accuracy:.2f} %"
            after = f"trained afterwards: {row.afterwards}"
            line(f"  {row.method:<{width}}  {TIMES(row.speedup)}  {accuracy}  {after}")


def _baseline(read: contents.Contents, built: rows.Rows) -> str:
    if built.baseline:
        return f"{built.baseline.point.score.shown} on validation"
    epochs = read.epochs.get("baseline")
    return f"epoch {epochs[-1].epoch} of {epochs[-1].epochs}" if epochs else "not trained yet"


def _counts(ends: history.Ends) -> str:
    amounts: dict[str, int] = {"scored": ends.counts["finished"]}
    amounts |= {kind: ends.counts[kind] for kind in ("failed", "diverged", "stopped")}
    amounts["unfinished"] = ends.unfinished
    return ", ".join(f"{number} {name}" for name, number in amounts.items() if number) or "none yet"


def _unscored(
    results: Mapping[str, TrialResult | None],
    epochs: Mapping[str, tuple[EpochReport, ...]],
    running: Mapping[str, Progress | None],
) -> None:
    """Every training without a score, with its reason or its progress."""
    for name, result in results.items():
        if result is None:
            line(f"  {name}: {_unfinished(running[name], epochs.get(name))}", style="dim")
        elif result.why_not:
            style = "dim" if result.stopped else "yellow"
            line(f"  {name}: {result.ending}: {result.why_not}", style=style)


def _unfinished(progress: Progress | None, reports: Sequence[EpochReport] | None) -> str:
    """How far a worker has come; of one that is silent, its last epoch and since when."""
    silent = time.time() - progress.at if progress else 0.0
    if progress is not None and silent <= _SILENT_SECONDS:
        return sentence(progress)
    far = f"epoch {reports[-1].epoch} of {reports[-1].epochs}" if reports else "just begun"
    since = f", last heard of {duration(silent)} ago" if progress else ""
    return f"unfinished, {far}{since}"
