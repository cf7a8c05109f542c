"""`trp-search compress`, and what it shares with `cut` of a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from trp_search.cli.arguments import Formats, Space, natural, option
from trp_search.cli.bundles import checked, epoch, export_bundle, stoppable
from trp_search.cli.console import line
from trp_search.cli.cuts import USUAL, Options, cut_of, show_point, with_options
from trp_search.cli.help import READ, WRITTEN
from trp_search.cli.keeping import with_keep
from trp_search.cli.spaces import with_configured
from trp_search.cli.timed_cuts import Budgeted, Clock, checked_clock, confirm_time, later
from trp_search.cli.timing import Fields, with_fields
from trp_search.errors import InputError, TrpSearchError
from trp_search.export.bundle import vacant
from trp_search.records import BASELINE, Cut, EpochReport, Keep, Point, TrialResult
from trp_search.selection.snapshot import Snapshot
from trp_search.space import SearchSpace, changed
from trp_search.store import RunFolder, numbered


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where the bundle of a cut is written, a new folder of the run by default, and in what.

    The cut is fine-tuned for so many `epochs` before.
    """

    out: Path | None
    formats: Sequence[str]
    epochs: int = 0


@with_keep
@with_options
@with_fields
def compress(  # noqa: PLR0913  options of a command
    space: Space,
    keep: Keep,
    weights: Annotated[
        Path | None,
        option(
            "FILE",
            "weights of the baseline (safetensors or torch.save's) "
            "[default: the space's, or train]",
            READ,
        ),
    ] = None,
    *,
    options: Options,
    run: Annotated[
        Path | None,
        option(
            "DIR",
            "run folder, with the baseline and its cuts [default: results/SPACE-baseline]",
            WRITTEN,
        ),
    ] = None,
    out: Annotated[
        Path | None, option("DIR", "the bundle, a new folder [default: RUN/models/POINT]", WRITTEN)
    ] = None,
    form: Formats = None,
    fine_tuning_epochs: Annotated[
        int | None, option("N", "epochs of fine-tuning after the cut [default: 0]", parser=natural)
    ] = None,
    target: Budgeted = None,
    fields: Fields,
) -> None:
    """Cut the baseline to a budget and export it, without a search."""
    clock = checked_clock(keep, target, fields)
    loaded = with_configured(space)
    if weights is not None:
        loaded = _with_weights(loaded, weights)
    like = loaded.baseline_spec().cuts[0]
    wanted = cut_of(loaded, keep, options, like=like, own=USUAL)
    name = f"{space.stem}-{'baseline' if weights is None else weights.stem}"
    folder = RunFolder(path=(run or Path("results") / name).resolve())
    to = None if out is None else vacant(out)
    place = Place(out=to, formats=checked(form), epochs=fine_tuning_epochs or 0)
    compressed(loaded, folder, wanted, place, clock)


def compressed(
    space: SearchSpace, folder: RunFolder, wanted: Cut, place: Place, clock: Clock | None
) -> None:
    """Cuts the baseline of `space`, kept in `folder`, and exports it."""
    from trp_search.runs import compress as compressing

    chosen = None if clock is None else later(folder, wanted, clock)
    point = _told(compressing.compress(space, folder, wanted, chosen=chosen), space)
    if place.epochs and point.cut is not None:
        line(f"Fine-tuning point {point.id} ...")
        tuned = compressing.fine_tuned(space, folder, point.cut, epochs=place.epochs)
        point = _told(tuned, space)
    show_point(folder, point)
    if clock is not None:
        confirm_time(folder, point, wanted.keep, clock)
    line()
    out = place.out or _free(folder, point)
    export_bundle(Snapshot.of(folder), point, out, formats=place.formats)


def _told(items: Iterable[EpochReport | TrialResult | Point], space: SearchSpace) -> Point:
    """The point that comes last; what comes before is told."""
    point = None
    with stoppable():
        for item in items:
            if isinstance(item, EpochReport):
                line(epoch(item))
            elif isinstance(item, Point):
                point = item
            elif not item.ended_well:
                what = "the baseline" if item.trial == BASELINE else "the fine-tuned cut"
                reason = f"{what} cannot be used: {item.why_not}"
                raise (InputError if space.workload.weights else TrpSearchError)(reason)
            elif item.trial == BASELINE:
                line(f"Cutting {space.workload.network.name}, settling batch norm and scoring ...")
    assert point is not None
    return point


def _with_weights(space: SearchSpace, weights: Path) -> SearchSpace:
    if not weights.is_file():
        raise InputError(f"--weights: {weights}: no such file")
    workload = dataclasses.replace(space.workload, weights=str(weights.resolve()))
    return changed(space, workload=workload)


def _free(folder: RunFolder, point: Point) -> Path:
    """A new folder for the bundle."""
    paths = (folder.models / name for name in numbered(point.id, number="-bundle-"))
    return next(path for path in paths if not path.exists())
