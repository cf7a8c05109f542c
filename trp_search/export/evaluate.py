"""A bundle's score and cost, measured again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from trp_search.errors import InputError, one_line
from trp_search.export.int8 import Int8File
from trp_search.export.load import network_in
from trp_search.export.memory import limited_memory
from trp_search.export.opened import Bundle, opened
from trp_search.lowrank.linear_cut import sparse_layers
from trp_search.records import DataSpec
from trp_search.scoring.candidate import Cost, cost, example
from trp_search.tasks import task_of
from trp_search.tasks.task import Evaluation, threads
from trp_search.workloads import data as images
from trp_search.workloads.sources import SOURCES

_BATCH = 256
# Bytes that a network may take: in any case, for each of its weights' and for each of its images'.
_ANY, _WEIGHTS, _IMAGES = 2 << 30, 16, 64
_MOST_PIXELS = 64  # a side, of digits that a card asks for; theirs are 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundleScore:
    """A bundle's scores and costs; `test` is None if it was not asked for."""

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

    An int8 network is scored by its runtime in a process of its own, its cost that of its weights.

    Nothing is downloaded, and nothing that the bundle names is called or searched for: a card's own
    images are scored only if they come with this package.

    Args:
        bundle: its folder.
        network: for a custom architecture, the baseline or its `package.module:callable`.
        data: the images, split by the card's seed; those of the card by default.
        test: whether to score test as well.

    Raises:
        InputError: the bundle cannot be loaded, or images are missing or do not fit it.
    """
    found = opened(bundle)
    # Pixels as the weights know them, whatever the images say.
    known = found.architecture
    spec = dataclasses.replace(scored_on(found, data), mean=known.mean, std=known.std)
    module = network_in(found, network=network)
    shape = images.describe(spec)
    _check_fit(found, shape, own=data is None)
    card = found.card
    device = card.device if torch.cuda.is_available() else "cpu"
    splits = images.load(
        spec,
        split_seed=card.split_seed,
        outside_weights=card.workload.weights is not None,
        device=device,
    )
    module.to(device)
    task = task_of(card.workload)
    image = example(shape, device)
    with threads(card.threads), running(found, image, images=_BATCH):
        check_runs(found, module, image)
        price = _cost(found, module, image)
        scored, batch = module, _BATCH
        if card.point.int8 is not None:
            scored = Int8File(found.folder, card.point.int8.runtime, image)
            batch = scored.batch
        validation = task.evaluate(scored, splits.validation.batches(batch))
        if not math.isfinite(validation.loss):
            raise InputError(f"{found.folder}: its answers on validation are not finite")
        return BundleScore(
            validation=validation,
            test=task.evaluate(scored, splits.test.batches(batch)) if test else None,
            macs=price.macs,
            parameters=price.parameters,
            device=device,
        )


def scored_on(bundle: Bundle, given: DataSpec | None) -> DataSpec:
    """The images that a bundle is scored on: the caller's, or those that come with this package.

    Raises:
        InputError: the card names code or files, and the caller gave no images.
    """
    if given is not None:
        return dataclasses.replace(given, download=False)
    own = bundle.card.workload.data
    if come_along(own):
        return dataclasses.replace(own, download=False, root=None, options={})
    what = f"{own.name!r:.100}, which a bundle may not have called or read"
    if _included(own):
        what = f"{own.name} of {own.image_size} pixels a side, more than a card may ask for"
    raise InputError(
        f"{bundle.folder}: its images are {what}: "
        "give them by --data SPACE.yaml or --data MODULE:CALLABLE"
    )


def come_along(spec: DataSpec) -> bool:
    """Whether the images come with this package, at a size that a card may ask for."""
    return _included(spec) and (spec.image_size or 0) <= _MOST_PIXELS


def _included(spec: DataSpec) -> bool:
    return spec.name in SOURCES and SOURCES[spec.name].included


@contextmanager
def running(bundle: Bundle, image: Tensor, *, images: int) -> Iterator[None]:
    """In the block a CPU has memory for a network of these weights on so many images, no more.

    A few numbers can ask for layers of any width, whose weights are small and outputs are not.

    Raises:
        InputError: the network wants more.
    """
    if image.device.type != "cpu":
        yield
        return
    most = _ANY + _WEIGHTS * bundle.weights.stat().st_size + _IMAGES * images * image.nbytes
    try:
        with limited_memory(most):
            yield
    except Exception as error:  # runtimes raise kinds of their own
        short = isinstance(error, MemoryError) or "memory" in str(error)
        if isinstance(error, InputError) or not short:
            raise
        raise InputError(
            f"{bundle.folder}: wants more than {most:,} bytes for {images} images"
        ) from None


def check_runs(bundle: Bundle, network: nn.Module, batch: Tensor) -> None:
    """Raises InputError unless the network answers (n, c, h, w) as its task asks for."""
    size = " x ".join(str(extent) for extent in batch.shape[1:])
    try:
        with torch.no_grad():
            found = network(batch)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  a network that gets what it is not for raises anything
        reason = one_line(error)[:200]
        raise InputError(f"{bundle.folder}: does not run on images of {size}: {reason}") from None
    task, classes = task_of(bundle.card.workload), bundle.architecture.classes
    if not isinstance(found, Tensor):
        raise InputError(f"{bundle.folder}: returns a {type(found).__name__}, not a tensor")
    if problem := task.misfit(found, images=len(batch), classes=classes):
        raise InputError(f"{bundle.folder}: {problem}")


def _cost(bundle: Bundle, network: nn.Module, image: Tensor) -> Cost:
    """The cost, counted anew; the architecture only names the sparse layers."""
    sparse = {layer.name for layer in bundle.architecture.layers if layer.is_sparse}
    return cost(network, image, layers=sparse_layers(network, image, sparse) if sparse else ())


def _check_fit(bundle: Bundle, shape: images.Shape, *, own: bool) -> None:
    architecture = bundle.architecture
    wanted = (architecture.channels, architecture.classes)
    if (shape.channels, shape.classes) != wanted:
        raise InputError(
            f"{bundle.folder}: expects {wanted[0]} channels and {wanted[1]} classes; "
            f"the images have {shape.channels} channels and {shape.classes} classes"
        )
    size = (architecture.height, architecture.width)
    if own and (shape.height, shape.width) != size:
        raise InputError(
            f"{bundle.folder}: expects images of {size[0]} x {size[1]} pixels; "
            f"its own have {shape.height} x {shape.width}"
        )
