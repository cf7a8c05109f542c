"""Tucker-2: a kernel as a small core between two 1 x 1, each of which truncates a channel axis.

W (N, C, kh, kw) becomes a core (rank_out, rank_in, kh, kw) between orthonormal bases of its output
channels (N, rank_out) and of its input channels (C, rank_in). As layers: Kim et al., arXiv
1511.06530. The bases: De Lathauwer et al., SIAM J. Matrix Anal. Appl. 21 (2000), for each axis
alone (HOSVD, pp. 1253-1278), then alternately given the other (HOOI, pp. 1324-1342).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from trp_search.lowrank.factoring import Bottleneck, Number, Ranks
from trp_search.lowrank.kernels import Part, Shape
from trp_search.lowrank.rules import most
from trp_search.records import Keep


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Spectra of a (N, C, kh, kw) kernel along its two channel axes, float64.

    Attributes:
        shape: the kernel's.
        values_in: (q_in,) singular values of the C x (N kh kw) unfolding, the largest first.
        values_out: (q_out,) singular values of the N x (C kh kw) unfolding.
        lost: (q_in + 1, q_out + 1) share of the squared norm that HOSVD loses at each rank_in and
            rank_out from 0; `factorise` loses no more.
    """

    shape: Shape
    values_in: Tensor
    values_out: Tensor
    lost: Tensor

    def ranks(self, keep: Keep) -> tuple[int, int]:
        """The rank_in and rank_out that `keep` gives for the two unfoldings, at least 1."""
        n, c, kh, kw = self.shape
        rank_in = most(keep, self.values_in.unsqueeze(0), longer=max(c, n * kh * kw))
        rank_out = most(keep, self.values_out.unsqueeze(0), longer=max(n, c * kh * kw))
        # Ranks beyond these add nothing: see `useful`.
        return min(rank_in, rank_out * kh * kw), min(rank_out, rank_in * kh * kw)


@final
class TuckerFactoring(Bottleneck):
    """1 x 1 to rank_in channels, the kernel's own convolution to rank_out, then 1 x 1.

    The cost of three layers is not proportional to one rank, unlike that of two.
    """

    name = "tucker"

    @override
    def full_ranks(self, shape: Shape) -> Ranks:
        return full_ranks(shape)

    @override
    def between(self, ranks: Sequence[Number]) -> tuple[Part, ...]:
        return (Part(read=ranks[0], written=ranks[1], height=True, width=True),)

    @override
    def useful(self, shape: Shape, ranks: Tensor) -> Tensor:
        """The ranks where neither exceeds the other times the kernel's area."""
        (rank_in, rank_out), area = ranks.unbind(1), shape[2] * shape[3]
        return ranks[(rank_out <= rank_in * area) & (rank_in <= rank_out * area)]


def full_ranks(shape: Shape) -> tuple[int, int]:
    """The least rank_in and rank_out at which nothing is lost."""
    n, c, kh, kw = shape
    return min(c, n * kh * kw), min(n, c * kh * kw)


@torch.no_grad()
def modes(weight: Tensor) -> Modes:
    """The spectra of a (N, C, kh, kw) weight's channel axes, and the loss of each pair of ranks."""
    n, c, kh, kw = weight.shape
    shape = n, c, kh, kw
    full_in, full_out = full_ranks(shape)
    kernel = weight.double()
    squares_in, basis_in = _axis(kernel, 1)
    squares_out, basis_out = _axis(kernel, 0)
    core = _along(_along(kernel, basis_out[:, :full_out], 0), basis_in[:, :full_in], 1)
    energies = core.square().sum((2, 3)).mT
    kept = functional.pad(energies.cumsum(0).cumsum(1), (1, 0, 1, 0))
    total = kept[-1, -1]
    return Modes(
        shape=shape,
        values_in=squares_in[:full_in].sqrt(),
        values_out=squares_out[:full_out].sqrt(),
        lost=(total - kept).clamp_min(0) / total.clamp_min(torch.finfo(kept.dtype).tiny),
    )


@torch.no_grad()
def factorise(
    weight: Tensor, *, rank_in: int, rank_out: int, sweeps: int = 5
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the three layers: HOSVD, then sweeps of HOOI, none of which keeps less.

    Computed in float64; returned in the dtype of `weight`.

    Args:
        weight: (N, C, kh, kw).
        rank_in: 1 to C.
        rank_out: 1 to N.
        sweeps: the most sweeps. On Gaussian kernels, the hardest, 5 gain 96 % of what 60 do.

    Returns:
        (rank_in, C, 1, 1) with orthonormal rows, the (rank_out, rank_in, kh, kw) core, and
        (N, rank_out, 1, 1) with orthonormal columns.
    """
    assert 1 <= rank_in <= weight.shape[1], rank_in
    assert 1 <= rank_out <= weight.shape[0], rank_out
    kernel = weight.double()
    least = _STILL * float(kernel.square().sum())
    basis_in, basis_out = _axis(kernel, 1)[1][:, :rank_in], _axis(kernel, 0)[1][:, :rank_out]
    core = _along(_along(kernel, basis_out, 0), basis_in, 1)
    for _ in range(sweeps):
        kept = float(core.square().sum())
        basis_out = _axis(_along(kernel, basis_in, 1), 0)[1][:, :rank_out]
        half = _along(kernel, basis_out, 0)
        basis_in = _axis(half, 1)[1][:, :rank_in]
        core = _along(half, basis_in, 1)
        if float(core.square().sum()) - kept <= least:
            break
    parts = basis_in.mT[:, :, None, None], core, basis_out[:, :, None, None]
    first, core, last = (part.to(weight.dtype) for part in parts)
    return first, core, last


def retained(weight: Tensor, core: Tensor) -> float:
    """The share of a weight's squared norm in its `core`; 1 for a zero weight."""
    total = float(weight.double().square().sum())
    return float(core.double().square().sum()) / total if total > 0 else 1.0


_STILL = 1e-9


def _axis(kernel: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Squared singular values of the unfolding along `axis`, the largest first; left vectors."""
    unfolded = kernel.movedim(axis, 0).flatten(1)
    squares, vectors = torch.linalg.eigh(unfolded @ unfolded.mT)
    return squares.clamp_min(0).flip(-1), vectors.flip(-1)


def _along(kernel: Tensor, basis: Tensor, axis: int) -> Tensor:
    """`kernel` in the coordinates of `basis` (size, rank) along `axis`."""
    found: Tensor = torch.tensordot(basis, kernel, dims=([0], [axis]))
    return found.movedim(0, axis)
