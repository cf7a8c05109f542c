"""Where images come from while training: held on the device, or streamed from files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from trp_search.workloads import augment

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of one image, and the number of classes."""

    channels: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Per-channel mean and standard deviation of pixels in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def of(pixels: Tensor) -> Normalisation:
        """Those of uint8 `pixels` (n, c, h, w), exactly, from counts of each value."""
        counts = torch.stack([p.flatten().bincount(minlength=256) for p in pixels.unbind(1)])
        shares = counts.double() / counts.sum(1, keepdim=True)
        values = torch.arange(256, dtype=torch.float64) / 255
        mean = shares @ values
        std = (shares @ values.square() - mean.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
        return Normalisation(mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def on(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """A scale and an offset (c, 1, 1) that normalise pixels in 0..255."""
        mean, std = (torch.tensor(v).view(-1, 1, 1) * 255 for v in (self.mean, self.std))
        return std.reciprocal().to(device), (-mean / std).to(device)


class Images(ABC):
    """Labelled images by row. `ids` (n,) are their numbers in the source, held-out ones last."""

    ids: Tensor
    normalisation: Normalisation

    @abstractmethod
    def plain(self, rows: Tensor, batch_size: int) -> Iterator[Batch]:
        """Images as they are, in the order of `rows`, the last batch perhaps smaller."""

    @abstractmethod
    def augmented(
        self, rows: Tensor, batch_size: int, *, generator: torch.Generator
    ) -> Iterator[Batch]:
        """The same, each image randomly altered; a pure function of the generator's state."""


@final
class HeldImages(Images):
    """All images as uint8 on one device; batches never synchronise with it.

    Args:
        pixels: uint8 (n, c, h, w) on the device.
        labels: int64 (n,) there too.
        ids: (n,) on the CPU.
        normalisation: applied to each batch.
        mirror: whether a mirrored image keeps its label.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        ids: Tensor,
        *,
        normalisation: Normalisation,
        mirror: bool,
    ) -> None:
        self.ids = ids
        self.normalisation = normalisation
        self._pixels = pixels
        self._labels = labels
        self._mirror = mirror
        self._padding = max(1, pixels.shape[-1] // 8)  # the usual 4 pixels at 32
        self._scale, self._offset = normalisation.on(pixels.device)

    @override
    def plain(self, rows: Tensor, batch_size: int) -> Iterator[Batch]:
        for chosen in torch.split(rows.to(self._pixels.device), batch_size):
            yield self._normalised(self._pixels[chosen]), self._labels[chosen]

    @override
    def augmented(
        self, rows: Tensor, batch_size: int, *, generator: torch.Generator
    ) -> Iterator[Batch]:
        place = self._pixels.device
        moves = augment.draw(
            len(rows), padding=self._padding, mirror=self._mirror, generator=generator
        )
        chosen = torch.split(rows.to(place), batch_size)
        parts = zip(*(torch.split(drawn.to(place), batch_size) for drawn in moves), strict=True)
        for batch, part in zip(chosen, parts, strict=True):
            pixels = augment.moved(self._pixels[batch], augment.Moves(*part), padding=self._padding)
            yield self._normalised(pixels), self._labels[batch]

    def _normalised(self, pixels: Tensor) -> Tensor:
        return pixels.float().mul_(self._scale).add_(self._offset)
