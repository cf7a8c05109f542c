"""One cut of a command: from its options, and as it is printed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, get_args

import typer

from trp_search import records
from trp_search.cli.arguments import option, takes
from trp_search.cli.console import OUT, line, pairs
from trp_search.cli.formatting import here
from trp_search.cli.help import CUT
from trp_search.cli.tables import layer_table
from trp_search.errors import InputError
from trp_search.methods import METHODS
from trp_search.records import TAKES, Cut, Keep, Pairs, Point, Ranks
from trp_search.records.objectives import TIMES
from trp_search.report.formatting import against_baseline, scored, sizes
from trp_search.space import SearchSpace
from trp_search.space.cuts import SHARED
from trp_search.store import RunFolder

Options = Mapping[str, Any]  # of a cut
USUAL = METHODS["plain"].again(scheme="per-layer", allocation="knapsack")


def _options(
    scheme: Annotated[
        str | None,
        option(
            "NAME",
            f"unfolding or method: {', '.join(get_args(records.CutScheme))} [default: per-layer; "
            "for a decomposable, elastic or slimmable trial, as it was trained]",
            CUT,
        ),
    ] = None,
    allocation: Annotated[
        str | None,
        option(
            "NAME",
            f"division of a budget among layers: {', '.join(get_args(records.Allocation))} "
            "[default: knapsack; for a decomposable, elastic or slimmable trial, its own]",
            CUT,
        ),
    ] = None,
    importance: Annotated[
        str | None,
        option(
            "NAME",
            "with --scheme prune: how channels are ranked: "
            f"{', '.join(get_args(records.Criterion))} [default: magnitude]",
            CUT,
        ),
    ] = None,
    multiple: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="ranks are multiples of this", rich_help_panel=CUT),
    ] = 1,
    layers: Annotated[
        str | None,
        option(
            "WHICH",
            "layers that may be cut: kxk (convolutions wider than 1x1 but the first), all, auto "
            "(what suits the network), or names and patterns, as in 'all, !head, !stem.*' "
            "[default: the space's, or the trial's]",
            CUT,
        ),
    ] = None,
) -> Options:
    """How layers are cut, as far as that was said."""
    given = {"scheme": scheme, "allocation": allocation, "importance": importance}
    every = given | {"multiple": multiple, "layers": layers}
    return {name: value for name, value in every.items() if value is not None}


with_options = takes(options=_options)


def cut_of(
    space: SearchSpace,
    keep: Keep,
    chosen: Options,
    *,
    like: Cut,
    own: Mapping[str, Any],
) -> Cut:
    """The cut that was asked for; other fields are those of `like`, `own` or the default."""
    same = {name: getattr(like, name) for name in SHARED}
    chosen = {**(USUAL if "scheme" in chosen else own), **chosen}
    if "importance" in TAKES.get(chosen["scheme"], ()):
        chosen.setdefault("importance", "magnitude")
    images = space.extra_cuts.calibration_images
    try:
        found = Cut(keep=keep, **(same | chosen), calibration_images=images)
    except ValueError as error:
        raise InputError(f"--{records.problem(error, Cut)}") from None
    seen = found.fits or found.solved or (found.weighs and not found.pools)
    return found if seen else dataclasses.replace(found, calibration_images=0)


def show_point(folder: RunFolder, point: Point) -> None:
    """Prints a cut network and its layers."""
    baseline = next((p for p in folder.read_points() if p.role == "baseline"), None)
    line(f"Point {point.id}: {TIMES(point.speedup)} fewer multiply-adds", style="bold")
    score = point.score
    lost = baseline and against_baseline(score.behind(baseline.score), score.metric)
    schemes = Counter(layer.scheme or "dense" for layer in point.layers)
    kinds = ", ".join(f"{count} {name}" for name, count in schemes.most_common())
    listed = point.cut is None or isinstance(point.cut.keep, Ranks | Pairs)
    asked = "" if point.cut is None or listed else f" (layers: {point.cut.layers})"
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
