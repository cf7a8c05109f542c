"""What every source of images gives: labels at once, pixels on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from trp_search.workloads.listing import Passed


class Collection(ABC):
    """Training images, then held-out ones, numbered through.

    Attributes:
        labels: int64 (n,).
        training: how many of the n are training images.
        passed: what lies beside the images and is not read.
    """

    labels: Tensor
    training: int
    passed: Sequence[Passed] = ()

    @abstractmethod
    def read(self, ids: Tensor) -> Tensor:
        """uint8 (len(ids), c, h, w) on the CPU, and no other image is decoded."""
