"""Truncated SVD of many matrices at once, through the Gram matrix of their smaller side.

For M (m x n, m <= n) with M M^T = Q diag(s^2) Q^T, Q_k Q_k^T M is the truncated SVD and, with the
rows of Q_k^T M scaled to length one, Q_k times them is U_k V_k^T. This needs neither V nor an SVD:
its price is an eigendecomposition of the smaller side. The squares are enough for energies; what
needs s itself reads it from the rows, whose lengths do not suffer from the squaring.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """Squared singular values and left vectors of a batch of matrices, smallest value first.

    Attributes:
        squares: (b, m) squared singular values, ascending.
        vectors: (b, m, m) columns are the left singular vectors.
        matrices: (b, m, n) what they are of.
    """

    squares: Tensor
    vectors: Tensor
    matrices: Tensor

    def kept(self, energy: float) -> Tensor:
        """(b, m) mask of the values that a truncation at `energy` keeps.

        What is left out holds at most 1 - energy of the sum of squares. Summing from the smallest
        keeps that small share exact, and no host round-trip is needed.
        """
        return self.squares.cumsum(-1) > (1 - energy) * self.squares.sum(-1, keepdim=True)

    def rows(self) -> Tensor:
        """(b, m, n) row i is singular value i times its right singular vector."""
        return self.vectors.mT @ self.matrices

    def truncated(self, kept: Tensor) -> Tensor:
        """(b, m, n) the matrices with only the singular values of the (b, m) mask `kept`."""
        masked = self.vectors * kept.unsqueeze(-2)
        return masked @ self.vectors.mT @ self.matrices

    def polar(self, kept: Tensor) -> Tensor:
        """(b, m, n) sum of u_i v_i^T over the mask `kept`, without numerically zero values.

        Zero is where `torch.linalg.matrix_rank` has it: largest value * max(m, n) * epsilon.
        """
        rows = self.rows()
        values = torch.linalg.vector_norm(rows, dim=-1)
        tolerance = max(rows.shape[-2:]) * torch.finfo(rows.dtype).eps
        nonzero = values > values.amax(-1, keepdim=True) * tolerance
        scale = torch.where(kept & nonzero, values.reciprocal(), 0.0)
        return self.vectors @ (scale.unsqueeze(-1) * rows)


def spectra(matrices: Tensor) -> Spectra:
    """The spectra of (b, m, n) `matrices` with m <= n."""
    assert matrices.shape[1] <= matrices.shape[2], matrices.shape
    squares, vectors = torch.linalg.eigh(matrices @ matrices.mT)
    return Spectra(squares=squares.clamp_min(0), vectors=vectors, matrices=matrices)


def wide(matrices: Tensor) -> tuple[Tensor, bool]:
    """`matrices` (b, m, n), transposed if needed so that m <= n, and whether they were."""
    transposed = matrices.shape[1] > matrices.shape[2]
    return (matrices.mT if transposed else matrices), transposed
