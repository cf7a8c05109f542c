"""Budget rules: which option each layer takes so that all together fit a budget.

An option is a rank under a scheme, with its cost and what it loses; option 0 is to stay dense.
Nothing here knows of networks or kernels.
"""

from __future__ import annotations

import dataclasses
import heapq
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override


@dataclass(frozen=True, kw_only=True)
class Options:
    """(L, K) float64 tables, one row a layer; what a row has no use for costs infinity.

    Attributes:
        cost: multiply-adds or parameters.
        error: share of the squared singular values that is lost, in [0, 1].
        worst: the largest lost singular value over the largest of all, in [0, 1].
        removed: share of the full rank that is lost, in [0, 1].
    """

    cost: Tensor
    error: Tensor
    worst: Tensor
    removed: Tensor

    @property
    def least(self) -> Tensor:
        """(L,) each layer's cheapest option."""
        return self.cost.argmin(1)

    def spent(self, chosen: Tensor) -> Tensor:
        """The cost of the (L,) options `chosen`, all together."""
        return at(self.cost, chosen).sum()


def at(table: Tensor, chosen: Tensor) -> Tensor:
    """(L,) the entries of an (L, K) `table` at the options `chosen`."""
    return table.gather(1, chosen.unsqueeze(1)).squeeze(1)


class BudgetRule(ABC):
    """A value that spreads a budget over layers."""

    @abstractmethod
    def choose(self, options: Options, budget: float) -> Tensor:
        """(L,) options that cost `budget` at most; a budget below the least cost is a bug."""


@final
@dataclass(frozen=True)
class Knapsack(BudgetRule):
    """Least sum of errors: Lagrangian relaxation (BALF, arXiv 2509.25136), then a local search.

    What the relaxation leaves is spent by dynamic programming over options nearby. Greedy dropping
    is another start: where few layers are wide, the relaxation can be far from the best.
    """

    @override
    def choose(self, options: Options, budget: float) -> Tensor:
        rows = _frontiers(options)
        starts = (relaxed(options.cost, options.error, budget), Greedy().choose(options, budget))
        ends = [
            _filled(rows, _refined(rows, _places(rows, options, start), budget), budget)
            for start in starts
        ]
        return _options(rows, min(ends, key=lambda places: _lost(rows, places)))


@final
@dataclass(frozen=True)
class Greedy(BudgetRule):
    """Largest product of retained energies, by dropping what costs least energy per cost saved.

    Zhang et al., arXiv 1505.06798, section 3.3. A dense layer's first drop is to the option
    where that ratio is best.
    """

    @override
    def choose(self, options: Options, budget: float) -> Tensor:
        rows = _frontiers(options)
        places = [len(row.cost) - 1 for row in rows]
        spent = sum(row.cost[-1] for row in rows)
        queue = [(*_best_drop(row, len(row.cost) - 1), layer) for layer, row in enumerate(rows)]
        heapq.heapify(queue)
        while spent > budget:
            ratio, place, layer = heapq.heappop(queue)
            assert ratio < np.inf, "the budget is below the least cost"
            spent -= rows[layer].cost[places[layer]] - rows[layer].cost[place]
            places[layer] = place
            heapq.heappush(queue, (*_best_drop(rows[layer], place), layer))
        return _options(rows, _filled(rows, places, budget))


@final
@dataclass(frozen=True)
class Level(BudgetRule):
    """The same level in every layer, as low as the budget allows, by binary search.

    With `worst` this is ALDS's criterion (arXiv 2107.11442) without its channel groups: the least
    worst layer. With `error` every layer keeps one share of energy, with `removed` one of its rank.
    """

    of: Literal["worst", "error", "removed"]

    @override
    def choose(self, options: Options, budget: float) -> Tensor:
        levels: Tensor = getattr(options, self.of)
        allowed = torch.unique(levels[options.cost.isfinite()])
        low, high = 0, len(allowed) - 1
        while low < high:
            middle = (low + high) // 2
            if options.spent(_cheapest(options, levels, allowed[middle])) > budget:
                low = middle + 1
            else:
                high = middle
        chosen = _cheapest(options, levels, allowed[low])
        within = options.cost.where(levels <= allowed[low], torch.inf)
        rows = _frontiers(dataclasses.replace(options, cost=within))
        return _options(rows, _filled(rows, _places(rows, options, chosen), budget))


BUDGET_RULES: dict[str, BudgetRule] = {
    "knapsack": Knapsack(),
    "greedy": Greedy(),
    "alds-style": Level("worst"),
    "energy": Level("error"),
    "uniform": Level("removed"),
}

_STEPS = 60
_GAINS = 16


def relaxed(cost: Tensor, error: Tensor, budget: float | Tensor) -> Tensor:
    """(L,) options of (L, K) tables whose costs add up to `budget` at most, option 0 being dense.

    The least error + price * cost at the lowest price that fits. Going dense is a jump that no
    price is right for, so what is not dense then is bought once more without that option, and the
    rest is spent on the largest gains. Nothing leaves the device.
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
    """(L,) the least error + price * cost, the price bisected a fixed number of times."""
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
    """`chosen`, one layer changed for the largest gain that what is left of the budget allows."""
    now = at(cost, chosen)
    gains = at(error, chosen).unsqueeze(1) - error
    gains = gains.where(cost - now.unsqueeze(1) <= budget - now.sum(), -torch.inf)
    best, option = gains.max(1)
    layer = torch.arange(len(cost), device=cost.device) == best.argmax()
    return torch.where(layer & (best > 0), option, chosen)


def _cheapest(options: Options, levels: Tensor, allowed: Tensor) -> Tensor:
    """(L,) the cheapest options whose level is at most `allowed`."""
    return options.cost.where(levels <= allowed, torch.inf).argmin(1)


@dataclass(frozen=True, kw_only=True)
class _Frontier:
    """One layer's options that no other beats: costs rise, errors fall strictly."""

    option: NDArray[np.int64]
    cost: NDArray[np.float64]
    error: NDArray[np.float64]


def _frontiers(options: Options) -> list[_Frontier]:
    rows = []
    for cost, error in zip(options.cost.cpu().numpy(), options.error.cpu().numpy(), strict=True):
        order = np.lexsort((error, cost))
        order = order[np.isfinite(cost[order])]
        best = np.minimum.accumulate(error[order])
        order = order[np.r_[True, best[1:] < best[:-1]]]
        rows.append(_Frontier(option=order, cost=cost[order], error=error[order]))
    return rows


def _places(rows: list[_Frontier], options: Options, chosen: Tensor) -> list[int]:
    """Where on its frontier each layer's choice is, or what beats it."""
    costs = at(options.cost, chosen).tolist()
    return [_within(row, cost) for row, cost in zip(rows, costs, strict=True)]


def _within(row: _Frontier, cost: float) -> int:
    """The best place that costs at most `cost`."""
    return int(np.searchsorted(row.cost, cost, side="right")) - 1


def _options(rows: list[_Frontier], places: list[int]) -> Tensor:
    return torch.tensor([int(row.option[place]) for row, place in zip(rows, places, strict=True)])


def _lost(rows: list[_Frontier], places: list[int]) -> float:
    return sum(float(row.error[place]) for row, place in zip(rows, places, strict=True))


def _left(rows: list[_Frontier], places: list[int], budget: float) -> float:
    return budget - sum(float(row.cost[place]) for row, place in zip(rows, places, strict=True))


def _best_drop(row: _Frontier, place: int) -> tuple[float, int]:
    """The relative loss of energy per cost saved of the best cheaper place, and that place."""
    if place == 0:
        return np.inf, 0
    kept = np.log(np.maximum(1 - row.error[: place + 1], np.finfo(float).tiny))
    ratios = (kept[place] - kept[:place]) / (row.cost[place] - row.cost[:place])
    best = int(ratios.argmin())
    return float(ratios[best]), best


def _filled(rows: list[_Frontier], places: list[int], budget: float) -> list[int]:
    """Spends what is left where it removes most error per cost, then by pairs of moves."""
    places = list(places)
    while True:
        left = _left(rows, places, budget)
        best = (0.0, 0, 0)
        for layer, row in enumerate(rows):
            place = places[layer]
            reach = _within(row, row.cost[place] + left) + 1
            if reach > place + 1:
                gains = row.error[place] - row.error[place + 1 : reach]
                ratios = gains / (row.cost[place + 1 : reach] - row.cost[place])
                best = max(best, (float(ratios.max()), layer, place + 1 + int(ratios.argmax())))
        if best[0] > 0:
            places[best[1]] = best[2]
        elif left <= _SLACK * budget or not _exchange(rows, places, left):
            return places


def _refined(rows: list[_Frontier], places: list[int], budget: float) -> list[int]:
    """The least sum of errors near `places`: dynamic programming over what no other state beats.

    States that cost nearly the same are thinned out, so that their number stays bounded.
    """
    windows = [
        np.arange(max(0, place - _NEAR), min(len(row.cost), place + _NEAR + 1))
        for row, place in zip(rows, places, strict=True)
    ]
    cheapest = [float(row.cost[window[0]]) for row, window in zip(rows, windows, strict=True)]
    costs, errors = np.zeros(1), np.zeros(1)
    steps: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for layer, (row, window) in enumerate(zip(rows, windows, strict=True)):
        cost = np.add.outer(costs, row.cost[window]).ravel()
        error = np.add.outer(errors, row.error[window]).ravel()
        order = np.lexsort((error, cost))
        order = order[cost[order] <= budget - sum(cheapest[layer + 1 :])]
        best = np.minimum.accumulate(error[order])
        order = order[np.r_[True, best[1:] < best[:-1]]]
        cells = (cost[order] / budget * _STATES).astype(int)
        order = order[np.r_[cells[1:] != cells[:-1], True]]
        costs, errors = cost[order], error[order]
        steps.append((order // len(window), window[order % len(window)]))
    state = int(errors.argmin())
    found = list(places)
    for layer, (parents, options) in reversed(list(enumerate(steps))):
        found[layer], state = int(options[state]), int(parents[state])
    return found


def _exchange(rows: list[_Frontier], places: list[int], left: float) -> bool:
    """Makes the best move of one layer, or of two, that `left` allows; False when none helps."""
    best = (_LEAST_GAIN, 0, 0, 0, 0)
    for one, row in enumerate(rows):
        freed = left + row.cost[places[one]] - row.cost
        loss = row.error - row.error[places[one]]
        for two, other in enumerate(rows):
            if two == one:
                place = _within(row, row.cost[places[one]] + left)
                best = max(best, (-float(loss[place]), one, place, one, place))
                continue
            now = places[two]
            reach = np.searchsorted(other.cost, other.cost[now] + freed, side="right") - 1
            gains = other.error[now] - other.error[reach.clip(0)] - loss
            gains[reach < 0] = -np.inf
            place = int(gains.argmax())
            best = max(best, (float(gains[place]), one, place, two, int(reach[place])))
    gain, one, first, two, second = best
    if gain <= _LEAST_GAIN:
        return False
    places[one], places[two] = first, second
    return True


# Options on either side of the relaxed one, and states, that the refinement looks at.
_NEAR = 24
_STATES = 2048
_LEAST_GAIN = 1e-9
# What may be left before pairs of moves are tried, so that a budget is met within two hundredths.
_SLACK = 0.018
