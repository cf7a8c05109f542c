"""The rank of each weight at a truncation, and its scheme where there are several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.lowrank.allocation import relaxed
from trp_search.lowrank.budgets import Count, counted, room
from trp_search.lowrank.costs import MeasuredLayer, outside
from trp_search.lowrank.counter import multiply_adds
from trp_search.lowrank.rules import ranks
from trp_search.lowrank.tracing import images_in
from trp_search.lowrank.truncation import Spectra
from trp_search.training.weights import Group

Rows = Sequence[Sequence[MeasuredLayer]]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a truncation keeps of a group.

    Attributes:
        values: (b, q) mask of the singular values of each matrix.
        weights: (l,) mask of the weights that are truncated by the group's scheme; None for all.
    """

    values: Tensor
    weights: Tensor | None = None

    def chosen(self, tensors: list[Tensor], others: Sequence[Tensor] = ()) -> list[Tensor]:
        """`tensors`, one for each weight; of `others`, or zero, for weights of another scheme."""
        if self.weights is None:
            return tensors
        triples = zip(self.weights, tensors, others or map(torch.zeros_like, tensors), strict=True)
        return [torch.where(own, tensor, other) for own, tensor, other in triples]


class Choosing(ABC):
    """Chooses what a truncation keeps. Nothing leaves the device of the spectra."""

    @abstractmethod
    def kept(self, found: Sequence[Spectra]) -> list[Kept]:
        """What is kept of each group, from the groups' spectra."""


@dataclass(frozen=True, kw_only=True)
class _Block:
    """The options of a group's weights in a table of all options.

    Attributes:
        rows: (l,) the row of each weight.
        start: the column of rank 0.
        width: the largest rank.
        first: (l,) whether this is the weight's first scheme.
    """

    rows: Tensor
    start: int
    width: int
    first: Tensor


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cost of every option: a row for each weight, its ranks under each scheme in turn.

    Attributes:
        cost: (L, 1 + K) multiply-adds, parameters or milliseconds; option 0 is dense, unused ones
            are infinite.
        blocks: where the options of each group stand.
        several: whether a weight may have several schemes.
    """

    cost: Tensor
    blocks: tuple[_Block, ...]
    several: bool


def tabulated(groups: Sequence[Group], rows: Rows, count: Count) -> Table:
    """The costs of the weights in `groups`, by `count`."""
    measured = {(layer.name, layer.scheme.name): layer for row in rows for layer in row}
    order = list(dict.fromkeys(name for group in groups for name in group.names))
    found: dict[str, list[tuple[Group, list[MeasuredLayer]]]] = {}
    for group in groups:
        layers = [measured[name, group.scheme.name] for name in group.names]
        found.setdefault(group.scheme.name, []).append((group, layers))
    widths = {
        scheme: max(layer.full_ranks[-1] for _, layers in parts for layer in layers)
        for scheme, parts in found.items()
    }
    cost = torch.full((len(order), 1 + sum(widths.values())), torch.inf, dtype=torch.float64)
    blocks: dict[int, _Block] = {}
    start = 0
    for scheme, parts in found.items():
        for group, layers in parts:
            places = [order.index(name) for name in group.names]
            first = [bool(cost[place].isinf().all()) for place in places]
            for place, layer in zip(places, layers, strict=True):
                at = torch.arange(1, layer.full_ranks[-1] + 1)
                cost[place, start + 1 : start + 1 + len(at)] = count.at(layer, [at]).double()
                cost[place, 0] = count.dense(layer)
            blocks[id(group)] = _Block(
                rows=torch.tensor(places),
                start=start,
                width=widths[scheme],
                first=torch.tensor(first),
            )
        start += widths[scheme]
    return Table(
        cost=cost, blocks=tuple(blocks[id(group)] for group in groups), several=len(found) > 1
    )


@final
class ByRule(Choosing):
    """Ranks by a rule for each matrix; of several schemes the one that costs least then."""

    def __init__(self, keep: records.PerLayer, table: Table) -> None:
        self._keep, self._table = keep, table

    @override
    def kept(self, found: Sequence[Spectra]) -> list[Kept]:
        # A rule may keep nothing, which no layer has, nor the cut that follows.
        wanted = [
            ranks(self._keep, one.values(), longer=max(one.matrices.shape[-2:])).clamp_min(1)
            for one in found
        ]
        values = [one.last(rank) for one, rank in zip(found, wanted, strict=True)]
        if not self._table.several:
            return [Kept(values=mask) for mask in values]
        device, blocks = found[0].squares.device, self._table.blocks
        table = self._table.cost.to(device)
        price = table.new_full((len(table), len(blocks)), torch.inf)
        for column, (block, rank) in enumerate(zip(blocks, wanted, strict=True)):
            rows = block.rows.to(device)
            most = rank.reshape(len(rows), -1).amax(1)
            price[rows, column] = table[rows, block.start + most]
        cheapest = price.argmin(1)
        return [
            Kept(values=mask, weights=cheapest[block.rows.to(device)] == column)
            for column, (block, mask) in enumerate(zip(blocks, values, strict=True))
        ]


@final
class WithinBudget(Choosing):
    """Ranks and schemes that lose least together within a budget; full ranks for dense."""

    def __init__(self, table: Table, budget: float) -> None:
        dense = table.cost[:, :1]
        cheaper = table.cost.where(table.cost < dense, torch.inf)
        self._cost = torch.cat([dense, cheaper[:, 1:]], 1)
        self._table, self._budget = table, budget

    @override
    def kept(self, found: Sequence[Spectra]) -> list[Kept]:
        if not found:
            return []
        device, blocks = found[0].squares.device, self._table.blocks
        cost = self._cost.to(device)
        error = cost.new_zeros(cost.shape)
        for block, one in zip(blocks, found, strict=True):
            lost = one.lost(layers=len(block.rows))[:, 1:].double()
            columns = slice(block.start + 1, block.start + 1 + lost.shape[1])
            error[block.rows.to(device), columns] = lost
        chosen = relaxed(cost, error, self._budget)
        return [
            self._of(block, one, chosen[block.rows.to(device)])
            for block, one in zip(blocks, found, strict=True)
        ]

    def _of(self, block: _Block, one: Spectra, chosen: Tensor) -> Kept:
        rank = chosen - block.start
        inside = (rank >= 1) & (rank <= block.width)
        rank = torch.where(inside, rank, block.width)
        values = one.last(rank.repeat_interleave(len(one.squares) // len(rank)))
        if not self._table.several:
            return Kept(values=values)
        return Kept(values=values, weights=inside | ((chosen == 0) & block.first.to(rank.device)))


def choosing(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    rows: Rows,
    groups: Sequence[Group],
    settings: records.Pruning,
    times: Count | None,
) -> Choosing:
    """The choice that `settings`, whose layers are not `auto`, ask for; other costs are fixed.

    Raises:
        InputError: the budget is out of reach.
    """
    keep, count = settings.keep, counted(settings.keep, times)
    table = tabulated(groups, rows, count)
    if isinstance(keep, records.PerLayer):
        return ByRule(keep, table)
    assert isinstance(keep, records.WholeNetwork), keep
    every = sum(count.dense(row[0]) for row in rows)
    dense = float(table.cost[:, 0].sum())
    macs = multiply_adds(network, example_input) // images_in(example_input)
    count.check(macs)
    left = outside([row[0] for row in rows], macs=macs)
    budget = room(
        keep,
        dense=dense,
        least=float(table.cost.amin(1).sum()),
        other=count.other(network, every, other_macs=left) + every - dense,
        layers=settings.layers,
        rounding=count.rounding,
    )
    return WithinBudget(table, budget)
