"""Rank rules: a layer's rank from its singular values, one layer at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trp_search.records import Energy, Evbmf, GavishDonoho, Keep, PerLayer, Ratio, Value


def ranks(keep: PerLayer, values: Tensor, *, longer: int) -> Tensor:
    """The rank of each row of (b, q) singular values, 0 to q.

    Args:
        keep: how much is kept.
        values: the largest first.
        longer: the matrices' longer side.
    """
    return RULES[type(keep)](keep, values, longer)


def most(keep: Keep, values: Tensor, *, longer: int) -> int:
    """The largest of `ranks`, at least 1."""
    assert isinstance(keep, PerLayer), keep
    return max(1, int(ranks(keep, values, longer=longer).max()))


def _energy(keep: Energy, values: Tensor, _: int) -> Tensor:
    """The smallest rank that keeps the share.

    Summing from the smallest value keeps the lost share exact and needs no host round-trip.
    """
    squares = values.square()
    tail = squares.flip(-1).cumsum(-1)
    return (tail > (1 - keep.energy) * squares.sum(-1, keepdim=True)).sum(-1)


def _value(keep: Value, values: Tensor, _: int) -> Tensor:
    """The number of singular values that reach a threshold (the reference code's final cut)."""
    return (values >= keep.value).sum(-1)


def _ratio(keep: Ratio, values: Tensor, _: int) -> Tensor:
    """The share of the full rank, rounded to the nearest from 1 up."""
    full = values.shape[-1]
    rank = max(1, math.floor(keep.ratio * full + 0.5))
    return torch.full(values.shape[:-1], rank, device=values.device)


def _evbmf(_: Evbmf, values: Tensor, longer: int) -> Tensor:
    """The number of singular values above the noise, whose variance is estimated as well.

    Empirical variational Bayesian matrix factorisation, the global analytic solution: Nakajima et
    al., JMLR 14 (2013), theorems 2 and 3; as a rank rule, Kim et al., arXiv 1511.06530.
    """
    rows = values.double().cpu().numpy()
    found = [_evbmf_rank(row, max(longer, len(row))) for row in rows]
    return torch.tensor(found, device=values.device)


def _gavish_donoho(_: GavishDonoho, values: Tensor, longer: int) -> Tensor:
    """The number of singular values above omega(beta) times their median.

    Gavish and Donoho, IEEE Trans. Inf. Theory 60 (2014), arXiv 1305.5870: equation 4, with the
    cubic of equation 5 for omega, within 0.01 of it.
    """
    beta = values.shape[-1] / max(longer, values.shape[-1])
    omega = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    return (values > omega * values.quantile(0.5, dim=-1, keepdim=True)).sum(-1)


RULES: dict[type[PerLayer], Callable[[Any, Tensor, int], Tensor]] = {
    Energy: _energy,
    Value: _value,
    Ratio: _ratio,
    Evbmf: _evbmf,
    GavishDonoho: _gavish_donoho,
}


def _evbmf_rank(values: NDArray[np.float64], longer: int) -> int:
    """The rank of one (L x M) matrix, L = len(values) <= M = longer."""
    values = values / max(values[0], np.finfo(float).tiny)
    count = len(values)
    alpha = count / longer
    # 2.5129 sqrt(alpha) approximates the zero of the equation that theorem 2 gives for tau.
    tau = 2.5129 * math.sqrt(alpha)
    edge = (1 + tau) * (1 + alpha / tau)
    squares = np.square(values) / longer

    def free_energy(noise: float) -> float:
        x = np.maximum(squares / noise, np.finfo(float).tiny)
        signal, rest = x[x > edge], x[x <= edge]
        centred = signal - (1 + alpha)
        t = 0.5 * (centred + np.sqrt(np.square(centred) - 4 * alpha))
        found = np.sum(signal - t + np.log((t + 1) / signal) + alpha * np.log(t / alpha + 1))
        return float(found + np.sum(rest - np.log(rest)))

    most = min(math.ceil(count / (1 + alpha)) - 1, count - 1)
    high = math.log(max(float(squares.mean()), np.finfo(float).tiny))
    low = max(squares[most] / edge, float(squares[most:].mean()), np.finfo(float).tiny)
    low = min(max(math.log(low), high + _LEAST_NOISE), high)
    # The free energy has several minima, and the noise may be small: search a logarithmic grid.
    grid = np.linspace(low, high, _GRID)
    best = int(np.argmin([free_energy(math.exp(noise)) for noise in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)])
    if bounds[0] < bounds[1]:
        from scipy.optimize import minimize_scalar  # noqa: PLC0415  slow to load, and few need it

        found = minimize_scalar(lambda x: free_energy(math.exp(x)), bounds=bounds, method="bounded")
        return int(np.sum(squares > edge * math.exp(found.x)))
    return int(np.sum(squares > edge * math.exp(high)))


_GRID = 200
_LEAST_NOISE = math.log(1e-16)
