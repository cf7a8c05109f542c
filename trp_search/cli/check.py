"""`trp-search check`: the reach and the cost of a search, in seconds and without training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from rich.table import Column

from trp_search.cli.arguments import Space, Timeout, number, option, positive
from trp_search.cli.console import OUT, line, pairs, shown, warn
from trp_search.cli.formatting import amount, command, duration
from trp_search.cli.grouping import patterns
from trp_search.cli.help import TIMED
from trp_search.cli.spaces import with_configured
from trp_search.cli.tables import mark, mostly_in, table_of
from trp_search.cli.timing import Fields, with_fields
from trp_search.errors import InputError
from trp_search.records.objectives import PERCENT, TIMES
from trp_search.space import SearchSpace
from trp_search.space.entries import values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trp_search.cli.cost import Cost
    from trp_search.scoring.survey import Survey, SurveyedLayer

_MANY = 30  # layers; more are shown by pattern
# NVIDIA's 2,470 images a second (DeepLearningExamples, ResNet-50 v1.5, PyTorch 21.03, mixed
# precision, one A100 80GB) times 4.09e9 multiply-adds times 6 operations.
_A100 = 60.0

Images = Annotated[
    int | None,
    option(
        "N", "number of training images assumed for the cost [default: counted]", parser=positive
    ),
]
Tflops = Annotated[
    float | None,
    option(
        "X",
        "training throughput (TFLOP/s) assumed for the GPU if this machine has none "
        f"[default: {_A100:g}, an A100 with ResNet-50; small networks reach less]",
        parser=number,
    ),
]


@with_fields
def check(
    space: Space,
    images: Images = None,
    tflops: Tflops = None,
    timeout: Timeout = 600.0,
    target: Annotated[
        str | None,
        option(
            "NAME",
            "time the layers on this target: the space's, or one described by the options below",
            TIMED,
        ),
    ] = None,
    *,
    fields: Fields,
) -> None:
    """Try a search space; show reachable speedups and the cost."""
    from trp_search.cli import cost
    from trp_search.cli.pictures import pictures
    from trp_search.cli.reaching import show_reach, target_of
    from trp_search.runs.probe import baseline_network, probe_
    from trp_search.scoring.candidate import example
    from trp_search.scoring.survey import check_methods, survey, widest_layers

    rate = _rate(tflops)
    loaded = with_configured(space)
    network, shape = baseline_network(loaded.workload, seconds=timeout)
    where = target_of(loaded, shape, target, fields)
    probe_(loaded, network, shape, seconds=timeout)
    image = example(shape, "cpu")
    check_methods(loaded, network, image)
    found = survey(network, image, layers=widest_layers(loaded))
    _overview(loaded, found, tuple(image.shape[1:]), shape.classes)
    here, missing = pictures(loaded, seconds=timeout)
    _layers(loaded, found)
    _reach(loaded, found)
    if where is not None:
        show_reach(loaded, network, shape, where)
    _warnings(loaded, found)
    known = here if images is None else images
    _cost(loaded, cost.estimate(loaded, network, shape, images=known, tflops=rate))
    if missing:
        fetched = "the images are not here yet; a search downloads them first"
        warn(fetched if loaded.workload.data.download else f"{missing}; a search would not start")
    line()
    line(f"Next:  {command('search', space)}")


def _rate(tflops: float | None) -> float:
    rate = _A100 if tflops is None else tflops
    if not 0 < rate < math.inf:
        raise InputError(f"--tflops: {rate:g} is not a number above 0")
    return rate


def _overview(space: SearchSpace, found: Survey, size: tuple[int, ...], classes: int) -> None:
    from trp_search.scoring.survey import said_of, widest_layers

    workload = space.workload
    varying = ", ".join(parameter.name for parameter in space.parameters()) or "nothing"
    repeats = f", each setting {space.repeats} times" if space.repeats > 1 else ""
    pairs(
        [
            ("network", f"{workload.network.name}, {amount(found.parameters)} parameters"),
            ("input", f"{' x '.join(map(str, size))}, {classes} classes ({workload.data.name})"),
            *([("weights", workload.weights)] if workload.weights else []),
            ("multiply-adds", f"{amount(found.macs)} per image"),
            ("layers", said_of(found.selection, widest_layers(space))),
            ("varies", varying),
            ("trials", f"{space.trials}, proposed by {space.sampler.name}{repeats}"),
        ]
    )


def _layers(space: SearchSpace, found: Survey) -> None:
    """Each layer's best speedup; reasons for dense layers follow below the table."""
    schemes = space.space.schemes
    names = [layer.name for layer in found.layers]
    groups = patterns(names) if len(names) > _MANY else {name: [name] for name in names}
    grouped = len(groups) < len(names)
    many = ["layers"] if grouped else []
    first = Column("layer", overflow="fold", max_width=40)
    table = table_of(first, *many, "multiply-adds", "share", *schemes)
    notes: dict[str, str] = {}
    by_name = {layer.name: layer for layer in found.layers}
    for pattern, alike in groups.items():
        layers = [by_name[name] for name in alike]
        macs = sum(layer.macs for layer in layers)
        many = [str(len(alike))] if grouped else []
        cells = [_best(layers, scheme, notes) for scheme in schemes]
        table.add_row(shown(pattern), *many, amount(macs), PERCENT(macs / found.macs), *cells)
    if other := found.elsewhere:
        many = [""] if grouped else []
        from trp_search.lowrank.costs import ELSEWHERE

        why = mark(notes, ELSEWHERE)
        cells = [why for _ in schemes]
        table.add_row("elsewhere", *many, amount(other), PERCENT(other / found.macs), *cells)
    line()
    line("Best each layer could do, at rank 1 (multiply-adds before / after)", style="bold")
    OUT.print(table)
    for reason, letters in notes.items():
        line(f"  {letters}  dense: {reason}", style="dim")


def _best(layers: Sequence[SurveyedLayer], scheme: str, notes: dict[str, str]) -> str:
    reach = [layer.reach[scheme] for layer in layers]
    reasons = [one.reason for one in reach]
    if reasons[0] is not None and len(set(reasons)) == 1:
        return mark(notes, reasons[0])
    return TIMES(sum(layer.macs for layer in layers) / sum(one.macs for one in reach))


def _reach(space: SearchSpace, found: Survey) -> None:
    table = table_of("scheme", "at best")
    table.add_column("where the remaining multiply-adds are")
    for scheme in (one for one in space.space.schemes if one != "per-layer"):
        left = found.macs / found.best[scheme]
        table.add_row(scheme, TIMES(found.best[scheme]), mostly_in(found.caps(scheme), left))
    table.add_row("per-layer", TIMES(found.best["per-layer"]), "the cheapest scheme in each layer")
    line()
    line("Best the whole network could do, every layer at rank 1", style="bold")
    OUT.print(table)


def _cost(space: SearchSpace, found: Cost) -> None:
    step = f"{space.training.batch_size} images in {duration(found.step)}"
    rows = [("training step", f"{step} {found.where}, without truncations")]
    if found.images is None:
        rows.append(("trials", "unknown without the number of images: --images N"))
    else:
        rows += [
            ("baseline", duration(found.baseline) if found.baseline else "weights are given"),
            ("one trial", f"up to {duration(found.trial)}"),
            (f"all {space.trials}", f"{duration(found.search)}, {found.concurrency} at a time"),
        ]
        if found.gpu_hours is not None:
            rows.append(("GPU time", f"up to {_hours(found.gpu_hours)}"))
    line()
    line("Rough cost", style="bold")
    pairs(rows)


def _hours(hours: float) -> str:
    return f"{hours:,.0f} hours" if hours >= 10 else f"{hours:.1f} hours"


def _warnings(space: SearchSpace, found: Survey) -> None:
    if found.counted is not None:
        warn(f"multiply-adds: counted {found.counted}")
    wanted = space.constraints.get("speedup", 1.0)
    best = max(found.best[scheme] for scheme in space.space.schemes)
    if wanted > best:
        warn(f"constraints.speedup: {wanted:g} is out of reach; {best:.2f} is the most")
    most = found.best["per-layer"]
    beyond = [f"{asked:g}" for asked in space.extra_cuts.speedups or () if asked > most]
    if beyond:
        warn(f"extra_cuts.speedups: {', '.join(beyond)} will be left out; {most:.2f} is the most")
    for name in ("speedup", "cut_speedup"):
        entry = space.space.named().get(name)
        asked = [] if entry is None else [v for v in values(entry) if isinstance(v, int | float)]
        least = min(found.best[scheme] for scheme in space.space.schemes)
        if asked and max(asked) > least:
            warn(
                f"space.{name}: {max(asked):g} is out of reach for some schemes; {least:.2f} is not"
            )
