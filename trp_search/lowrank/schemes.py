"""Schemes: how a kernel is unfolded into matrices and how their factors become two layers.

Sources: channel, Zhang et al., arXiv 1505.06798; spatial, Jaderberg et al., arXiv 1405.3866;
decoupled, Guo et al., arXiv 1808.05517.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from trp_search import records
from trp_search.lowrank.factoring import Factoring, Number, Ranks
from trp_search.lowrank.kernels import Part, Shape


class Scheme(Factoring):
    """One way to unfold a kernel. Stateless; `SCHEMES` holds one of each.

    Attributes:
        reads_rows: whether inputs are a matrix's rows; its columns otherwise.
    """

    name: records.Scheme
    reads_rows: bool

    @abstractmethod
    def matrices(self, weight: Tensor) -> Tensor:
        """(b, m, n) matrices of a (N, C, kh, kw) weight; `weight` is the inverse."""

    @abstractmethod
    def weight(self, matrices: Tensor, shape: Shape) -> Tensor:
        """The (N, C, kh, kw) weight that unfolds into `matrices`."""

    @abstractmethod
    def factors(self, left: Tensor, right: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
        """Weights of the two layers from (b, m, r) `left` and (b, r, n) `right`."""

    def unfolded(self, weight: Tensor, shape: Shape) -> Tensor:
        """The matrices of every kernel of this shape in a layer's weight; `folded` reverses it."""
        return _joined([self.matrices(one) for one in weight.reshape(-1, *shape)])

    def folded(self, matrices: Tensor, weight: Tensor, shape: Shape) -> Tensor:
        """The weight, shaped like `weight`, that unfolds into `matrices`."""
        kernels = matrices.chunk(weight.numel() // math.prod(shape))
        return _joined([self.weight(one, shape) for one in kernels]).reshape(weight.shape)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors along their first axis; a single one as it is, which rounding depends on."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


@final
class Channel(Scheme):
    """N x (C kh kw): a kh x kw convolution to r channels, then 1 x 1."""

    name = "channel"
    reads_rows = False

    @override
    def matrices(self, weight: Tensor) -> Tensor:
        return weight.flatten(1).unsqueeze(0)

    @override
    def weight(self, matrices: Tensor, shape: Shape) -> Tensor:
        return matrices.reshape(shape)

    @override
    def full_ranks(self, shape: Shape) -> Ranks:
        n, c, kh, kw = shape
        return (min(n, c * kh * kw),)

    @override
    def factors(self, left: Tensor, right: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
        n, c, kh, kw = shape
        return right.reshape(-1, c, kh, kw), left.reshape(n, -1, 1, 1)

    @override
    def parts(self, shape: Shape, ranks: Sequence[Number]) -> tuple[Part, ...]:
        (n, c, *_), (rank,) = shape, ranks
        first = Part(read=c, written=rank, height=True, width=True)
        return first, Part(read=rank, written=n)


@final
class Spatial(Scheme):
    """(C kh) x (N kw): a kh x 1 convolution to r channels, then 1 x kw."""

    name = "spatial"
    reads_rows = True

    @override
    def matrices(self, weight: Tensor) -> Tensor:
        n, c, kh, kw = weight.shape
        return weight.permute(1, 2, 0, 3).reshape(1, c * kh, n * kw)

    @override
    def weight(self, matrices: Tensor, shape: Shape) -> Tensor:
        n, c, kh, kw = shape
        return matrices.reshape(c, kh, n, kw).permute(2, 0, 1, 3)

    @override
    def full_ranks(self, shape: Shape) -> Ranks:
        n, c, kh, kw = shape
        return (min(c * kh, n * kw),)

    @override
    def factors(self, left: Tensor, right: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
        n, c, kh, kw = shape
        vertical = left[0].mT.reshape(-1, c, kh, 1)
        horizontal = right[0].reshape(-1, n, kw).permute(1, 0, 2).unsqueeze(2)
        return vertical, horizontal

    @override
    def parts(self, shape: Shape, ranks: Sequence[Number]) -> tuple[Part, ...]:
        (n, c, *_), (rank,) = shape, ranks
        first = Part(read=c, written=rank, height=True)
        return first, Part(read=rank, written=n, width=True)


@final
class Decoupled(Scheme):
    """Each output filter as C x (kh kw): T sums of a pointwise, then a depthwise convolution.

    The T paths are one pair of layers: a 1 x 1 convolution to N T channels, then a convolution in N
    groups of T channels, which sums the paths. T is the largest rank over the filters.
    """

    name = "decoupled"
    reads_rows = True

    @override
    def matrices(self, weight: Tensor) -> Tensor:
        return weight.flatten(2)

    @override
    def weight(self, matrices: Tensor, shape: Shape) -> Tensor:
        return matrices.reshape(shape)

    @override
    def full_ranks(self, shape: Shape) -> Ranks:
        _, c, kh, kw = shape
        return (min(c, kh * kw),)

    @override
    def refuses(self, shape: Shape) -> str | None:
        return "1x1: nothing to decouple" if shape[2:] == (1, 1) else None

    @override
    def factors(self, left: Tensor, right: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
        n, c, kh, kw = shape
        return left.mT.reshape(-1, c, 1, 1), right.reshape(n, -1, kh, kw)

    @override
    def parts(self, shape: Shape, ranks: Sequence[Number]) -> tuple[Part, ...]:
        (n, c, *_), (rank,) = shape, ranks
        last = Part(read=n * rank, written=n, height=True, width=True, groups=n)
        return Part(read=c, written=n * rank), last


SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in (Channel(), Spatial(), Decoupled())}
