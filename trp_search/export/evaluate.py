"""A bundle's accuracy and cost, measured again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import nn

from trp_search.errors import InputError
from trp_search.evaluation import Evaluation, evaluate, threads
from trp_search.export.bundle import Architecture, read_architecture, read_card
from trp_search.export.load import load
from trp_search.records import DataSpec
from trp_search.scoring.candidate import cost
from trp_search.workloads import data as images
from trp_search.workloads import networks

_BATCH = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundleScore:
    """What a bundle does; `test` is None where it was not asked for."""

    validation: Evaluation
    test: Evaluation | None
    macs: int
    parameters: int
    device: str


def evaluate_bundle(
    bundle: Path | str,
    *,
    network: nn.Module | str | None = None,
    data: DataSpec | None = None,
    test: bool = False,
) -> BundleScore:
    """Loads the bundle, scores it on validation, and on test if asked, and counts its cost.

    Args:
        bundle: its folder.
        network: for a network of your own: the plain network, or `package.module:callable`.
        data: other images than those of the card; they are split by the card's seed.
        test: whether to score test as well.

    Raises:
        InputError: a bundle that cannot be loaded, or images that do not fit it.
    """
    bundle = Path(bundle)
    architecture, card = read_architecture(bundle), read_card(bundle)
    if isinstance(network, str):
        network = named(network, architecture)
    device = card.device if torch.cuda.is_available() else "cpu"
    module = load(bundle, network=network).to(device)
    splits = images.load(
        data or card.workload.data,
        split_seed=card.split_seed,
        outside_weights=card.workload.weights is not None,
        device=device,
    )
    _check_fit(bundle, architecture, splits.shape)
    if data is None:
        _check_size(bundle, architecture, splits.shape)
    with threads(card.threads):
        found = cost(module, _example(architecture).to(device), layers=architecture.layers)
        return BundleScore(
            validation=evaluate(module, splits.validation.batches(_BATCH)),
            test=evaluate(module, splits.test.batches(_BATCH)) if test else None,
            macs=found.macs,
            parameters=found.parameters,
            device=device,
        )


def named(network: str, architecture: Architecture) -> nn.Module:
    """The plain network that `package.module:callable` builds for a bundle."""
    spec = dataclasses.replace(architecture.network, name=network)
    return networks.build(spec, channels=architecture.channels, classes=architecture.classes)


def _check_fit(bundle: Path, architecture: Architecture, shape: images.Shape) -> None:
    wanted = (architecture.channels, architecture.classes)
    if (shape.channels, shape.classes) != wanted:
        raise InputError(
            f"{bundle}: takes {wanted[0]} channels and tells {wanted[1]} classes apart; "
            f"the images have {shape.channels} channels and {shape.classes} classes"
        )


def _check_size(bundle: Path, architecture: Architecture, shape: images.Shape) -> None:
    wanted = (architecture.height, architecture.width)
    if (shape.height, shape.width) != wanted:
        raise InputError(
            f"{bundle}: takes images of {wanted[0]} x {wanted[1]} pixels; "
            f"its own have {shape.height} x {shape.width}"
        )


def _example(architecture: Architecture) -> torch.Tensor:
    return torch.zeros(1, architecture.channels, architecture.height, architecture.width)
