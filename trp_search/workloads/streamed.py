"""Images read from their files in every epoch, by worker processes: for sets of ImageNet's size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from typing_extensions import override

from trp_search.workloads.folder import opened
from trp_search.workloads.images import Batch, Images, Normalisation
from trp_search.workloads.seeds import seeded

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_MARGIN = 256 / 224  # the side of which the middle is looked at, as torchvision's weights expect

Job = tuple[int, int]  # a row and a seed


@final
class StreamedImages(Images):
    """Files, decoded and cropped to `size` when a batch is made.

    Training images are cropped at random places and scales and mirrored; others are resized and
    cut to the middle. Each image's randomness has a seed of its own, so that a batch does not
    depend on which worker made it.
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
            num_workers=self._workers,
            pin_memory=self._device == "cuda",
            generator=seeded("loader"),  # else it would draw from the training's own
        )
        scale, offset = self._normalise
        for pixels, labels in loader:
            images = pixels.to(self._device, non_blocking=True).float().mul_(scale).add_(offset)
            yield images, labels.to(self._device, non_blocking=True)


class _Files(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, files: list[Path], labels: Tensor, view: Callable[..., Image.Image]) -> None:
        self._files = files
        self._labels = labels
        self._view = view

    @override
    def __getitem__(self, job: Job) -> tuple[Tensor, Tensor]:
        row, seed = job
        with opened(self._files[row]) as image, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            seen = self._view(image.convert("RGB"))
        return v2.functional.pil_to_tensor(seen), self._labels[row]
