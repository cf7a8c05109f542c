"""The order in which a group's channels leave, and what their leaving loses.

Sources: `lasso`, He et al., ICCV 2017 (arXiv 1707.06168); `thinet`, Luo et al., ICCV 2017 (arXiv
1707.06342); `bn-scale`, Liu et al., ICCV 2017 (arXiv 1708.06519).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trp_search import records
from trp_search.lowrank.coupled import Group
from trp_search.lowrank.kernels import is_adjoint, kernel

# By reader: (d, d) second moments of what it reads, inputs first, taps within them.
Moments = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A group's units as they leave.

    Attributes:
        order: (units,) the first to leave first.
        loss: (units,) not falling; entry j is of the network without the first j.
    """

    order: Tensor
    loss: Tensor


def ranking(
    network: nn.Module, group: Group, criterion: records.Criterion, moments: Moments
) -> Ranking | str:
    """How the units of `group` rank by `criterion`, or why they do not."""
    if criterion == "leading":
        return by_place(network, group)
    if criterion in ("magnitude", "bn-scale"):
        scores = (_magnitudes if criterion == "magnitude" else _scales)(network, group)
        return _by_score(scores) if scores is not None else "no batch norm scales it"
    gram = _gram(network, group, moments)
    if gram is None:
        return "no layer reads it whose outputs could be fitted"
    if not gram.any():  # all that read it answer zero, without any unit as well
        return Ranking(order=torch.arange(group.units), loss=gram.new_zeros(group.units))
    order = (_by_lasso if criterion == "lasso" else _by_greed)(gram)
    return Ranking(order=order, loss=_lost(gram, order))


def by_place(network: nn.Module, group: Group) -> Ranking:
    """The last unit leaves first; what is lost is the largest magnitude of those that left."""
    scores = _magnitudes(network, group).flip(0).cummax(0).values
    order = torch.arange(group.units).flip(0)
    return Ranking(order=order, loss=torch.cat([scores.new_zeros(1), scores[:-1]]))


def _by_score(scores: Tensor) -> Ranking:
    found = scores.sort(stable=True)
    return Ranking(order=found.indices, loss=torch.cat([scores.new_zeros(1), found.values[:-1]]))


def _magnitudes(network: nn.Module, group: Group) -> Tensor:
    """The length of each unit's weights over the mean, averaged over the group's layers."""
    found = []
    for places, reads in ((group.written, False), (group.read, True)):
        for name, each in places.items():
            module = network.get_submodule(name)
            weight = module.weight
            assert isinstance(weight, Tensor)
            weight = weight.detach().double().cpu()
            rows = weight.movedim(1, 0) if reads != is_adjoint(module) else weight
            lengths = rows.flatten(1)[each].flatten(1).norm(dim=1)
            found.append(lengths / lengths.mean().clamp_min(_TINY))
    return torch.stack(found).mean(0)


def _scales(network: nn.Module, group: Group) -> Tensor | None:
    """The mean scale of each unit's batch norms; None without any."""
    found = []
    for name, each in group.beside.items():
        module = network.get_submodule(name)
        if isinstance(module, _BatchNorm) and module.affine:
            found.append(module.weight.detach().double().cpu().abs()[each].mean(1))
    return torch.stack(found).mean(0) if found else None


def columns(module: nn.Module, places: Tensor) -> Tensor:
    """(..., n taps) columns of a layer's kernel, as a matrix, that read these inputs."""
    taps = kernel(module).flatten(2).shape[2] if kernel(module).dim() > 2 else 1
    return (places.unsqueeze(-1) * taps + torch.arange(taps)).flatten(-2)


def _gram(network: nn.Module, group: Group, moments: Moments) -> Tensor | None:
    """(units, units) products of what units add to the readers' outputs, over the outputs' square.

    Summed over all readers whose moments are known; None if there are none.
    """
    found = []
    for name, each in group.read.items():
        if name not in moments:
            continue
        module = network.get_submodule(name)
        weight = kernel(module).flatten(1).double()
        at = columns(module, each)
        products = (weight.T @ weight * moments[name])[at.flatten()][:, at.flatten()]
        size = at.shape[1]
        products = products.reshape(group.units, size, group.units, size).sum((1, 3)).cpu()
        found.append(products / products.sum().clamp_min(_TINY))
    return torch.stack(found).mean(0) if found else None


def _by_lasso(gram: Tensor) -> Tensor:
    """Units in the reverse of the order in which the path of the LASSO takes them in."""
    from sklearn.linear_model import lars_path_gram  # noqa: PLC0415  a second, and few need it

    units = len(gram)
    steady = gram + torch.eye(units, dtype=gram.dtype) * (_RIDGE * gram.diagonal().mean())
    _, _, path = lars_path_gram(
        gram.sum(1).numpy(),
        steady.numpy(),
        n_samples=1,
        method="lasso",
        alpha_min=0.0,
        max_iter=_STEPS * units,  # by default 500: units beyond would tie
    )
    entered = np.where((path != 0).any(1), (path != 0).argmax(1), path.shape[1])
    return torch.from_numpy(entered).sort(stable=True, descending=True).indices


def _by_greed(gram: Tensor) -> Tensor:
    """Units as they leave: each time the one without which the readers' outputs lose least."""
    left = torch.ones(len(gram), dtype=torch.bool)
    lost, found = gram.new_zeros(len(gram)), []
    for _ in range(len(gram)):
        more = torch.where(left, 2 * lost + gram.diagonal(), torch.inf)
        unit = int(more.argmin())
        left[unit] = False
        lost += gram[unit]
        found.append(unit)
    return torch.tensor(found)


def _lost(gram: Tensor, order: Tensor) -> Tensor:
    """The share of the outputs that the best scales of the units left do not explain."""
    kept = order.flip(0)
    matrix = gram[kept][:, kept]
    matrix += torch.eye(len(gram), dtype=gram.dtype) * (_RIDGE * gram.diagonal().mean())
    lower = torch.linalg.cholesky(matrix)
    wanted = gram.sum(1)[kept].unsqueeze(1)
    parts = torch.linalg.solve_triangular(lower, wanted, upper=False).squeeze(1).square()
    total = gram.sum().clamp_min(_TINY)
    lost = 1 - parts.cumsum(0).flip(0) / total
    return torch.cummax(lost.clamp_min(0.0), 0).values


def fitted(weight: Tensor, moments: Tensor, kept: Tensor) -> Tensor:
    """(N, n) weights of the `kept` columns that answer most like the (N, d) `weight`.

    Least squares, held near the weights that these columns have.
    """
    both = moments[kept]
    own = both[:, kept]
    # Moments are sums of products in single precision, which may leave them slightly indefinite.
    ridge = (_NEAR + _ROUNDING * len(own)) * own.diagonal().mean().clamp_min(_TINY)
    lower = torch.linalg.cholesky(own + torch.eye(len(kept)).to(own) * ridge)
    return torch.cholesky_solve(both @ weight.T + ridge * weight[:, kept].T, lower).T


_TINY = 1e-30
_RIDGE, _NEAR, _ROUNDING = 1e-4, 1e-5, 1e-7
_STEPS = 8  # of a path, for each unit: some leave it and come again


def usable(module: nn.Module) -> bool:
    """Whether a reader's outputs can be fitted."""
    groups = getattr(module, "groups", 1)
    return groups == 1 and not is_adjoint(module) and kernel(module)[0].numel() <= _MOST_COLUMNS


_MOST_COLUMNS = 2**13
