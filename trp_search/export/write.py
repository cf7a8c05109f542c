"""A point of a run as a bundle on disk: all of it, proven to load and score, or nothing."""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from trp_search.errors import InputError, TrpSearchError
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
from trp_search.records import Score, TrialSpec, to_json
from trp_search.runs import networks as stored
from trp_search.space import load_space
from trp_search.store import RunFolder
from trp_search.training.checkpoint import save_weights
from trp_search.workloads import data, networks
from trp_search.workloads.trust import check_run

_IMAGES = 256


def export_point(  # noqa: PLR0913  options of a command
    run: RunFolder | Path | str,
    point_id: str,
    out: Path | str,
    *,
    network: str | None = None,
    formats: Sequence[str] = (),
    licence: str | None = None,
    trust: bool = False,
) -> Path:
    """Writes one point's network to the new folder `out` and returns its absolute path.

    Before the folder gets its name, a fresh process loads the bundle and scores it on validation
    again, and the number of correct images must be the point's own.

    Args:
        run: the run folder.
        point_id: one of its points.
        out: a folder that does not exist yet, or is empty.
        network: `package.module:callable` that builds the baseline, where that is your own
            code and is not the one that the run names.
        formats: `onnx` or `pt2`, written beside the weights; the card says of each how far its
            logits were from the network's on real images, or why it is not there.
        licence: what the card says of the weights' licence.
        trust: whether to call code that the run names and that does not lie below the current
            folder, and to fetch its images.

    Raises:
        InputError: no such run, point or format, `out` holds something, or the run names code that
            is not to be trusted.
        TrpSearchError: the bundle does not score as the point did; nothing is left of it.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(Path(run))
    check_formats(formats)
    point = folder.point(point_id)
    check_run(folder, load_space(folder.search).workload, trust=trust, network=network)
    target = vacant(Path(out))
    spec = folder.trial(point.trial).read_spec()
    if network is not None:
        named = dataclasses.replace(spec.workload.network, name=network)
        spec = dataclasses.replace(spec, workload=dataclasses.replace(spec.workload, network=named))
    stored.score_test(folder, point_id, spec=spec)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        card = make_card(folder, point, spec, licence=licence, input=_input(spec))
        _write(temporary, folder, card, spec)
        _verify(temporary, card, spec)
        wanted = [SOURCE, *(FORMATS[name] for name in formats)]
        card = _with_formats(temporary, folder, card, spec, wanted)
        _write_cards(temporary, card)
        temporary.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _input(spec: TrialSpec) -> Input:
    splits = _splits(spec)
    shape, normalisation = splits.shape, splits.train.images.normalisation
    return Input(
        channels=shape.channels,
        height=shape.height,
        width=shape.width,
        mean=normalisation.mean,
        std=normalisation.std,
        classes=data.class_names(spec.workload.data),
    )


def _write(bundle: Path, run: RunFolder, card: Card, spec: TrialSpec) -> None:
    splits, point, taken = _splits(spec), card.point, card.input
    assert taken is not None
    network = stored.network_of(run, point.id, network=_baseline(spec, splits))
    save_weights(bundle / WEIGHTS, network)
    architecture = Architecture(
        format=FORMAT,
        network=spec.workload.network,
        channels=taken.channels,
        height=taken.height,
        width=taken.width,
        classes=len(taken.classes),
        mean=taken.mean,
        std=taken.std,
        layers=tuple(dataclasses.replace(layer, spectrum=()) for layer in point.layers),
    )
    write_json(bundle / ARCHITECTURE, architecture)
    _write_cards(bundle, card)
    # The library writes weights for their owner alone; a bundle is there to be passed on.
    (bundle / WEIGHTS).chmod((bundle / CARD).stat().st_mode)


def _write_cards(bundle: Path, card: Card) -> None:
    write_json(bundle / CARD, card)
    (bundle / READABLE_CARD).write_text(as_markdown(card), encoding="utf-8")


def _with_formats(
    bundle: Path, run: RunFolder, card: Card, spec: TrialSpec, formats: Sequence[Format]
) -> Card:
    """Writes the formats that pass and returns the card that tells of them."""
    splits = _splits(spec)
    network = stored.network_of(run, card.point.id, network=_baseline(spec, splits))
    images, _ = next(iter(splits.validation.batches(_IMAGES)))
    written: dict[str, float] = {}
    refused: dict[str, str] = {}
    for form in formats:
        try:
            written[form.file] = write_format(bundle, network, images, form)
        except TrpSearchError as error:
            refused[form.file] = str(error)
    weights = [WEIGHTS, *(file for file in written if file != SOURCE.file)]
    sizes = {file: (bundle / file).stat().st_size for file in weights}
    return with_formats(card, written=written, refused=refused, file_bytes=sizes)


def _baseline(spec: TrialSpec, splits: data.Splits) -> nn.Module:
    shape = splits.shape
    return networks.build(spec.workload.network, channels=shape.channels, classes=shape.classes)


def _splits(spec: TrialSpec) -> data.Splits:
    return data.load(
        spec.workload.data,
        split_seed=spec.split_seed,
        outside_weights=spec.workload.weights is not None,
        device="cpu",
    )


def _verify(bundle: Path, card: Card, spec: TrialSpec) -> None:
    """Scores the bundle in a process that is told of this one where the images are, and no more."""
    command = [sys.executable, "-m", "trp_search", "evaluate", str(bundle), "--json"]
    command += ["--data", to_json(spec.workload.data)]
    name = spec.workload.network.name
    command += ["--network", name] if ":" in name else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  own words
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
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
