"""Tucker-2: a kernel as a small one between two 1 x 1, each of which truncates a channel axis.

W (N, C, kh, kw) becomes a core (rank_out, rank_in, kh, kw) between orthonormal bases of its output
channels (N, rank_out) and of its input channels (C, rank_in). As layers: Kim et al., arXiv
1511.06530. The bases: De Lathauwer et al., SIAM J. Matrix Anal. Appl. 21 (2000), for each axis by
itself (HOSVD, pp. 1253-1278), then each for the other in turn (HOOI, pp. 1324-1342).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trp_search.lowrank.rules import ranks
from trp_search.lowrank.schemes import Extent, Shape
from trp_search.records import PerLayer

Number = TypeVar("Number", int, Tensor)


@dataclass(frozen=True, kw_only=True)
class Modes:
    """What a (N, C, kh, kw) kernel holds along its two channel axes, float64.

    Attributes:
        shape: the kernel's.
        values_in: (q_in,) singular values of the C x (N kh kw) unfolding, the largest first.
        values_out: (q_out,) those of the N x (C kh kw) one.
        lost: (q_in + 1, q_out + 1) share of the squared norm that HOSVD loses at each rank_in and
            rank_out from 0; `factorise` loses no more.
    """

    shape: Shape
    values_in: Tensor
    values_out: Tensor
    lost: Tensor

    def ranks(self, keep: PerLayer) -> tuple[int, int]:
        """The rank_in and rank_out that `keep` wants of the two unfoldings, at least 1."""
        n, c, kh, kw = self.shape
        found = (
            ranks(keep, self.values_in.unsqueeze(0), longer=max(c, n * kh * kw)),
            ranks(keep, self.values_out.unsqueeze(0), longer=max(n, c * kh * kw)),
        )
        rank_in, rank_out = (max(1, int(rank)) for rank in found)
        # What is beyond is nothing: see `useful`.
        return min(rank_in, rank_out * kh * kw), min(rank_out, rank_in * kh * kw)


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a pair of ranks costs: a factor each for rank_in, for rank_in * rank_out, for rank_out.

    Three layers do not cost in proportion to one rank, as two do.
    """

    first: int
    core: int
    last: int

    def of(self, rank_in: Number, rank_out: Number) -> Number:
        """The cost of a pair, or of pairs, without the bias."""
        return self.first * rank_in + self.core * rank_in * rank_out + self.last * rank_out


def macs(shape: Shape, extents: Iterable[Extent]) -> Price:
    """Multiply-adds for one image, over all calls of the layer."""
    n, c, kh, kw = shape
    extents = list(extents)
    before = sum(extent.height_in * extent.width_in for extent in extents)
    after = sum(extent.height_out * extent.width_out for extent in extents)
    return Price(first=c * before, core=kh * kw * after, last=n * after)


def parameters(shape: Shape) -> Price:
    """Weights."""
    n, c, kh, kw = shape
    return Price(first=c, core=kh * kw, last=n)


def refuses(shape: Shape) -> str | None:
    """Why a kernel of this shape has no such factors, or None."""
    return "1x1: nothing between its two channel axes" if shape[2:] == (1, 1) else None


def useful(shape: Shape, rank_in: Tensor, rank_out: Tensor) -> Tensor:
    """Whether neither rank exceeds what the other and the kernel's area leave of its axis.

    One that does pays for directions in which the kernel that comes of it has nothing.
    """
    area = shape[2] * shape[3]
    return (rank_out <= rank_in * area) & (rank_in <= rank_out * area)


def full_ranks(shape: Shape) -> tuple[int, int]:
    """The least rank_in and rank_out at which nothing is lost."""
    n, c, kh, kw = shape
    return min(c, n * kh * kw), min(n, c * kh * kw)


@torch.no_grad()
def modes(weight: Tensor) -> Modes:
    """The spectra of a (N, C, kh, kw) weight's channel axes, and what each pair of ranks loses."""
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

    Computed in float64; returned as `weight` is.

    Args:
        weight: (N, C, kh, kw).
        rank_in: 1 to C.
        rank_out: 1 to N.
        sweeps: at most as many. On Gaussian kernels, the hardest, 5 gain 96 % of what 60 do.

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
    """The share of a weight's squared norm that its `core` has; 1 of nothing."""
    total = float(weight.double().square().sum())
    return float(core.double().square().sum()) / total if total > 0 else 1.0


def layers(
    module: nn.Conv2d, *, rank_in: int, rank_out: int
) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
    """The three layers, untrained, that stand in for `module`.

    The first has no bias, so that what the second pads with is what `module` pads with.
    """
    (kh, kw), (sh, sw), (dh, dw) = module.kernel_size, module.stride, module.dilation
    core = nn.Conv2d(
        rank_in,
        rank_out,
        (kh, kw),
        stride=(sh, sw),
        padding=_padding(module),
        dilation=(dh, dw),
        bias=False,
        padding_mode=module.padding_mode,
    )
    first = nn.Conv2d(module.in_channels, rank_in, 1, bias=False)
    return first, core, nn.Conv2d(rank_out, module.out_channels, 1, bias=module.bias is not None)


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


def _padding(module: nn.Conv2d) -> str | tuple[int, int]:
    if isinstance(module.padding, str):
        return module.padding
    height, width = module.padding
    return height, width
