"""One cut of a command: from its options, and as it is printed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from trp_search import records
from trp_search.cli.console import OUT, line, pairs
from trp_search.cli.formatting import here
from trp_search.cli.tables import layer_table
from trp_search.errors import InputError
from trp_search.methods import METHODS
from trp_search.records import Cut, Keep, Point
from trp_search.records.objectives import TIMES
from trp_search.report.formatting import against_baseline, scored, sizes
from trp_search.space import SearchSpace
from trp_search.space.cuts import SHARED
from trp_search.store import RunFolder

USUAL = METHODS["plain"].again("per-layer")


def cut_of(
    space: SearchSpace,
    keep: Keep,
    options: dict[str, Any],
    *,
    like: Cut,
    own: Mapping[str, Any],
) -> Cut:
    """The cut that was asked for; other fields are those of `like`, `own` or the default."""
    same = {name: getattr(like, name) for name in SHARED}
    chosen = {name: value for name, value in options.items() if value is not None}
    chosen = {**(USUAL if chosen.keys() & own.keys() else own), **chosen}
    if chosen["scheme"] == "prune":
        chosen.setdefault("importance", "magnitude")
    images = space.extra_cuts.calibration_images
    try:
        found = Cut(keep=keep, **(same | chosen), calibration_images=images)
    except ValueError as error:
        raise InputError(f"--{records.problem(error, Cut)}") from None
    by_weights = found.pools or (found.importance is not None and not found.fits)
    return dataclasses.replace(found, calibration_images=0) if by_weights else found


def show_point(folder: RunFolder, point: Point) -> None:
    """Prints a cut network and its layers."""
    baseline = next((p for p in folder.read_points() if p.role == "baseline"), None)
    line(f"Point {point.id}: {TIMES(point.speedup)} fewer multiply-adds", style="bold")
    score = point.score
    lost = baseline and against_baseline(score.behind(baseline.score), score.metric)
    schemes = Counter(layer.scheme or "dense" for layer in point.layers)
    kinds = ", ".join(f"{count} {name}" for name, count in schemes.most_common())
    asked = "" if point.cut is None else f" (layers: {point.cut.layers})"
    pairs(
        [
            ("validation", scored(point.score)),
            *([lost] if lost else []),
            *sizes(point),
            ("layers", kinds + asked),
            ("batch norm", point.batch_norm),
            ("report", here(folder.report)),
        ]
    )
    line()
    table, notes = layer_table(point)
    OUT.print(table)
    for note in notes:
        line(f"  {note}", style="dim")
