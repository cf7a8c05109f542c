"""The gradient of a truncated SVD: how a truncation moves with its matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from trp_search.lowrank.truncation import Spectra


def pulled_back(found: Spectra, kept: Tensor, gradient: Tensor) -> Tensor:
    """(b, m, n) the gradient by the matrices, from the `gradient` by their truncations.

    With P = sum of u_i u_i^T over the kept i, the truncation is P M. It moves by P dM and, as P
    turns with the eigenvectors of M M^T, by dP M, where

        u_i^T dP u_j = u_i^T (dM M^T + M dM^T) u_j / (s_i^2 - s_j^2)

    for i kept and j dropped, or the other way round; within either set P does not move. So for a
    gradient G by P M, with R = U^T M, C = U^T G R^T and a weight F_ij = F_ji = 1 / (s_i^2 - s_j^2)
    between i kept and j dropped, 0 elsewhere, the gradient by M is P G + U ((C + C^T) * F) R.

    Where s_j is nearly s_i the true gradient grows without bound; s_j^2 / s_i^2 is clipped
    (Decomposable-Net, arXiv 1910.13141v3), so this gradient is finite.

    Args:
        found: all left singular vectors of the matrices, and their squared values.
        kept: (b, m) mask of the values that the truncations keep: the largest.
        gradient: (b, m, n) by the truncations.
    """
    rows = found.rows()
    turned = found.vectors.mT @ gradient
    cross = turned @ rows.mT
    turning = (cross + cross.mT) * _inverse_gaps(found.squares, kept)
    return found.vectors @ (kept.unsqueeze(-1) * turned + turning @ rows)


def _inverse_gaps(squares: Tensor, kept: Tensor) -> Tensor:
    """(b, m, m) F of `pulled_back`."""
    # Squares below this are rounding errors; 1e-30 is for matrices of zeros.
    noise = torch.finfo(squares.dtype).eps * squares.amax(-1, keepdim=True)
    large = squares.maximum(noise).clamp_min(1e-30).unsqueeze(-1)
    ratio = (squares.unsqueeze(-2) / large).clamp_max(_CLIP)
    between = kept.unsqueeze(-1) & ~kept.unsqueeze(-2)
    inverse = torch.where(between, (large * (1 - ratio)).reciprocal(), 0.0)
    return inverse + inverse.mT


_CLIP = 0.99
