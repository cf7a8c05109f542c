"""The interface of every source of images: labels at once, pixels on demand."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from trp_search.workloads.listing import Passed


class Collection(ABC):
    """Training images, then those of validation if they are apart, then test's, by number.

    Attributes:
        labels: int64 (n,).
        training: how many of the n are training images.
        validation: how many the source itself sets aside for validation; 0 leaves it to a share.
        passed: files beside the images that are not read.
    """

    labels: Tensor
    training: int
    validation: int = 0
    passed: Sequence[Passed] = ()

    @property
    def names(self) -> Sequence[str]:
        """What tells one image from another beside its label and number, if anything does."""
        return ()

    def digest(self) -> str:
        """Changes when images are exchanged, renamed or labelled otherwise; decodes none."""
        names = "\0".join(self.names).encode(errors="surrogateescape")
        return hashlib.sha256(self.labels.numpy().tobytes() + names).hexdigest()

    @abstractmethod
    def read(self, ids: Tensor) -> Tensor:
        """uint8 (len(ids), c, h, w) on the CPU; no other image is decoded."""
