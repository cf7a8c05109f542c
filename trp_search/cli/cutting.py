"""`trp-search cut` and `compress`: networks at a budget, without a search."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from trp_search import records
from trp_search.cli.arguments import Run, Space, Speedup, number, positive
from trp_search.cli.bundles import epoch, export_bundle, stoppable
from trp_search.cli.console import OUT, following, line, pairs
from trp_search.cli.tables import layer_table
from trp_search.cli.words import command, here
from trp_search.errors import InputError, TrpSearchError
from trp_search.export.bundle import vacant
from trp_search.records import Cut, EpochReport, Point, TrialResult, TrialSpec
from trp_search.report.words import against_plain, scored, times
from trp_search.space import SearchSpace, changed, load_space
from trp_search.store import RunFolder

Parameters = Annotated[
    int | None, typer.Option(parser=positive, metavar="N", help="or: at most this many parameters")
]
Error = Annotated[
    float | None,
    typer.Option(
        parser=number,
        metavar="E",
        help="or, by ddlr-style and net-trim: the share of a linear layer's outputs that may go",
    ),
]
Scheme = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"one of {', '.join(get_args(records.CutScheme))} [default: per-layer; "
        "of a decomposable trial its own]",
    ),
]
Spread = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"of what is kept over layers: {', '.join(get_args(records.Spread))} "
        "[default: knapsack; of a decomposable trial pooled, by weights alone]",
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        metavar="all|kxk", help="which may be cut: all, or convolutions wider than 1x1 alone"
    ),
]
Multiple = Annotated[int, typer.Option(min=1, metavar="N", help="ranks are multiples of this")]


def cut(  # noqa: PLR0913  options of a command
    run: Run,
    trial: Annotated[
        str, typer.Option(metavar="N", help="whose weights: a trial's number, or baseline")
    ],
    speedup: Annotated[float | None, Speedup] = None,
    parameters: Parameters = None,
    energy: Annotated[
        float | None,
        typer.Option(parser=number, metavar="E", help="or: the share of energy each layer keeps"),
    ] = None,
    error: Error = None,
    scheme: Scheme = None,
    spread: Spread = None,
    multiple: Multiple = 1,
    layers: Layers = None,
) -> None:
    """Cut a trained network of a run once more, at another budget; nothing is trained."""
    folder = RunFolder.open(run)
    space = load_space(folder.search)
    spec = folder.trial(trial).read_spec() if trial in folder.trial_names() else None
    if spec is None:
        known = ", ".join(folder.trial_names()) or "none"
        raise InputError(f"{run}: no trial {trial!r}; there are {known}")
    amounts = {"speedup": speedup, "parameters": parameters, "energy": energy, "error": error}
    options = {"scheme": scheme, "spread": spread, "multiple": multiple, "layers": layers}
    wanted = _cut(space, spec, amounts, options)
    from trp_search.compress import recut

    line(f"Cutting trial {trial}'s weights, settling batch norm and scoring ...")
    point = recut(folder, trial, wanted)
    _show(folder, point)
    out = Path("models") / f"{folder.path.name}-{point.id}"
    following([command("export", here(folder.path), "--point", point.id, "--out", out)])


def compress(  # noqa: PLR0913  options of a command
    space: Space,
    speedup: Annotated[float | None, Speedup] = None,
    parameters: Parameters = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="the plain network's, safetensors [default: the space's, or train]"
        ),
    ] = None,
    error: Error = None,
    scheme: Scheme = None,
    spread: Spread = None,
    multiple: Multiple = 1,
    layers: Layers = "all",
    run: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="keeps the plain network [default: results/SPACE-plain]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="a new folder [default: RUN/models/POINT]")
    ] = None,
) -> None:
    """Cut the plain network to a budget and export it: minutes, and no search."""
    loaded = load_space(space)
    if weights is not None:
        loaded = _with_weights(loaded, weights)
    spec = loaded.baseline_spec()
    amounts = {"speedup": speedup, "parameters": parameters, "error": error}
    options = {"scheme": scheme, "spread": spread, "multiple": multiple, "layers": layers}
    wanted = _cut(loaded, spec, amounts, options)
    name = f"{space.stem}-{'plain' if weights is None else weights.stem}"
    folder = RunFolder(path=(run or Path("results") / name).resolve())
    if out is not None:
        vacant(out)
    from trp_search.compress import compress as compressing

    point = None
    with stoppable():
        for item in compressing(loaded, folder, wanted):
            if isinstance(item, EpochReport):
                line(epoch(item))
            elif isinstance(item, TrialResult) and not item.ended_well:
                reason = f"the plain network is of no use: {item.why_not}"
                raise (InputError if loaded.workload.weights else TrpSearchError)(reason)
            elif isinstance(item, TrialResult):
                line(f"Cutting {spec.workload.network.name}, settling batch norm and scoring ...")
            else:
                point = item
    assert point is not None
    _show(folder, point)
    line()
    export_bundle(folder, point.id, out or _free(folder, point))


def _with_weights(space: SearchSpace, weights: Path) -> SearchSpace:
    if not weights.is_file():
        raise InputError(f"--weights: {weights}: no such file")
    workload = dataclasses.replace(space.workload, weights=str(weights.resolve()))
    return changed(space, workload=workload)


def _cut(
    space: SearchSpace, spec: TrialSpec, amounts: dict[str, Any], options: dict[str, Any]
) -> Cut:
    """The cut that was asked for; what was not is as in the trial's other cuts."""
    given = {name: value for name, value in amounts.items() if value is not None}
    if len(given) != 1:
        raise InputError(f"give one of {', '.join(f'--{name}' for name in amounts)}")
    like = (*spec.cuts, *space.baseline_spec().cuts)[0]
    shared = ("layers", "reestimate_batch_norm", "batch_norm_images")
    same = {name: getattr(like, name) for name in shared}
    chosen = {name: value for name, value in options.items() if value is not None}
    own = {"scheme": "per-layer", "spread": "knapsack"}
    if spec.joint is not None and not chosen.keys() & own.keys():
        own = {"scheme": like.scheme, "spread": like.spread}
    chosen = own | chosen
    images = 0 if chosen["spread"] == "pooled" else space.curve.calibration_images
    try:
        return Cut(**given, **(same | chosen), calibration_images=images)
    except ValueError as error:
        raise InputError(f"--{records.problem(error)}") from None


def _free(folder: RunFolder, point: Point) -> Path:
    """A folder for the bundle that is not there yet."""
    first = folder.models / point.id
    others = (folder.models / f"{point.id}-{number}" for number in itertools.count(2))
    return next(path for path in itertools.chain([first], others) if not path.exists())


def _show(folder: RunFolder, point: Point) -> None:
    plain = next((p for p in folder.read_points() if p.role == "baseline"), None)
    line(f"Point {point.id}: {times(point.speedup)} fewer multiply-adds", style="bold")
    schemes = Counter(layer.scheme or "dense" for layer in point.layers)
    pairs(
        [
            ("validation", scored(point)),
            *([against_plain(plain.accuracy - point.accuracy)] if plain else []),
            ("multiply-adds", f"{point.macs:,} of {point.dense_macs:,}"),
            ("parameters", f"{point.parameters:,} of {point.dense_parameters:,}"),
            ("layers", ", ".join(f"{count} {name}" for name, count in schemes.most_common())),
            ("batch norm", point.batch_norm),
        ]
    )
    line()
    table, notes = layer_table(point)
    OUT.print(table)
    for note in notes:
        line(f"  {note}", style="dim")
