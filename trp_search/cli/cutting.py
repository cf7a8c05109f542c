"""`trp-search cut`: cuts of trained networks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, cast

import typer

from trp_search import records
from trp_search.cli.arguments import Data, Formats, Network, Trust, option
from trp_search.cli.bundles import checked, images
from trp_search.cli.compressing import Place, compressed
from trp_search.cli.console import following, line
from trp_search.cli.cuts import Options, cut_of, show_point, with_options
from trp_search.cli.formatting import command, here
from trp_search.cli.help import READ, WRITTEN
from trp_search.cli.keeping import with_keep
from trp_search.cli.spaces import trusted
from trp_search.cli.timed_cuts import Budgeted, Clock, by_time, checked_clock, confirm_time
from trp_search.cli.timing import Fields, with_fields
from trp_search.errors import InputError
from trp_search.export.bundle import ARCHITECTURE, CARD, vacant
from trp_search.export.opened import opened
from trp_search.methods import METHODS
from trp_search.records import Allocation, Cut, CutScheme, DataSpec, Keep, Workload
from trp_search.space import load_space, read_space
from trp_search.store import RunFolder


@with_keep
@with_options
@with_fields
def cut(  # noqa: PLR0913  options of a command
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN|DIR", help="a run folder, or the bundle of an uncut network"),
    ],
    keep: Keep,
    trial: Annotated[
        str | None, option("N", "the run's trial to cut: its number, or baseline", READ)
    ] = None,
    *,
    options: Options,
    out: Annotated[
        Path | None,
        option("DIR", "the new bundle, when a bundle is cut [default: BUNDLE-cut]", WRITTEN),
    ] = None,
    form: Formats = None,
    network: Network = None,
    data: Data = None,
    target: Budgeted = None,
    fields: Fields,
    trust: Trust = False,
) -> None:
    """Cut a trained network to another budget, without training."""
    clock = checked_clock(keep, target, fields)
    if (source / ARCHITECTURE).is_file():
        if trial is not None:
            raise InputError(f"--trial: {source} is a bundle, which has one network")
        workload = _workload(source, network=network, data=images(data, trust=trust))
        place = Place(out=vacant(out or Path(f"{source}-cut")), formats=checked(form))
        _cut_bundle(source, workload, keep, options, place, clock)
        return
    for name, given in (("--out", out), ("--format", form)):
        if given is not None:
            raise InputError(
                f"{name}: only for bundles; a run keeps its cut as a point, see export"
            )
    if data is not None:
        raise InputError(f"--data: only for bundles; {source} has its own images")
    _cut_run(trusted(source, trust=trust), trial, keep, options, clock)


def _cut_run(
    folder: RunFolder,
    trial: str | None,
    keep: Keep,
    options: Options,
    clock: Clock | None,
) -> None:
    """Cuts the weights of a run's trial; adds the point to the run."""
    space = load_space(folder.search)
    spec = folder.trial(trial).read_spec() if trial and trial in folder.trial_names() else None
    if spec is None:
        known = ", ".join(folder.trial_names()) or "none"
        which = "--trial is missing" if trial is None else f"no trial {trial!r}"
        raise InputError(f"{here(folder.path)}: {which}; there are {known}")
    like = (*spec.cuts, *space.baseline_spec().cuts)[0]
    method = METHODS[spec.method or "plain"]
    own = method.again(scheme=like.scheme, allocation=like.allocation)
    wanted = cut_of(space, keep, options, like=like, own=own)
    from trp_search.runs.compress import recut

    def chosen(one: Cut) -> Cut:
        found = one if clock is None else by_time(folder, spec.name, one, clock)
        line(f"Cutting trial {trial}'s weights, settling batch norm and scoring ...")
        return found

    point = recut(folder, spec.name, wanted, chosen=chosen)
    show_point(folder, point)
    if clock is not None:
        confirm_time(folder, point, keep, clock)
    bundle = Path("models") / f"{folder.path.name}-{point.id}"
    following([command("export", here(folder.path), "--point", point.id, "--out", bundle)])


def _workload(source: Path, *, network: str | None, data: DataSpec | None) -> Workload:
    """The uncut network of a bundle, and the images to cut it on."""
    bundle = opened(source)
    architecture = bundle.architecture
    if any(layer.scheme is not None for layer in architecture.layers):
        raise InputError(f"{source}: its network is cut already; give the bundle of an uncut point")
    from trp_search.export.evaluate import scored_on
    from trp_search.export.load import network_in, network_spec

    pictures = scored_on(bundle, data)
    network_in(bundle, network=network)  # its weights are those of the network that it tells of
    # Pixels as the weights know them; scored on held-out images, as weights from outside are.
    return Workload(
        network=network_spec(bundle, name=network),
        data=dataclasses.replace(pictures, mean=architecture.mean, std=architecture.std),
        weights=str(bundle.weights.resolve()),
    )


def _cut_bundle(
    bundle: Path,
    workload: Workload,
    keep: Keep,
    options: Options,
    place: Place,
    clock: Clock | None,
) -> None:
    """Cuts the uncut network of a bundle; an ordinary run is made beside the new bundle."""
    card = opened(bundle).card
    settings = card.point.settings
    raw = {
        "workload": json.loads(records.to_json(workload)),
        "training": {"epochs": 1},  # the weights are here: nothing is trained by it
        "trials": 1,
        "space": {"layers": settings.get("layers", records.AUTO)},
        "resources": {"cpus": card.threads},
        "seed": card.split_seed,
    }
    space = read_space(raw, bundle / CARD)
    like = space.baseline_spec().cuts[0]
    method = METHODS.get(str(settings.get("method")), METHODS["plain"])
    own = method.again(
        scheme=cast("CutScheme", settings.get("scheme", like.scheme)),
        allocation=cast("Allocation", settings.get("allocation") or like.allocation),
    )
    wanted = cut_of(space, keep, options, like=like, own=own)
    folder = RunFolder(path=Path(f"{place.out}-run").resolve())
    compressed(space, folder, wanted, place, clock)
