"""Points as a table that fits 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase

from rich.table import Column, Table
from rich.text import Text

from trp_search.cli.console import shown
from trp_search.cli.formatting import amount
from trp_search.records import Latency, Point, TestScore
from trp_search.records.objectives import (
    COUNT,
    METRICS,
    OBJECTIVES,
    PERCENT,
    SPEEDUP,
    TIMES,
    Objective,
)
from trp_search.report.formatting import scheme, unfactored
from trp_search.report.styles import style_of
from trp_search.report.times import objective, slower, value
from trp_search.selection.axes import times_of

_CAPPING = 3
_LONG = 18  # ids of more letters are folded where the others want the room


def table_of(first: str | Column, *numbers: str | Text) -> Table:
    """A table without lines: its first column, and others with numbers, to the right."""
    others = (Column(name, justify="right") for name in numbers)
    padding = (0, 2, 0, 0)
    return Table(first, *others, box=None, pad_edge=False, header_style="bold", padding=padding)


def mostly_in(caps: Sequence[tuple[str, float | int]], whole: float) -> Text:
    """The first of the costs that remain, as shares of the `whole`, one a line."""
    return Text("\n".join(shown(f"{name} ({cost / whole:.0%})") for name, cost in caps[:_CAPPING]))


def point_table(
    rows: Sequence[Point],
    objectives: Sequence[str],
    *,
    baseline: Point | None,
    tests: Mapping[str, TestScore] | None = None,
    marks: Mapping[str, str] | None = None,
    most: int | None = None,
) -> Table:
    """One row per point, the baseline first; of more than `most` rows an even choice.

    Its sizes are those among the `objectives`, or parameters; `marks` stand behind points' ids.
    """
    counted = [name for name in objectives if name not in _OWN_COLUMNS] or ["parameters"]
    chosen = _spread(rows, most)
    names = {point.id: f"{point.id} {(marks or {}).get(point.id, '')}".rstrip() for point in chosen}
    longest = max(map(len, [*names.values(), *([baseline.id] if baseline else [])]), default=0)
    first = Column("point", min_width=min(longest, _LONG), overflow="fold")
    many = bool(tests) + len(counted) > 1
    against = Text("vs\nbaseline" if many else "vs baseline")
    scores: list[str | Text] = ["speedup", "validation", against, *(["test"] if tests else [])]
    table = table_of(first, *scores, *map(objective, counted))
    shown_points = ([baseline] if baseline else []) + chosen
    schemes = [style_of(point).label for point in shown_points]
    words = (word for label in schemes for word in label.split())
    table.add_column("scheme", min_width=max(map(len, words), default=0))
    for point, label in zip(shown_points, schemes, strict=True):
        test = (tests or {}).get(point.id)
        table.add_row(
            names.get(point.id, point.id),
            TIMES(point.speedup),
            point.score.shown,
            _change(point, baseline),
            *([test.score.shown if test else "-"] if tests else []),
            *(_sized(OBJECTIVES[name], point) for name in counted),
            label,
            style="dim" if point is baseline else "",
        )
    return table


_OWN_COLUMNS = {SPEEDUP.name, *(metric.name for metric in METRICS.values())}


def _sized(axis: Objective, point: Point) -> str:
    return amount(round(axis.read(point))) if axis.show is COUNT else value(axis, point)


def slower_marks(
    points: Sequence[Point], latencies: Mapping[str, Mapping[str, Latency]]
) -> tuple[dict[str, str], list[str]]:
    """The marks of points that are slower than the baseline on a target, and their meanings."""
    reasons: dict[str, str] = {}
    said = {point.id: slower(times_of(point, latencies)) for point in points}
    marks = {point: mark(reasons, reason) for point, reason in said.items() if reason}
    return marks, [f"{letters} {reason}" for reason, letters in reasons.items()]


def layer_table(point: Point) -> tuple[Table, list[str]]:
    """One row per layer with its rank, and the reasons why marked layers stayed dense."""
    table = table_of(Column("layer", overflow="fold", max_width=30))
    table.add_column("scheme")
    for name in ("rank", "multiply-adds", "energy kept"):
        table.add_column(name, justify="right")
    marks: dict[str, str] = {}
    for layer in point.layers:
        if layer.scheme is None:
            table.add_row(layer.name, f"dense {mark(marks, layer.reason or '')}", style="dim")
            continue
        if layer.rank is None:
            what = unfactored(layer)
            table.add_row(layer.name, what, "-", PERCENT(layer.macs / layer.dense_macs), "-")
            continue
        kept = layer.kept.get(layer.scheme)
        table.add_row(
            layer.name,
            scheme(layer),
            f"{layer.rank} of {layer.full_rank}",
            PERCENT(layer.macs / layer.dense_macs),
            "-" if kept is None else PERCENT(kept),
        )
    return table, [f"{letters} {reason}" for reason, letters in marks.items()]


def mark(marks: dict[str, str], reason: str) -> str:
    """The mark of `reason` in a table: (a), (b), ... (z), (aa), recorded in `marks`."""
    if reason not in marks:
        turns, place = divmod(len(marks), len(ascii_lowercase))
        marks[reason] = f"({ascii_lowercase[place] * (turns + 1)})"
    return marks[reason]


def _change(point: Point, baseline: Point | None) -> str:
    if baseline is None or point is baseline:
        return ""
    return point.score.metric.show.change(point.metric - baseline.metric)


def _spread(rows: Sequence[Point], most: int | None) -> list[Point]:
    if most is None or len(rows) <= most:
        return list(rows)
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(step * index)] for index in range(most)]
