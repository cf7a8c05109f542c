"""`trp-search quantize`: points of a run in int8."""

from __future__ import annotations

import math
from typing import Annotated, get_args

import typer
from rich.table import Column, Table

from trp_search import report
from trp_search.cli.arguments import Run, Trust, number, option
from trp_search.cli.console import OUT, following, line, pairs
from trp_search.cli.formatting import amount, command, here
from trp_search.cli.tables import table_of
from trp_search.errors import InputError, NothingFoundError
from trp_search.records import USUAL_QUANTIZER, Point, QuantizerName
from trp_search.records.objectives import TIMES
from trp_search.report.formatting import against_baseline, count
from trp_search.selection.snapshot import Snapshot

_TOOLS: tuple[QuantizerName, ...] = get_args(QuantizerName)


def quantize(
    run: Run,
    runtime: Annotated[
        str, typer.Option(metavar="NAME", help=f"runtime to quantise for: {', '.join(_TOOLS)}")
    ] = USUAL_QUANTIZER,
    point: Annotated[
        list[str] | None,
        option("ID", "quantise this point; may be repeated [default: the baseline and the front]"),
    ] = None,
    max_drop: Annotated[
        float | None,
        option(
            "D",
            "if int8 loses more than D of the validation score, keep the worst layers in float32",
            parser=number,
        ),
    ] = None,
    *,
    trust: Trust = False,
) -> None:
    """Quantise points to int8 without training, and score each."""
    tool = _tool(runtime)
    if max_drop is not None and not 0 < max_drop < math.inf:
        raise InputError(f"--max-drop: {max_drop:g} is not a finite number above 0")
    found = Snapshot.of(run)
    folder = found.folder
    from trp_search.runs import quantize as quantizing
    from trp_search.workloads.trust import check_run

    check_run(folder, found.space.workload, trust=trust)
    if point:
        asked = [folder.point(name) for name in dict.fromkeys(point)]
    else:
        asked = quantizing.worth_it(found)
    left = quantizing.unquantized(folder, asked, tool, max_drop=max_drop)
    if left:
        line(f"Quantising {count(len(left), 'network')} for {tool}", style="bold")
    for made in quantizing.quantize(folder, left, tool, max_drop=max_drop):
        line(f"  {made.id}: {made.score.shown}", style="dim")
    names = {one.id for one in asked}
    known = {one.id: one for one in folder.read_all_points()}
    rows = [p for p in known.values() if p.int8 and p.int8.runtime == tool and p.int8.of in names]
    OUT.print(_table(rows, known))
    pairs([("report", here(report.write(folder)))])
    lost = quantizing.unquantized(folder, asked, tool, max_drop=max_drop)
    if lost:
        named = ", ".join(one.id for one in lost)
        raise NothingFoundError(f"no int8 network of {named} loses at most {max_drop:g}")
    path = here(folder.path)
    timed = ("--target", f"{tool}-1", "--runtime", tool)
    following([command("latency", path, *timed)])


def _tool(runtime: str) -> QuantizerName:
    for name in _TOOLS:
        if name == runtime:
            return name
    raise InputError(f"--runtime: {runtime!r} is none of {', '.join(_TOOLS)}")


def _table(rows: list[Point], known: dict[str, Point]) -> Table:
    """Each point in int8 beside its float network."""
    numbers = ("speedup", "validation", "vs float32", "bytes", "float32")
    table = table_of(Column("point", no_wrap=True), *numbers)
    for point in rows:
        assert point.int8 is not None
        other = known[point.int8.of]
        table.add_row(
            point.id,
            TIMES(point.speedup),
            point.score.shown,
            against_baseline(point.score.behind(other.score), point.score.metric)[1],
            amount(point.bytes),
            amount(other.bytes),
        )
    return table
