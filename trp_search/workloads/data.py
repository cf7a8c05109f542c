"""A workload's images by name, split into training, validation and test."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import torch
from torch import Tensor

from trp_search.errors import InputError
from trp_search.progress import doing
from trp_search.records import DataSpec, from_json, to_json
from trp_search.workloads import folder, pixels
from trp_search.workloads.choose import balanced
from trp_search.workloads.collection import Collection
from trp_search.workloads.images import HeldImages, Images, Normalisation, Shape
from trp_search.workloads.listing import Passed
from trp_search.workloads.seeds import seeded
from trp_search.workloads.sources import source_of
from trp_search.workloads.splits import Splits, Test, Train, Validation

_WHERE = "workload.data"
_LOOKED_AT = 16  # images of a census


def describe(spec: DataSpec) -> Shape:
    """The shape of the images that `spec` names; reads as little as possible.

    Nothing is read if `spec` states all of it, so that a space can be checked without its data.
    """
    return _described(to_json(spec), source_of(spec).version(spec))


def class_names(spec: DataSpec) -> tuple[str, ...]:
    """A name for each class: folders', CIFAR-10's, or numbers if the data have none."""
    names = source_of(spec).class_names(spec) or map(str, range(describe(spec).classes))
    return tuple(names)


def load(spec: DataSpec, *, split_seed: int, outside_weights: bool, device: str) -> Splits:
    """The images that `spec` names, in three disjoint parts.

    Validation is the source's own or a share of the training images; test is the held-out set. With
    `outside_weights`, which may have seen every training image, a share is of the held-out set
    instead: its one half, test the other. The last two sets loaded are kept for the next trial.

    Raises:
        InputError: the images are missing, unreadable or fewer than asked for.
    """
    version = source_of(spec).version(spec)
    return _loaded(to_json(spec), version, split_seed, outside_weights, device)


def listed(
    spec: DataSpec, *, split_seed: int, outside_weights: bool
) -> tuple[dict[str, list[int]], str]:
    """The numbers of the images in each part that `load` would give, and the digest; decodes none.

    Raises:
        InputError: as `load`, but for images that cannot be decoded.
    """
    collection = source_of(spec).collection(spec)
    parts = _divided(collection, spec, seed=split_seed, outside_weights=outside_weights)
    numbers = [part.tolist() for part in parts]
    return dict(zip(("train", "validation", "test"), numbers, strict=True)), collection.digest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Census:
    """How many images of each class are in each part, and which files are not read.

    Attributes:
        counts: for `train`, `validation` and `test` a number per class.
        passed: files beside the images that are not read.
    """

    counts: dict[str, tuple[int, ...]]
    passed: tuple[Passed, ...]


def census(spec: DataSpec, *, outside_weights: bool) -> Census:
    """What `load` would give, counted; a few images are decoded.

    Raises:
        InputError: as `load`, as far as these images show.
    """
    collection = source_of(spec).collection(spec)
    parts = _divided(collection, spec, seed=0, outside_weights=outside_weights)
    classes = describe(spec).classes
    ids = torch.cat(parts)
    with doing("looking at some images"):
        collection.read(ids[:: max(1, len(ids) // _LOOKED_AT)])
    counts = [collection.labels[part].bincount(minlength=classes).tolist() for part in parts]
    return Census(
        counts=dict(zip(("train", "validation", "test"), map(tuple, counts), strict=True)),
        passed=tuple(collection.passed),
    )


@lru_cache(maxsize=16)
def _described(text: str, version: tuple[int, ...]) -> Shape:
    del version  # of the cache's key
    spec = from_json(DataSpec, text)
    source = source_of(spec)
    if spec.channels not in (None, 1, 3):
        raise InputError(f"{_WHERE}.channels: {spec.channels} is not 1 or 3")
    if spec.stream and (not source.files or spec.image_size is None or spec.channels == 1):
        raise InputError(f"{_WHERE}.stream: needs data images in colour and an image_size")
    shape = source.shape(spec)
    if shape.classes < 2:
        raise InputError(f"{_WHERE}.classes: {shape.classes} is less than 2, nothing to tell apart")
    return dataclasses.replace(
        shape,
        channels=spec.channels or shape.channels,
        height=spec.image_size or shape.height,
        width=spec.image_size or shape.width,
    )


@lru_cache(maxsize=2)
def _loaded(
    text: str,
    version: tuple[int, ...],
    split_seed: int,
    outside_weights: bool,  # noqa: FBT001  a cache's key
    device: str,
) -> Splits:
    del version
    spec = from_json(DataSpec, text)
    shape = describe(spec)
    collection = source_of(spec).collection(spec)
    parts = _divided(collection, spec, seed=split_seed, outside_weights=outside_weights)
    ids = torch.cat(parts).sort().values
    train, validation, test = (torch.searchsorted(ids, part) for part in parts)
    make = _streamed if spec.stream else _held
    with doing("reading images"):
        images = make(collection, spec, ids, train=train, device=device)
    return Splits(
        train=Train(images=images, rows=train, augment=spec.augment),
        validation=Validation(images=images, rows=validation),
        test=Test(images=images, rows=test),
        shape=shape,
        digest=collection.digest(),
    )


def _held(
    collection: Collection, spec: DataSpec, ids: Tensor, *, train: Tensor, device: str
) -> Images:
    shape = describe(spec)
    read = collection.read(ids)
    held = pixels.fitted(read, channels=shape.channels, size=(shape.height, shape.width))
    return HeldImages(
        held.to(device),
        collection.labels[ids].to(device),
        ids,
        normalisation=_given(spec, shape.channels) or Normalisation.of(held[train]),
        mirror=source_of(spec).mirrors,
    )


def _given(spec: DataSpec, channels: int) -> Normalisation | None:
    if spec.mean is None or spec.std is None:
        return None
    if len(spec.mean) != channels:
        raise InputError(f"{_WHERE}.mean: {len(spec.mean)} numbers for {channels} channels")
    return Normalisation(mean=spec.mean, std=spec.std)


def _streamed(
    collection: Collection, spec: DataSpec, ids: Tensor, *, train: Tensor, device: str
) -> Images:
    from trp_search.workloads.streamed import StreamedImages  # noqa: PLC0415  torchvision

    assert isinstance(collection, folder.Folder)
    del train  # normalised by ImageNet's statistics, not by its own
    return StreamedImages(
        [collection.files[number] for number in ids.tolist()],
        collection.labels[ids],
        ids,
        size=describe(spec).height,
        normalisation=_given(spec, 3),
        workers=spec.workers,
        device=device,
    )


def _divided(
    collection: Collection, spec: DataSpec, *, seed: int, outside_weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers of the training, validation and test images, each sorted."""
    every = torch.arange(len(collection.labels))
    labels = collection.labels
    training, own, held_out = every.tensor_split(
        (collection.training, collection.training + collection.validation)
    )
    training = _subset(training, labels, "subset", spec.subset, seed=seed)
    held_out = _subset(held_out, labels, "heldout_subset", spec.heldout_subset, seed=seed)
    if len(own):
        return training, own, held_out
    divided = held_out if outside_weights else training
    count = len(divided) // 2 if outside_weights else max(1, round(spec.validation * len(divided)))
    if not 0 < count < len(divided):
        raise InputError(f"{_WHERE}: {len(divided)} images are too few to set validation aside")
    chosen = balanced(labels[divided], count, generator=seeded("validation", seed))
    if outside_weights:
        return training, divided[chosen], divided[~chosen]
    return divided[~chosen], divided[chosen], held_out


def _subset(ids: Tensor, labels: Tensor, key: str, count: int | None, *, seed: int) -> Tensor:
    if count is None:
        return ids
    if count > len(ids):
        raise InputError(f"{_WHERE}.{key}: {count} is more than the {len(ids)} images there are")
    return ids[balanced(labels[ids], count, generator=seeded(key, seed))]
