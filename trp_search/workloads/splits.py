"""Train, validation and test: three types, so that they cannot be confused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from trp_search.errors import InputError
from trp_search.progress import tracked
from trp_search.workloads.images import Batch, Images, Shape
from trp_search.workloads.seeds import seeded


@final
@dataclass(frozen=True, kw_only=True)
class Train:
    """Images to learn from: `rows` (n,) of `images`."""

    images: Images
    rows: Tensor
    augment: bool

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, batch_size: int, *, seed: int, epoch: int) -> Iterator[Batch]:
        """One epoch, shuffled and augmented: normalised float32 (n, c, h, w) and labels (n,).

        A pure function of `seed` and `epoch`; an incomplete last batch is left out.
        """
        whole = len(self) // batch_size * batch_size
        if whole == 0:
            raise InputError(
                f"training.batch_size: {batch_size} is more than the {len(self)} training images"
            )
        generator = seeded("epoch", seed, epoch)
        order = self.rows[torch.randperm(len(self), generator=generator)[:whole]]
        if self.augment:
            return self.images.augmented(order, batch_size, generator=generator)
        return self.images.plain(order, batch_size)

    def samples(self, count: int, *, batch_size: int) -> Iterator[Tensor]:
        """`count` images (all, if fewer) as training sees them, unlabelled, always the same.

        Batches are of nearly equal size, at most `batch_size`. Augmented as in training: statistics
        of plain images fit the weights less well (a ResNet-20 on 8,000 CIFAR-10 JPEG images cut
        to 1.75x: 54.7 % on 2,000 images with them, 58.4 % so; 31.8 % with those of the uncut one).
        """
        generator = seeded("samples")
        chosen = self.rows[torch.randperm(len(self), generator=generator)[:count]]
        size = -(-len(chosen) // -(-len(chosen) // batch_size))
        while size > 2 and len(chosen) % size == 1:  # of one image there may be no statistics
            size -= 1
        if self.augment:
            batches = self.images.augmented(chosen, size, generator=generator)
        else:
            batches = self.images.plain(chosen, size)
        total = len(chosen)
        for images, _ in tracked(batches, "calibration", total=total, unit="images", size=_images):
            yield images

    def calibration(self, count: int) -> Iterator[Tensor]:
        """As `samples`, in batches small enough for every layer's inputs to be kept."""
        return self.samples(count, batch_size=_CALIBRATION_BATCH)


_CALIBRATION_BATCH = 32


def _images(batch: Batch) -> int:
    return len(batch[1])


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """Images that networks are scored on."""

    images: Images
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All of them, in order."""
        batches = self.images.plain(self.rows, batch_size)
        what = type(self).__name__.lower()
        return tracked(batches, what, total=len(self), unit="images", size=_images)


@final
@dataclass(frozen=True, kw_only=True)
class Validation(_Scored):
    """Images on which every choice is made."""

    def sample(self, count: int) -> Validation:
        """`count` of them (all, if fewer), always the same."""
        chosen = torch.randperm(len(self), generator=seeded("race"))[:count]
        return Validation(images=self.images, rows=self.rows[chosen.sort().values])


@final
@dataclass(frozen=True, kw_only=True)
class Test(_Scored):
    """Images that are scored only after every choice is made."""

    __test__ = False  # not a pytest class


@final
@dataclass(frozen=True, kw_only=True)
class Splits:
    """The three disjoint parts of one workload's images; `digest` of what the source lists."""

    train: Train
    validation: Validation
    test: Test
    shape: Shape
    digest: str

    def train_and_validation(self) -> Train:
        """The training images of a refit: train and validation together."""
        rows = torch.cat([self.train.rows, self.validation.rows]).sort().values
        return Train(images=self.train.images, rows=rows, augment=self.train.augment)

    def indices(self) -> dict[str, list[int]]:
        """The numbers of each part's images in their source, held-out ones counted last."""
        return {
            name: part.images.ids[part.rows].tolist()
            for name, part in (
                ("train", self.train),
                ("validation", self.validation),
                ("test", self.test),
            )
        }
