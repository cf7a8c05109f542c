"""Rank rules: from a layer's singular values to the rank it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from typing_extensions import override


class RankRule(ABC):
    """A value that maps (b, m) descending singular values to (b,) ranks."""

    @abstractmethod
    def ranks(self, values: Tensor) -> Tensor:
        """The rank of each row of `values`, between 0 and m."""


@final
@dataclass(frozen=True)
class Energy(RankRule):
    """The smallest rank that keeps a share of the squared singular values, in (0, 1]."""

    share: float

    @override
    def ranks(self, values: Tensor) -> Tensor:
        squares = values.square()
        tail = squares.flip(-1).cumsum(-1)
        return (tail > (1 - self.share) * squares.sum(-1, keepdim=True)).sum(-1)


@final
@dataclass(frozen=True)
class Value(RankRule):
    """The number of singular values that reach a threshold (the reference code's final cut)."""

    threshold: float

    @override
    def ranks(self, values: Tensor) -> Tensor:
        return (values >= self.threshold).sum(-1)


@final
@dataclass(frozen=True)
class Fixed(RankRule):
    """A given rank, as far as there are singular values."""

    rank: int

    @override
    def ranks(self, values: Tensor) -> Tensor:
        return torch.full(values.shape[:-1], min(self.rank, values.shape[-1]))
