"""What low rank, int8 and both give on a target, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trp_search.records import Latency
from trp_search.records.objectives import TIMES
from trp_search.report.formatting import count, title
from trp_search.report.rows import Row, Rows, foremost
from trp_search.selection.axes import clock

_Times = Mapping[str, Latency]


def on_targets(found: Rows) -> list[str]:
    """For each target on which int8 was timed, the best of each kind and whether int8 pays."""
    searched = (*found.trials, *found.derived) if found.trials else found.comparable()
    rows = [row for row in searched if row.times]
    targets: dict[str, dict[str, Latency]] = {}
    for row in rows:
        for latency in row.times:
            targets.setdefault(latency.target.name, {})[row.point.id] = latency
    return [
        f"{_kinds(name, rows, known)} {_against_float(rows, known)}".rstrip()
        for name, known in targets.items()
        if any(row.point.int8 and row.point.id in known for row in rows)
    ]


def _kinds(target: str, rows: Iterable[Row], known: _Times) -> str:
    kinds: dict[str, list[Row]] = {"low rank": [], "int8": [], "both": []}
    for row in rows:
        cut, quantised = row.point.cut is not None, row.point.int8 is not None
        if row.point.id in known and (cut or quantised):
            kinds["both" if cut and quantised else "low rank" if cut else "int8"].append(row)
    axis = clock(target, known)
    said = []
    for kind, members in kinds.items():
        best = foremost(members, axis)
        if best is not None:
            faster = TIMES(known[best.point.id].speedup)
            name = title(best)
            name = name[0].lower() + name[1:]
            said.append(f"{kind} {faster} at {best.point.score.shown} ({name})")
        elif members:
            said.append(f"{kind} is slower than the baseline")
    return f"On {target}: {', '.join(said)}."


def _against_float(rows: Iterable[Row], known: _Times) -> str:
    """How many networks int8 slows down there, of those timed both ways."""
    pairs = []
    for row in rows:
        made = row.point.int8
        if made is None or row.point.id not in known:
            continue
        if made.of in known:
            pairs.append(known[row.point.id].high < known[made.of].low)
        elif row.point.cut is None:
            pairs.append(known[row.point.id].slower)
    if not any(pairs):
        return ""
    return (
        f"Of {count(len(pairs), 'network')} timed there in float32 and in int8, int8 makes "
        f"{sum(pairs)} slower on this processor."
    )
