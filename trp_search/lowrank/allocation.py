"""Budget rules: one option per layer, with a total cost within a budget.

An option is a rank under a scheme, with its cost and its losses; option 0 is the dense layer. This
module knows nothing of networks or kernels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor
from typing_extensions import override

from trp_search.lowrank.frontiers import (
    dropped,
    filled,
    frontiers,
    lost,
    options_at,
    places_of,
    refined,
)
from trp_search.records import Energy, PerLayer, Value


@dataclass(frozen=True, kw_only=True)
class Options:
    """(L, K) float64 tables, one row per layer; unused entries of a row cost infinity.

    Attributes:
        cost: multiply-adds or parameters.
        error: share of the squared singular values that is lost, in [0, 1].
        worst: the largest lost singular value over the layer's largest, in [0, 1].
        beyond: the largest lost singular value itself.
        removed: share of the full rank that is lost, in [0, 1].
    """

    cost: Tensor
    error: Tensor
    worst: Tensor
    beyond: Tensor
    removed: Tensor

    @property
    def least(self) -> Tensor:
        """(L,) each layer's cheapest option."""
        return self.cost.argmin(1)

    def costs(self, chosen: Tensor) -> list[float]:
        """The cost of each layer's option in `chosen`."""
        return list(at(self.cost, chosen).tolist())

    def spent(self, chosen: Tensor) -> Tensor:
        """The total cost of the (L,) options `chosen`."""
        return at(self.cost, chosen).sum()


def at(table: Tensor, chosen: Tensor) -> Tensor:
    """(L,) the entries of an (L, K) `table` at the options `chosen`."""
    return table.gather(1, chosen.unsqueeze(1)).squeeze(1)


class BudgetRule(ABC):
    """A rule that spreads a budget over layers."""

    @abstractmethod
    def choose(self, options: Options, budget: float) -> Tensor:
        """(L,) options of total cost at most `budget`; a budget below the least cost is a bug."""

    def rule(self, keep: PerLayer, values: Sequence[Tensor]) -> PerLayer:
        """The rule for each single layer, from `keep` and the singular values of all layers."""
        del values
        return keep


@final
@dataclass(frozen=True)
class Knapsack(BudgetRule):
    """Least sum of errors: Lagrangian relaxation (BALF, arXiv 2509.25136), then a local search.

    Dynamic programming over nearby options spends the rest of the budget. Greedy dropping is a
    second start: with few wide layers, the relaxation can be far from the optimum. With many, the
    dynamic programming thins out too much, and a start is better left as it is.
    """

    @override
    def choose(self, options: Options, budget: float) -> Tensor:
        rows = frontiers(options.cost, options.error)
        chosen = relaxed(options.cost, options.error, budget)
        starts = places_of(rows, options.costs(chosen)), filled(rows, dropped(rows, budget), budget)
        near = [*(refined(rows, start, budget) for start in starts), *starts]
        ends = [filled(rows, places, budget) for places in near]
        return options_at(rows, min(ends, key=lambda places: lost(rows, places)))


@final
@dataclass(frozen=True)
class Greedy(BudgetRule):
    """Largest product of retained energies: each drop loses the least energy per cost saved.

    Zhang et al., arXiv 1505.06798, section 3.3. A dense layer's first drop is to the option with
    the best ratio.
    """

    @override
    def choose(self, options: Options, budget: float) -> Tensor:
        rows = frontiers(options.cost, options.error)
        return options_at(rows, filled(rows, dropped(rows, budget), budget))


@final
@dataclass(frozen=True)
class Level(BudgetRule):
    """The same level in every layer, as low as the budget allows, by binary search.

    With `worst` this is ALDS's criterion (arXiv 2107.11442) without its channel groups: the least
    worst layer. With `beyond` the largest singular values of all layers are kept. With `error` all
    layers keep the same share of energy, with `removed` the same share of rank.
    """

    of: Literal["worst", "beyond", "error", "removed"]

    @override
    def choose(self, options: Options, budget: float) -> Tensor:
        levels: Tensor = getattr(options, self.of)
        allowed = torch.unique(levels[options.cost.isfinite()]).tolist()

        def saved(level: float) -> float:
            return -float(options.spent(_cheapest(options, levels, level)))

        level = allowed[bisect_left(allowed[:-1], -budget, key=saved)]
        chosen = _cheapest(options, levels, level)
        within = options.cost.where(levels <= level, torch.inf)
        rows = frontiers(within, options.error)
        return options_at(rows, filled(rows, places_of(rows, options.costs(chosen)), budget))


@final
class Pooled(BudgetRule):
    """The largest singular values of all layers (Decomposable-Net, arXiv 1910.13141v3)."""

    @override
    def choose(self, options: Options, budget: float) -> Tensor:
        return Level("beyond").choose(options, budget)

    @override
    def rule(self, keep: PerLayer, values: Sequence[Tensor]) -> PerLayer:
        """For an energy, the singular-value threshold by which all layers together keep it."""
        if not isinstance(keep, Energy) or not values:
            return keep
        pooled = torch.cat([tensor.flatten() for tensor in values]).sort(descending=True).values
        kept = pooled.double().square().cumsum(0)
        least = float(pooled[int((kept < keep.energy * kept[-1]).sum())])
        return Value(max(least, torch.finfo(pooled.dtype).tiny))


BUDGET_RULES: dict[str, BudgetRule] = {
    "knapsack": Knapsack(),
    "greedy": Greedy(),
    "alds-style": Level("worst"),
    "pooled": Pooled(),
    "energy": Level("error"),
    "uniform": Level("removed"),
}

_STEPS = 60
_GAINS = 16


def relaxed(cost: Tensor, error: Tensor, budget: float | Tensor) -> Tensor:
    """(L,) options of (L, K) tables with total cost at most `budget`; option 0 is dense.

    Minimises error + price * cost at the lowest price that fits. No price suits the jump to dense,
    so layers not dense at that price choose again without the dense option. The largest gains take
    the rest of the budget. Nothing leaves the device.
    """
    chosen = priced(cost, error, budget)
    dense = (chosen == 0).unsqueeze(1)
    first = torch.arange(cost.shape[1], device=cost.device) == 0
    cheaper = cost.isfinite().sum(1, keepdim=True) > 1
    chosen = priced(cost.where(dense | ~first | ~cheaper, torch.inf), error, budget)
    for _ in range(min(len(cost), _GAINS)):
        chosen = _topped(cost, error, chosen, budget)
    return chosen


def priced(cost: Tensor, error: Tensor, budget: float | Tensor) -> Tensor:
    """(L,) options of least error + price * cost; the price is bisected a fixed number of times."""
    unit = at(cost, cost.argmin(1)).sum()
    scaled = cost / unit
    low, high = cost.new_tensor(-15.0), cost.new_tensor(9.0)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        chosen = (error + 10**middle * scaled).argmin(1)
        over = at(cost, chosen).sum() > budget
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return (error + 10**high * scaled).argmin(1)


def _topped(cost: Tensor, error: Tensor, chosen: Tensor, budget: float | Tensor) -> Tensor:
    """`chosen` with one layer changed: the largest gain within the rest of the budget."""
    now = at(cost, chosen)
    gains = at(error, chosen).unsqueeze(1) - error
    gains = gains.where(cost - now.unsqueeze(1) <= budget - now.sum(), -torch.inf)
    best, option = gains.max(1)
    layer = torch.arange(len(cost), device=cost.device) == best.argmax()
    return torch.where(layer & (best > 0), option, chosen)


def _cheapest(options: Options, levels: Tensor, allowed: float) -> Tensor:
    """(L,) the cheapest options whose level is at most `allowed`."""
    return options.cost.where(levels <= allowed, torch.inf).argmin(1)
