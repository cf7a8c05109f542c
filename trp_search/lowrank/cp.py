"""CP: a kernel as a sum of R outer products of one vector along each of its four axes.

W[n, c, i, j] is about sum_r A[n, r] B[c, r] H[i, r] V[j, r], so four layers replace one: 1 x 1 to R
channels, depthwise kh x 1 and 1 x kw, then 1 x 1 (Lebedev et al., arXiv 1412.6553). Fits may be
degenerate: products grow without bound and cancel, which no later stage survives. So the squared
norms of the products add up to a bound at most (Phan et al., ECCV 2020, arXiv 2008.05441). The
axes take turns, each by a ridge regression whose multiplier meets the bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from trp_search import records
from trp_search.lowrank import rules
from trp_search.lowrank.analysis import ByWeights, Candidate, losses_at
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.factoring import Bottleneck, Number, Ranks
from trp_search.lowrank.kernels import Part, Shape, kernel

_HALVINGS = 60
_FITS = 6  # ranks at which a layer's loss is measured; interpolated between them


@torch.no_grad()
def fit(weight: Tensor, rank: int, *, bound: float = 10.0, sweeps: int = 30) -> tuple[Tensor, ...]:
    """Factors (N, R), (C, R), (kh, R), (kw, R) of a (N, C, kh, kw) weight, by alternation, float64.

    The last three have unit columns, and the squared norm of the first factor is at most `bound`
    times the weight's; 1 would do for orthogonal products. No sweep loses more than the one before.
    """
    slices = weight.double().flatten(2).permute(2, 0, 1)  # (kh kw, N, C)
    most = bound * slices.square().sum() + 1e-300
    generator = torch.Generator().manual_seed(0)
    first = [torch.randn(size, rank, generator=generator).to(slices) for size in weight.shape]
    a, b, h, v = (factor / torch.linalg.vector_norm(factor, dim=0) for factor in first)

    def step(products: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """The best factor given `others`, and its unit columns."""
        gram = torch.stack([other.mT @ other for other in others]).prod(0)
        factor = _ridge(products, gram, most=most)
        length = torch.linalg.vector_norm(factor, dim=0)
        return factor, torch.where(length > 0, factor / length, 0.0)

    for _ in range(sweeps):
        a = step(((slices @ b) * _taps(h, v)).sum(0), b, h, v)[1]
        b = step(((slices.mT @ a) * _taps(h, v)).sum(0), a, h, v)[1]
        inner = (a * (slices @ b)).sum(1).reshape(len(h), len(v), rank)  # (kh, kw, R)
        h = step((inner * v).sum(1), a, b, v)[1]
        v = step((inner * h.unsqueeze(1)).sum(0), a, b, h)[1]
    return step(((slices @ b) * _taps(h, v)).sum(0), b, h, v)[0], b, h, v


def lost_by(weight: Tensor, factors: Sequence[Tensor]) -> float:
    """The share of a weight's squared norm that the sum of products misses."""
    a, b, h, v = (factor.double() for factor in factors)
    made = torch.einsum("nr,cr,tr->nct", a, b, _taps(h, v).squeeze(1)).reshape(weight.shape)
    whole = weight.double()
    return float((whole - made).square().sum() / (whole.square().sum() + 1e-300))


def _taps(h: Tensor, v: Tensor) -> Tensor:
    """(kh kw, 1, R) values of the products at each tap."""
    return (h.unsqueeze(1) * v).flatten(0, 1).unsqueeze(1)


def _ridge(products: Tensor, gram: Tensor, *, most: Tensor) -> Tensor:
    """The (m, R) factor X with the least squared error whose squared norm is at most `most`.

    X (G + t) = P for the least t from 0. With G = Q diag(g) Q^T the squared norm of X is the sum of
    |(P Q)_k|^2 / (g_k + t)^2, which falls with t.
    """
    low = gram.trace() * torch.finfo(gram.dtype).eps + 1e-300
    root, failed = torch.linalg.cholesky_ex(gram + low * torch.eye(len(gram)).to(gram))
    if not failed:
        free = torch.cholesky_solve(products.mT, root).mT
        if free.square().sum() <= most:
            return free
    values, vectors = torch.linalg.eigh(gram)
    values, turned = values.clamp_min(0), products @ vectors
    energies = turned.square().sum(0)
    high = low + (energies.sum() / most).sqrt()
    for _ in range(_HALVINGS):
        middle = (low * high).sqrt()
        over = (energies / (values + middle).square()).sum() > most
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    bounded: Tensor = (turned / (values + high)) @ vectors.mT
    return bounded


@final
class CpFactoring(Bottleneck):
    """Two depthwise layers between two 1 x 1."""

    name = "cp"

    @override
    def full_ranks(self, shape: Shape) -> Ranks:
        """One product per index over all axes but the longest is exact for every kernel."""
        return (math.prod(shape) // max(shape),)

    @override
    def between(self, ranks: Sequence[Number]) -> tuple[Part, ...]:
        (rank,) = ranks
        vertical = Part(read=rank, written=rank, height=True, groups=rank)
        return vertical, Part(read=rank, written=rank, width=True, groups=rank)


@final
@dataclass(frozen=True, kw_only=True)
class Products(Candidate):
    """One layer as four; `lost` is the (q + 1,) share of squared norm lost at each rank."""

    lost: Tensor

    @property
    @override
    def values(self) -> Tensor:
        """The gain of each rank, in the role of a singular value."""
        energy = kernel(self.layer.module).double().square().sum().cpu()
        return (-self.lost.diff() * energy).sqrt()

    @override
    def wanted(self, keep: records.Keep) -> Ranks:
        return (rules.most(keep, self.values.unsqueeze(0), longer=len(self.values)),)

    @override
    def losses(self, ranks: Tensor) -> Mapping[str, Tensor]:
        return losses_at(ranks, lost=self.lost, values=self.values)

    @override
    def factors(self, ranks: Ranks) -> tuple[Tensor, ...]:
        weight = kernel(self.layer.module)
        a, *others = fit(weight, *ranks)
        length = torch.linalg.vector_norm(a, dim=0).clamp_min(1e-30)
        parts = [*((factor * length**0.25).mT for factor in others), a / length * length**0.25]
        return tuple(part.to(weight.dtype) for part in parts)

    @override
    def kept(self, parts: Sequence[Tensor], at_cost: Mapping[str, float]) -> Mapping[str, float]:
        *others, a = parts
        found = lost_by(kernel(self.layer.module), [a, *(part.mT for part in others)])
        return {"cp": max(0.0, 1 - found)}


@final
class CpDecomposition(ByWeights):
    """Four layers for each convolution wider than 1 x 1."""

    factorings = (CpFactoring(),)

    @override
    def candidate(self, layer: MeasuredLayer) -> Products:
        return Products(layer=layer, lost=_curve(layer))


def _curve(layer: MeasuredLayer) -> Tensor:
    """(q + 1,) loss at each rank: measured at a few ranks that could save, else interpolated."""
    (full,), weight = layer.full_ranks, kernel(layer.module)
    most = max(1, min(full - 1, layer.dense_macs // layer.macs((1,))))
    ranks = sorted({round(rank) for rank in np.geomspace(1, most, _FITS)})
    found = [1.0, *(lost_by(weight, fit(weight, rank)) for rank in ranks), 0.0]
    places, lost = np.log([0.5, *ranks, full]), np.minimum.accumulate(found)
    between = np.interp(np.log(np.arange(1, full + 1)), places, lost)
    return torch.from_numpy(np.concatenate([[1.0], between]))
