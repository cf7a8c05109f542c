"""Truncated SVD of many matrices at once, through the Gram matrix of their smaller side.

For M (m x n, m <= n) with M M^T = Q diag(s^2) Q^T, Q_k Q_k^T M is the truncated SVD and, with the
rows of Q_k^T M scaled to length one, Q_k times them is U_k V_k^T. This needs neither V nor an SVD:
its price is an eigendecomposition of the smaller side. The squares suffice for energies; s itself
is the length of the rows, which do not suffer from the squaring.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """Squared singular values and left vectors of a batch of matrices, smallest value first.

    Attributes:
        squares: (b, q) squared singular values, ascending.
        vectors: (b, m, q) columns are the left singular vectors.
        matrices: (b, m, n) the matrices themselves, perhaps in a lower precision that holds them.
        weighted: whether the vectors are of another norm, so that `rows` are not orthogonal.
    """

    squares: Tensor
    vectors: Tensor
    matrices: Tensor
    weighted: bool = False

    @property
    def _exact(self) -> Tensor:
        return self.matrices.to(self.vectors.dtype)

    def rows(self) -> Tensor:
        """(b, q, n) row i is singular value i times its right singular vector."""
        return self.vectors.mT @ self._exact

    def truncated(self, kept: Tensor) -> Tensor:
        """(b, m, n) the matrices with only the singular values of the (b, q) mask `kept`."""
        masked = self.vectors * kept.unsqueeze(-2)
        return masked @ self.vectors.mT @ self._exact

    def last(self, ranks: Tensor) -> Tensor:
        """(b, q) mask of the `ranks` (b,) largest values of each matrix."""
        width = self.squares.shape[-1]
        places = torch.arange(width, 0, -1, device=ranks.device)
        return places <= ranks.unsqueeze(-1)

    def lost(self, *, layers: int) -> Tensor:
        """(layers, q + 1) share of the squared values beyond each rank from 0.

        Each of the `layers` layers has one rank and the same number of matrices.
        """
        squares = self.squares.reshape(layers, -1, self.squares.shape[-1]).sum(1)
        return beyond(squares)

    def values(self) -> Tensor:
        """(b, q) singular values, the largest first."""
        return self.squares.sqrt().flip(-1)

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """(b, m, r) and (b, r, n), scales balanced: their product is the truncation at `rank`."""
        start = self.squares.shape[-1] - rank
        vectors = self.vectors[:, :, start:]
        rows = vectors.mT @ self._exact
        scale = torch.linalg.vector_norm(rows, dim=-1).clamp_min(1e-30).sqrt()
        return vectors * scale.unsqueeze(-2), rows / scale.unsqueeze(-1)

    def polar(self, kept: Tensor) -> Tensor:
        """(b, m, n) sum of u_i v_i^T of the truncation by the mask `kept`: its polar factor.

        Numerically zero values are left out. The threshold is that of `torch.linalg.matrix_rank`:
        largest value * max(m, n) * epsilon; for `weighted` vectors it is of the squares.
        """
        rows = self.rows()
        if self.weighted:
            rows = rows * kept.unsqueeze(-1)
            return self.vectors @ _orthogonal(rows)
        values = torch.linalg.vector_norm(rows, dim=-1)
        tolerance = max(rows.shape[-2:]) * torch.finfo(rows.dtype).eps
        nonzero = values > values.amax(-1, keepdim=True) * tolerance
        scale = torch.where(kept & nonzero, values.reciprocal(), 0.0)
        return self.vectors @ (scale.unsqueeze(-1) * rows)


def _orthogonal(rows: Tensor) -> Tensor:
    """(b, q, n) (R R^T)^(-1/2) R of (b, q, n) `rows`, without numerically zero directions."""
    squares, axes = torch.linalg.eigh(rows @ rows.mT)
    tolerance = max(rows.shape[-2:]) * torch.finfo(rows.dtype).eps
    nonzero = squares > squares.amax(-1, keepdim=True) * tolerance
    scale = torch.where(nonzero, squares.clamp_min(0).rsqrt(), 0.0)
    found: Tensor = (axes * scale.unsqueeze(-2)) @ axes.mT @ rows
    return found


def beyond(squares: Tensor) -> Tensor:
    """(l, q + 1) share of (l, q) ascending `squares` that lies beyond each rank from 0."""
    tails = functional.pad(squares.cumsum(-1), (1, 0)).flip(-1)
    return tails / tails[:, :1].clamp_min(torch.finfo(tails.dtype).tiny)


def spectra(matrices: Tensor) -> Spectra:
    """The spectra of (b, m, n) `matrices` with m <= n."""
    assert matrices.shape[1] <= matrices.shape[2], matrices.shape
    squares, vectors = torch.linalg.eigh(matrices @ matrices.mT)
    return Spectra(squares=squares.clamp_min(0), vectors=vectors, matrices=matrices)


def sketch(values: Tensor) -> tuple[float, ...]:
    """At most 32 values, the largest first, evenly spaced from first to last, over the first."""
    shares = values / values[0].clamp_min(torch.finfo(values.dtype).tiny)
    places = torch.linspace(0, len(values) - 1, min(_SKETCHED, len(values))).round().long()
    return tuple(float(f"{share:.3g}") for share in shares[places.to(shares.device)].tolist())


_SKETCHED = 32


def wide(matrices: Tensor) -> tuple[Tensor, bool]:
    """`matrices` (b, m, n), transposed if needed so that m <= n, and whether they were."""
    transposed = matrices.shape[1] > matrices.shape[2]
    return (matrices.mT if transposed else matrices), transposed


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Second moments of a layer's inputs, or of its outputs for them, without the bias.

    Attributes:
        matrix: (d, d), any scale; or (g, d, d), where every b / g of b matrices read other inputs;
            or (l, g, d, d) of l layers, zero where unknown, which are then as if alone.
        of_outputs: whether the moments are of outputs, which are smaller and enough where there are
            as many as matrices.
    """

    matrix: Tensor
    of_outputs: bool


def weighted_spectra(matrices: Tensor, moments: Moments) -> Spectra:
    """The spectra of (b, m, n) `matrices` in the norm of their outputs.

    With second moments A (n x n) of the inputs, ||(M - M') A^(1/2)||_F is the error of the outputs.
    The best M' of rank k is U_k U_k^T M, U_k the first eigenvectors of M A M^T, which are the
    second moments of the outputs (PCA of responses: Zhang et al., arXiv 1505.06798, section 3.1).

    `squares` sum to the plain ones, so white inputs give plain spectra. White inputs of the same
    weight are mixed in (shrinkage): directions that no input takes are ranked by the weights, and a
    few hundred images do not decide alone (results/cuts has the measurement).
    """
    plain = matrices @ matrices.mT
    known = moments.matrix.to(matrices)
    layers = known.shape[:-3]
    blocks = known.reshape(*layers, -1, *known.shape[-2:])
    energy = _traces(plain).reshape(*layers, -1).sum(-1)
    _, height, width = matrices.shape
    if moments.of_outputs:
        outputs = plain.reshape(blocks.shape)
        mixed = _scaled(blocks, energy, outputs) + _WHITE * outputs
        squares, vectors = torch.linalg.eigh(mixed.reshape(plain.shape))
    else:
        white = torch.eye(width, dtype=matrices.dtype, device=matrices.device)
        inputs = _scaled(blocks, blocks.shape[-3] * white.trace(), white) + _WHITE * white
        inputs = inputs.reshape(known.shape)
        if height <= width:
            weighted = matrices.reshape(*known.shape[:-2], -1, width) @ inputs
            squares, vectors = torch.linalg.eigh(weighted.reshape(matrices.shape) @ matrices.mT)
        else:
            squares, vectors = _tall(matrices, inputs)
    squares = squares.clamp_min(0)
    found = squares.reshape(*layers, -1)
    scale = energy / found.sum(-1).clamp_min(torch.finfo(squares.dtype).tiny)
    squares = (found * scale.unsqueeze(-1)).reshape(squares.shape)
    return Spectra(squares=squares, vectors=vectors, matrices=matrices, weighted=True)


_WHITE = 1.0


def _tall(matrices: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """`eigh` of M A M^T, without the zero values, through the smaller side."""
    if inputs.dim() > 2:
        inputs = inputs.flatten(0, -3)
        inputs = inputs.repeat_interleave(len(matrices) // len(inputs), 0)
    values, axes = torch.linalg.eigh(inputs)
    root = axes * values.clamp_min(_WHITE).sqrt().unsqueeze(-2)
    squares, right = torch.linalg.eigh(root.mT @ matrices.mT @ matrices @ root)
    # QR keeps the spans of the first k columns, so the largest values go first.
    left = torch.linalg.qr((matrices @ root @ right).flip(-1)).Q
    return squares, left.flip(-1)


def _scaled(found: Tensor, trace: Tensor, fallback: Tensor) -> Tensor:
    """(..., g, d, d) `found` with the given trace; `fallback`, which has it, where it is zero."""
    own = _traces(found).sum(-1)
    factor, known = (x[..., None, None, None] for x in (trace / own, own > 0))
    return torch.where(known, found * factor, fallback)


def _traces(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
