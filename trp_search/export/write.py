"""Writes a point of a run as a bundle: complete and verified, or not at all."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from trp_search.errors import InputError, TrpSearchError, last_words
from trp_search.export.bundle import (
    ARCHITECTURE,
    CARD,
    FORMAT,
    READABLE_CARD,
    WEIGHTS,
    Architecture,
    Card,
    Input,
    vacant,
    write_json,
)
from trp_search.export.card import as_markdown, make_card, with_formats
from trp_search.export.formats import FORMATS, SOURCE, Format, check_formats, write_format
from trp_search.export.int8 import write_int8
from trp_search.progress import doing
from trp_search.records import Point, Score, TrialSpec, to_json
from trp_search.runs import networks, setup
from trp_search.runtimes.quantizer import QuantizedNetwork
from trp_search.selection.snapshot import Snapshot
from trp_search.store import NESTED, RunFolder, building
from trp_search.tasks import task_of
from trp_search.training.checkpoint import save_nested, save_weights
from trp_search.workloads import data
from trp_search.workloads.callables import importing, is_callable_name
from trp_search.workloads.trust import check_run

_IMAGES = 256


def export_point(  # noqa: PLR0913  options of a command
    run: Snapshot | RunFolder | Path | str,
    point: Point | str,
    out: Path | str,
    *,
    network: str | None = None,
    formats: Sequence[str] = (),
    licence: str | None = None,
    trust: bool = False,
) -> Path:
    """Writes one point's network to the new folder `out` and returns its absolute path.

    Before the folder gets its name, a fresh process loads the bundle and scores it on validation
    again, and its score must be the point's own.

    Args:
        run: the run folder.
        point: one of its points, or its id.
        out: a folder that does not exist yet, or is empty.
        network: `package.module:callable` that builds the baseline of a custom architecture, in
            place of the one that the run names.
        formats: names of `formats.FORMATS`, written beside the weights; the card says how far each
            one's logits are from the network's on real images, or why it is absent.
        licence: the weights' licence, for the card.
        trust: whether to call code that the run names outside the current folder, and to download
            its images.

    Raises:
        InputError: no such run, point or format, `out` holds something, or the run names untrusted
            code.
        TrpSearchError: the bundle's score is not the point's; nothing of it is left.
    """
    found = Snapshot.of(run)
    check_formats(formats)
    chosen = found.point(point) if isinstance(point, str) else point
    check_run(found.folder, found.space.workload, trust=trust, network=network)
    target = vacant(Path(out))
    spec = found.folder.trial(chosen.trial).read_spec()
    if network is not None:
        named = dataclasses.replace(spec.workload.network, name=network)
        spec = dataclasses.replace(spec, workload=dataclasses.replace(spec.workload, network=named))
    splits = setup.splits_of(setup.on_this_machine(spec), found.folder)
    cut, own = _stored(found, chosen, spec)
    test = found.tests.get(chosen.id) or networks.measure_test(
        found.folder, chosen, own, splits.test, spec=setup.on_this_machine(spec)
    )
    try:
        with building(target) as place:
            card = make_card(found, test, spec, licence=licence, input=_input(spec, splits))
            images, _ = next(iter(splits.validation.batches(_IMAGES)))
            _write(place, cut.cpu(), card)
            if isinstance(own, QuantizedNetwork):
                card = _with_int8(place, own, cut, card, images.cpu())
            _verify(place, card, spec)
            wanted = [SOURCE, *(FORMATS[name] for name in formats)]
            _write_cards(place, _with_formats(place, cut, card, images.cpu(), wanted))
            place.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from None
    return target


def _stored(run: Snapshot, point: Point, spec: TrialSpec) -> tuple[nn.Module, nn.Module]:
    """The network of the point's weights and its own, which is another in int8."""
    weights = point if point.int8 is None else run.point(point.int8.of)
    network = networks.network_of(run.folder, weights, network=setup.untrained(spec))
    return network, network if weights is point else networks.network_of(run.folder, point)


def _input(spec: TrialSpec, splits: data.Splits) -> Input:
    shape, normalisation = splits.shape, splits.train.images.normalisation
    return Input(
        channels=shape.channels,
        height=shape.height,
        width=shape.width,
        mean=normalisation.mean,
        std=normalisation.std,
        classes=data.class_names(spec.workload.data),
    )


@doing("writing the bundle")
def _write(bundle: Path, network: nn.Module, card: Card) -> None:
    point, taken = card.point, card.input
    assert taken is not None
    save_weights(bundle / WEIGHTS, network)
    save_nested(bundle / NESTED, network)
    architecture = Architecture(
        format=FORMAT,
        network=card.workload.network,
        channels=taken.channels,
        height=taken.height,
        width=taken.width,
        classes=len(taken.classes),
        mean=taken.mean,
        std=taken.std,
        layers=tuple(dataclasses.replace(layer, spectrum=()) for layer in point.layers),
        widths=point.widths,
    )
    write_json(bundle / ARCHITECTURE, architecture)
    _write_cards(bundle, card)
    # The library writes weights for their owner alone; a bundle is there to be passed on.
    for file in bundle.glob("*.safetensors"):
        file.chmod((bundle / CARD).stat().st_mode)


def _write_cards(bundle: Path, card: Card) -> None:
    write_json(bundle / CARD, card)
    (bundle / READABLE_CARD).write_text(as_markdown(card), encoding="utf-8")


@doing("running the int8 network alone")
def _with_int8(
    bundle: Path, network: QuantizedNetwork, weights: nn.Module, card: Card, images: Tensor
) -> Card:
    """Copies the int8 network and returns the card that tells of its files."""
    form, most = write_int8(bundle, network, weights, images, task_of(card.workload))
    sizes = {file.name: file.stat().st_size for file in form.files_in(bundle)}
    return dataclasses.replace(card, formats={form.file: most}, file_bytes=sizes)


def _with_formats(
    bundle: Path, network: nn.Module, card: Card, images: Tensor, formats: Sequence[Format]
) -> Card:
    """Writes the formats that pass and returns the card that tells of them."""
    task = task_of(card.workload)
    written: dict[str, float] = {}
    refused: dict[str, str] = {}
    for form in formats:
        try:
            with doing(f"writing and running {form.file}"):
                written[form.file] = write_format(bundle, network, images, form, task)
        except TrpSearchError as error:
            refused[form.file] = str(error)
    others = [file for form in formats if form is not SOURCE for file in form.files_in(bundle)]
    sizes = {file.name: file.stat().st_size for file in (bundle / WEIGHTS, *others)}
    return with_formats(
        card,
        written=card.formats | written,
        refused=refused,
        file_bytes=card.file_bytes | sizes,
    )


@doing("scoring the bundle in a fresh process")
def _verify(bundle: Path, card: Card, spec: TrialSpec) -> None:
    """Scores the bundle in a process that is told of this one where the images are, and no more."""
    command = [sys.executable, "-m", "trp_search", "evaluate", str(bundle), "--json"]
    command += ["--data", to_json(spec.workload.data)]
    name = spec.workload.network.name
    command += ["--network", name] if is_callable_name(name) else []
    done = subprocess.run(  # noqa: S603  own words
        command, capture_output=True, text=True, check=False, env=importing(spec.workload)
    )
    if done.returncode != 0:
        reason = last_words(done.stderr)
        raise TrpSearchError(
            f"the bundle did not load in a fresh process and was removed: "
            f"{reason.removeprefix('trp-search: ')}"
        )
    found = Score(**json.loads(done.stdout)["validation"])
    score = card.point.score
    # A GPU's convolutions round differently from run to run; a CPU's do not.
    allowed = 0 if card.device == "cpu" else 0.005
    if found.images != score.images or abs(found.value - score.value) > allowed:
        raise TrpSearchError(
            f"the bundle reached {found.value:.6g} on {found.images} validation images in a fresh "
            f"process, the point {score.value:.6g} on {score.images}; it was removed"
        )
