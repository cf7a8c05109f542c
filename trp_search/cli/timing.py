"""`trp-search latency`: how fast a run's networks are on the clock."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.table import Table

from trp_search import records
from trp_search.cli.arguments import Run, number, positive
from trp_search.cli.console import OUT, following, line, warn
from trp_search.cli.words import command, here
from trp_search.errors import InputError
from trp_search.records import Latency, Point
from trp_search.report.words import percent, times
from trp_search.store import RunFolder

_SECONDS = 3.0
_LOADED = 0.5


def latency(  # noqa: PLR0913  options of a command
    run: Run,
    target: Annotated[str, typer.Option(metavar="NAME", help="what to call where it is timed")],
    runtime: Annotated[
        str | None, typer.Option(help=f"{', '.join(get_args(records.Runtime))} [default: eager]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda [default: cpu]")] = None,
    threads: Annotated[
        int | None, typer.Option(parser=positive, metavar="N", help="CPU threads [default: 1]")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(parser=positive, metavar="N", help="images at a time [default: 1]")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(parser=positive, metavar="N", help="pixels [default: the run's]")
    ] = None,
    point: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="time this one; may be given again")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(parser=number, metavar="S", help="for each network [default: 3]"),
    ] = None,
) -> None:
    """Time the front's networks, each in turn with the plain one, where nothing else runs."""
    seconds = _SECONDS if seconds is None else seconds
    if not 0 < seconds < float("inf"):
        raise InputError(f"--seconds: {seconds:g} is not above 0")
    given = {
        "runtime": runtime,
        "device": device,
        "threads": threads,
        "batch": batch,
        "height": image_size,
        "width": image_size,
    }
    folder = RunFolder.open(run)
    from trp_search import latency as clock

    wanted = {name: value for name, value in given.items() if value is not None}
    where = clock.target_of(folder, target, wanted)
    known = folder.read_latencies().get(target, {})
    if point:
        left = [folder.point(name) for name in dict.fromkeys(point)]
    else:
        left = [point for point in clock.worth_it(folder) if point.id not in known]
    line(_described(where, len(left)), style="bold")
    _warn_of_load()
    for found in clock.measure(folder, where, left, seconds=seconds):
        line(f"  {found.point}: {_speedup(found)}, {_milliseconds(found)}", style="dim")
        known[found.point] = found
    OUT.print(_table(folder, known))
    reached = max(found.low for found in known.values())
    if reached >= 1:
        wanted_speedup = f"{math.floor(2 * reached) / 2:g}"
        following(
            [command("select", here(folder.path), "--speedup", wanted_speedup, "--target", target)]
        )


def _described(target: records.Target, number: int) -> str:
    cpu = f"{target.threads} thread{'s' if target.threads > 1 else ''}"
    where = cpu if target.device == "cpu" else "GPU"
    return (
        f"Timing {number} networks on {target.name}: {target.runtime}, {where}, "
        f"batch {target.batch}, {target.height} x {target.width} pixels"
    )


def _warn_of_load() -> None:
    """Says so where other processes have the machine: ratios hold, milliseconds do not."""
    table = Path("/proc/loadavg")
    load = float(table.read_text().split()[0]) if table.is_file() else 0.0
    if load > _LOADED:
        warn(f"other work runs here (load {load:.1f}): ratios hold, milliseconds do not")


def _table(folder: RunFolder, known: dict[str, Latency]) -> Table:
    """One row per timed point: what it costs in multiply-adds and what on the clock."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("point", no_wrap=True)
    for name in ("validation", "multiply-adds", "clock", "95 % interval", "a batch"):
        table.add_column(name, justify="right")
    points = [point for point in folder.read_points() if point.id in known]
    for point in sorted(points, key=lambda point: known[point.id].speedup):
        table.add_row(*_row(point, known[point.id]))
    return table


def _row(point: Point, found: Latency) -> list[str]:
    return [
        point.id,
        percent(point.accuracy),
        times(point.speedup),
        times(found.speedup),
        f"{found.low:.2f} to {found.high:.2f}",
        _milliseconds(found),
    ]


def _speedup(found: Latency) -> str:
    return f"{times(found.speedup)} ({found.low:.2f} to {found.high:.2f})"


def _milliseconds(found: Latency) -> str:
    return f"{1e3 * found.seconds:#.3g} ms"
