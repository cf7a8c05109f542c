"""`trp-search latency` and `compare`: measured times of networks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.table import Column, Table

from trp_search import records, report
from trp_search.cli.arguments import Network, Run, Trust, number, option, positive, takes
from trp_search.cli.console import OUT, following, line, pairs, warn
from trp_search.cli.formatting import amount, command, here
from trp_search.cli.help import TIMED
from trp_search.cli.spaces import trusted
from trp_search.cli.tables import table_of
from trp_search.errors import InputError
from trp_search.export.opened import opened
from trp_search.records import Latency, Point, Score, to_json
from trp_search.records.objectives import TIMES
from trp_search.report.formatting import count
from trp_search.report.times import SLOWER, clock, milliseconds
from trp_search.store import RunFolder

if TYPE_CHECKING:
    from trp_search.export.bundle import Card
    from trp_search.export.compare import Compared

_SECONDS = 3.0


Fields = dict[str, str | int]  # of a target
Seconds = Annotated[float | None, option("S", "seconds per network [default: 3]", parser=number)]


def _fields(
    runtime: Annotated[
        str | None,
        option("NAME", f"{', '.join(get_args(records.RuntimeName))} [default: eager]", TIMED),
    ] = None,
    device: Annotated[str | None, option("cpu|cuda", "cpu or cuda [default: cpu]", TIMED)] = None,
    threads: Annotated[
        int | None, option("N", "CPU threads [default: 1]", TIMED, parser=positive)
    ] = None,
    batch: Annotated[
        int | None, option("N", "images at a time [default: 1]", TIMED, parser=positive)
    ] = None,
    image_size: Annotated[
        int | None,
        option("N", "image side in pixels [default: the data's]", TIMED, parser=positive),
    ] = None,
) -> Fields:
    """The fields of the target that were given."""
    fields = {"runtime": runtime, "device": device, "threads": threads, "batch": batch}
    fields |= {"height": image_size, "width": image_size}
    return {name: value for name, value in fields.items() if value is not None}


with_fields = takes(fields=_fields)


@with_fields
def latency(
    run: Run,
    target: Annotated[str, option("NAME", "name of the target, such as laptop", TIMED)],
    fields: Fields,
    point: Annotated[list[str] | None, option("ID", "time this point; may be repeated")] = None,
    seconds: Seconds = None,
    *,
    trust: Trust = False,
) -> None:
    """Time the front, each scheme's and the baseline's cuts. Run nothing else meanwhile."""
    budget = _seconds(seconds)
    folder = trusted(run, trust=trust)
    from trp_search.runs import clock as stopwatch

    where = stopwatch.target_of(folder, target, fields)
    known = folder.read_latencies().get(target, {})
    if point:
        left = [folder.point(name) for name in dict.fromkeys(point)]
    else:
        left = stopwatch.untimed(folder, where)
    line(f"Timing {len(left)} networks on {described(where)}", style="bold")
    warn_of_load()
    for found in stopwatch.measure(folder, where, left, seconds=budget):
        line(f"  {found.point}: {clock(found)[1]}", style="dim")
        known[found.point] = found
    OUT.print(_table(folder, known))
    if slower := [name for name, found in known.items() if found.slower]:
        warn(f"{SLOWER} on {target}: {', '.join(slower)}")
    pairs([("report", here(report.write(folder)))])
    searched = {point.id for point in folder.read_all_points() if point.searched}
    reached = max((found.low for name, found in known.items() if name in searched), default=0.0)
    if reached >= 1:
        wanted_speedup = f"{math.floor(2 * reached) / 2:g}"
        following(
            [command("select", here(folder.path), "--speedup", wanted_speedup, "--target", target)]
        )


@with_fields
def compare(
    bundles: Annotated[list[Path], typer.Argument(metavar="DIR", help="bundles")],
    network: Network = None,
    *,
    fields: Fields,
    seconds: Seconds = None,
) -> None:
    """Show bundles side by side, each timed in turn with the first."""
    budget = _seconds(seconds)
    for bundle in bundles:
        opened(bundle)
    from trp_search.export import compare as side_by_side

    where = side_by_side.target_of(bundles, fields)
    line(f"Timing {len(bundles)} networks on {described(where)}", style="bold")
    warn_of_load()
    found = list(side_by_side.compare(bundles, where, network=network, seconds=budget))
    for row in _columns(found):
        line(row)
    if len({_images(one.card) for one in found}) > 1:
        warn("validation and test may not be of the same images for all of them")


def _columns(found: Sequence[Compared]) -> list[str]:
    """One row per measure, one column per bundle."""
    rows: dict[str, list[str]] = {"": [str(here(one.bundle)) for one in found]}
    targets = dict.fromkeys(known.target.name for one in found for known in one.card.latencies)
    for one in found:
        point, test = one.card.point, one.card.test
        validation = "trained on" if one.card.saw_validation else _counted(point.score)
        values = {
            "validation": validation,
            "test": _counted(test.score) if test else "not scored",
            "multiply-adds": f"{amount(point.macs)} ({TIMES(point.speedup)})",
            "parameters": amount(point.parameters),
            "weights, bytes": f"{point.bytes:,}",
            "file, bytes": f"{one.file_bytes:,}",
            "a batch": milliseconds(one.timing.seconds),
            "times as fast": _against(one, found[0]),
            "95 % interval": f"{one.timing.low:.2f} to {one.timing.high:.2f}",
            "batch norm": one.batch_norm,
            **{f"in the run, {name}": _earlier(one.card, name) for name in targets},
        }
        for name, value in values.items():
            rows.setdefault(name, []).append(value)
    widths = [max(map(len, column)) for column in zip(*rows.values(), strict=True)]
    longest = max(map(len, rows))
    return [
        f"{name:<{longest}}  " + "  ".join(f"{v:>{w}}" for v, w in zip(values, widths, strict=True))
        for name, values in rows.items()
    ]


def _counted(score: Score) -> str:
    return f"{score.shown} of {score.images}"


def _images(card: Card) -> tuple[object, ...]:
    """What determines the images that a bundle was scored on."""
    from trp_search.export.evaluate import come_along

    images = dataclasses.replace(
        card.workload.data,
        root=None,
        download=False,
        mean=None,
        std=None,
        augment=False,
        stream=False,
        workers=0,
    )
    run = None if come_along(images) else card.run  # a card does not say which folder it was
    return to_json(images), card.split_seed, card.workload.weights is None, run


def _against(one: Compared, first: Compared) -> str:
    if one is first:
        return f"{TIMES(one.timing.speedup)} (itself)"
    slower = one.timing.slower
    reference = "the first" if first.card.point.cut else "the baseline"
    return f"{TIMES(one.timing.speedup)}{f', slower than {reference}' if slower else ''}"


def _earlier(card: Card, target: str) -> str:
    """How fast the network was on a target of its run, against its own baseline."""
    known = next((one for one in card.latencies if one.target.name == target), None)
    if known is None:
        return "not timed"
    return f"{TIMES(known.speedup)}{f', {SLOWER}' if known.slower else ''}"


def _seconds(given: float | None) -> float:
    seconds = _SECONDS if given is None else given
    if not 0 < seconds < float("inf"):
        raise InputError(f"--seconds: {seconds:g} is not above 0")
    return seconds


def described(target: records.Target) -> str:
    """A target's name and what it is."""
    where = count(target.threads, "thread") if target.device == "cpu" else "GPU"
    return (
        f"{target.name}: {target.runtime}, {where}, "
        f"batch {target.batch}, {target.height} x {target.width} pixels"
    )


def warn_of_load() -> None:
    """Warns if other processes load the machine."""
    from trp_search.runtimes.machine import busy

    if said := busy():
        warn(said)


def _table(folder: RunFolder, known: dict[str, Latency]) -> Table:
    """One row per timed point: multiply-adds and measured time."""
    numbers = ("validation", "speedup", "clock", "95 % interval", "a batch")
    table = table_of(Column("point", no_wrap=True), *numbers)
    points = [point for point in folder.read_all_points() if point.id in known]
    for point in sorted(points, key=lambda point: known[point.id].speedup):
        table.add_row(*_row(point, known[point.id]))
    return table


def _row(point: Point, found: Latency) -> list[str]:
    return [
        point.id,
        point.score.shown,
        TIMES(point.speedup),
        f"{'slower ' if found.slower else ''}{TIMES(found.speedup)}",
        f"{found.low:.2f} to {found.high:.2f}",
        milliseconds(found.seconds),
    ]
