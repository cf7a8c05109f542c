"""Images read from files in every epoch by worker processes, for data of ImageNet's size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2
from typing_extensions import override

from trp_search.errors import InputError
from trp_search.workloads.decoding import decoded
from trp_search.workloads.images import Batch, Images, Normalisation
from trp_search.workloads.listing import shown
from trp_search.workloads.seeds import seeded

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_MARGIN = 256 / 224  # the side of which the middle is looked at, as torchvision's weights expect
_LONGEST = 1000  # times its short side

Job = tuple[int, int]  # a row and a seed
Item = tuple[Tensor, Tensor]


@final
class StreamedImages(Images):
    """Files, decoded and cropped to `size` when a batch is made.

    Training images are cropped at random places and scales and mirrored; others are resized and
    centre-cropped. Each image has its own random seed, so that a batch does not depend on its
    worker.
    """

    def __init__(  # noqa: PLR0913  one value of its space each
        self,
        files: list[Path],
        labels: Tensor,
        ids: Tensor,
        *,
        size: int,
        normalisation: Normalisation | None,
        workers: int,
        device: str,
    ) -> None:
        self.ids = ids
        self._files = files
        self._labels = labels
        self._workers = min(workers, os.cpu_count() or 1)
        self._device = device
        self.normalisation = normalisation or IMAGENET
        self._normalise = self.normalisation.on(device)
        self._whole = v2.Compose([v2.Resize(round(size * _MARGIN)), v2.CenterCrop(size)])
        self._part = v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()])

    @override
    def plain(self, rows: Tensor, batch_size: int) -> Iterator[Batch]:
        return self._stream(rows, torch.zeros_like(rows), batch_size, self._whole)

    @override
    def augmented(
        self, rows: Tensor, batch_size: int, *, generator: torch.Generator
    ) -> Iterator[Batch]:
        seeds = torch.randint(2**62, rows.shape, generator=generator)
        return self._stream(rows, seeds, batch_size, self._part)

    def _stream(
        self, rows: Tensor, seeds: Tensor, batch_size: int, view: Callable[..., Image.Image]
    ) -> Iterator[Batch]:
        jobs = list(zip(rows.tolist(), seeds.tolist(), strict=True))
        loader = DataLoader(
            _Files(self._files, self._labels, view),
            batch_sampler=[jobs[i : i + batch_size] for i in range(0, len(jobs), batch_size)],
            collate_fn=_batch,
            num_workers=self._workers,
            pin_memory=self._device == "cuda",
            generator=seeded("loader"),  # else it would draw from the training's own
        )
        scale, offset = self._normalise
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            pixels, labels = batch
            images = pixels.to(self._device, non_blocking=True).float().mul_(scale).add_(offset)
            yield images, labels.to(self._device, non_blocking=True)


class _Files(Dataset["Item | InputError"]):
    def __init__(self, files: list[Path], labels: Tensor, view: Callable[..., Image.Image]) -> None:
        self._files = files
        self._labels = labels
        self._view = view

    @override
    def __getitem__(self, job: Job) -> Item | InputError:
        row, seed = job
        path = self._files[row]
        try:
            image = decoded(path, channels=3)
        except InputError as error:
            return error
        short, long = sorted(image.size)
        if long > _LONGEST * short:  # resized by its short side, it would fill the memory
            return InputError(f"{shown(path)}: {image.width}x{image.height} is no shape to crop")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            seen = self._view(image)
        return v2.functional.pil_to_tensor(seen), self._labels[row]


def _batch(images: list[Item | InputError]) -> list[Tensor] | InputError:
    """The images as a batch, or the first error: raised in a worker it would be a traceback."""
    failed = next((image for image in images if isinstance(image, InputError)), None)
    if failed is not None:
        return failed
    batch: list[Tensor] = default_collate(images)
    return batch
