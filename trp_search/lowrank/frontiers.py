"""Search over each layer's non-dominated options for the least loss within a budget."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """One layer's non-dominated options: costs rise, errors fall strictly."""

    option: NDArray[np.int64]
    cost: NDArray[np.float64]
    error: NDArray[np.float64]


def frontiers(cost: Tensor, error: Tensor) -> list[Frontier]:
    """One frontier for each row of the (L, K) tables; infinite costs are no options."""
    rows = []
    for costs, errors in zip(cost.cpu().numpy(), error.cpu().numpy(), strict=True):
        order = _unbeaten(costs, errors, most=np.finfo(float).max)
        rows.append(Frontier(option=order, cost=costs[order], error=errors[order]))
    return rows


def _unbeaten(
    cost: NDArray[np.float64], error: NDArray[np.float64], *, most: float
) -> NDArray[np.int64]:
    """Indices of non-dominated options with costs up to `most`, the cheapest first."""
    order = np.lexsort((error, cost))
    order = order[cost[order] <= most]
    best = np.minimum.accumulate(error[order])
    return order[np.r_[True, best[1:] < best[:-1]]]


def places_of(rows: list[Frontier], costs: Sequence[float]) -> list[int]:
    """Each layer's place on its frontier at these costs, or the place that dominates it."""
    return [_within(row, cost) for row, cost in zip(rows, costs, strict=True)]


def _within(row: Frontier, cost: float) -> int:
    """The best place that costs at most `cost`."""
    return int(np.searchsorted(row.cost, cost, side="right")) - 1


def options_at(rows: list[Frontier], places: list[int]) -> Tensor:
    """(L,) the options at `places`."""
    return torch.tensor([int(row.option[place]) for row, place in zip(rows, places, strict=True)])


def lost(rows: list[Frontier], places: list[int]) -> float:
    """The sum of the errors at `places`."""
    return sum(float(row.error[place]) for row, place in zip(rows, places, strict=True))


def _left(rows: list[Frontier], places: list[int], budget: float) -> float:
    return budget - sum(float(row.cost[place]) for row, place in zip(rows, places, strict=True))


def _best_drop(row: Frontier, place: int) -> tuple[float, int]:
    """The relative loss of energy per cost saved of the best cheaper place, and that place."""
    if place == 0:
        return np.inf, 0
    kept = np.log(np.maximum(1 - row.error[: place + 1], np.finfo(float).tiny))
    ratios = (kept[place] - kept[:place]) / (row.cost[place] - row.cost[:place])
    best = int(ratios.argmin())
    return float(ratios[best]), best


def dropped(rows: list[Frontier], budget: float) -> list[int]:
    """From dense, repeats the drop of least energy per cost saved until the budget is met."""
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
    return places


def filled(rows: list[Frontier], places: list[int], budget: float) -> list[int]:
    """Spends the rest of the budget on the most error removed per cost, then on pairs of moves."""
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


def refined(rows: list[Frontier], places: list[int], budget: float) -> list[int]:
    """The least sum of errors near `places`, and from there again where a layer went far."""
    found = _best_near(rows, places, budget)
    while _farthest(found, places) > _FAR and lost(rows, found) < lost(rows, places):
        places, found = found, _best_near(rows, found, budget)
    return found


def _farthest(places: list[int], others: list[int]) -> int:
    return max((abs(one - other) for one, other in zip(places, others, strict=True)), default=0)


def _best_near(rows: list[Frontier], places: list[int], budget: float) -> list[int]:
    """The least sum of errors near `places`: dynamic programming over non-dominated states.

    States of nearly equal cost are thinned out, which bounds their number.
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
        order = _unbeaten(cost, error, most=budget - sum(cheapest[layer + 1 :]))
        cells = (cost[order] / budget * _STATES).astype(int)
        order = order[np.r_[cells[1:] != cells[:-1], True]]
        costs, errors = cost[order], error[order]
        steps.append((order // len(window), window[order % len(window)]))
    state = int(errors.argmin())
    found = list(places)
    for layer, (parents, options) in reversed(list(enumerate(steps))):
        found[layer], state = int(options[state]), int(parents[state])
    return found


def _exchange(rows: list[Frontier], places: list[int], left: float) -> bool:
    """Makes the best move of one layer, or of two, within `left`; False when no move helps."""
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


# Options on either side of the relaxed one, and number of states, in the refinement.
_NEAR, _FAR = 24, 12
_STATES = 2048
_LEAST_GAIN = 1e-9
# Share of the budget left below which pairs of moves stop: budgets are met within two hundredths.
_SLACK = 0.018
