"""From an analysed network and a cut to a rank, or a reason to stay dense, for every layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trp_search import records
from trp_search.lowrank.allocation import BUDGET_RULES, Options
from trp_search.lowrank.analysis import AnalysedLayer, Analysis, Candidate
from trp_search.lowrank.budgets import counted, room
from trp_search.lowrank.rules import ranks
from trp_search.records import Budget, PerLayer


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What becomes of one layer: a candidate at a rank, or a reason to stay dense.

    `kept` is the share of energy that each scheme would keep for the same cost.
    """

    candidate: Candidate | None = None
    rank: int = 0
    reason: str | None = None
    kept: Mapping[records.LayerScheme, float] = field(default_factory=dict)


def choose(analysis: Analysis, cut: records.Cut, *, other_macs: int = 0) -> list[Choice]:
    """One choice for each layer of `analysis`, which was made for the cut's scheme and layers.

    `other_macs` are multiply-adds of the network that no layer accounts for.

    Raises:
        InputError: the budget is out of reach; says the best that is not.
    """
    menus = [_menu(layer, cut) for layer in analysis.layers]
    allocation = BUDGET_RULES[cut.allocation]
    if isinstance(cut.keep, PerLayer):
        items = [item for menu in menus for item in menu.items]
        rule = allocation.rule(cut.keep, [item.candidate.spectra.values() for item in items])
        return [_by_rule(menu, rule, cut.multiple) for menu in menus]
    options = _table(menus)
    budget = budget_of(analysis.network, options, cut, other_macs=other_macs)
    picks = allocation.choose(options, budget)
    return [_picked(menu, pick) for menu, pick in zip(menus, picks.tolist(), strict=True)]


@dataclass(frozen=True, kw_only=True)
class _Item:
    """A candidate at the ranks that make its layer cheaper than dense."""

    candidate: Candidate
    ranks: Tensor
    cost: Tensor
    error: Tensor
    worst: Tensor
    beyond: Tensor

    def at(self, index: int, menu: _Menu) -> Choice:
        """The choice of one of the ranks."""
        return Choice(
            candidate=self.candidate,
            rank=int(self.ranks[index]),
            kept=menu.kept(float(self.cost[index])),
        )


@dataclass(frozen=True, kw_only=True)
class _Menu:
    """What one layer can become, at which cost; `reason` is why it can become nothing."""

    dense: int
    items: tuple[_Item, ...]
    reason: str | None

    def kept(self, cost: float) -> dict[records.LayerScheme, float]:
        """The most that each scheme keeps at or below `cost`."""
        shares = ((item, item.error[item.cost <= cost]) for item in self.items)
        return {
            item.candidate.scheme.name: 1 - float(errors.min())
            for item, errors in shares
            if len(errors)
        }


def _menu(layer: AnalysedLayer, cut: records.Cut) -> _Menu:
    count = counted(cut.keep)
    dense, fixed = count.dense(layer.layer), count.fixed(layer.layer)
    items = []
    for candidate in layer.candidates:
        measured = candidate.layer
        per_rank = count.per_rank(measured)
        highest = min(measured.full_rank, (dense - fixed - 1) // per_rank)
        ranks = torch.arange(1, highest // cut.multiple + 1) * cut.multiple
        worst = candidate.next_values().cpu()[ranks]
        items.append(
            _Item(
                candidate=candidate,
                ranks=ranks,
                cost=(fixed + ranks * per_rank).double(),
                error=candidate.lost().cpu()[ranks],
                worst=worst,
                beyond=worst * float(candidate.spectra.values().max()),
            )
        )
    reason = layer.reason
    if reason is None and not any(len(item.ranks) for item in items):
        reason = f"even rank {cut.multiple} would not save {count.noun}"
    return _Menu(dense=dense, items=tuple(items), reason=reason)


def _by_rule(menu: _Menu, rule: PerLayer, multiple: int) -> Choice:
    """The cheapest scheme at the rank that the rule wants of it."""
    if menu.reason is not None:
        return Choice(reason=menu.reason)
    wanted = [(item, _rank(item.candidate, rule)) for item in menu.items]
    places = [(item, math.ceil(rank / multiple) - 1) for item, rank in wanted]
    cheaper = [(item, place) for item, place in places if place < len(item.ranks)]
    if cheaper:
        item, place = min(cheaper, key=lambda pair: float(pair[0].cost[pair[1]]))
        return item.at(place, menu)
    item, rank = wanted[0]
    rank = math.ceil(rank / multiple) * multiple
    most = int(item.ranks.max()) if len(item.ranks) else 0
    return Choice(reason=f"rank {rank} would not save multiply-adds (at most {most} would)")


def _rank(candidate: Candidate, rule: PerLayer) -> int:
    """The rank that `rule` wants, at least 1; matrices of one layer share the largest."""
    found = candidate.spectra
    longer = max(found.matrices.shape[-2:])
    return max(1, int(ranks(rule, found.values(), longer=longer).max()))


def _table(menus: Sequence[_Menu]) -> Options:
    """Option 0 is dense; those of a layer's items follow, one after the other."""
    width = 1 + max((sum(len(item.ranks) for item in menu.items) for menu in menus), default=0)
    cost = torch.full((len(menus), width), torch.inf, dtype=torch.float64)
    error, worst, beyond, removed = (torch.zeros_like(cost) for _ in range(4))
    for row, menu in enumerate(menus):
        cost[row, 0] = menu.dense
        start = 1
        for item in menu.items:
            part = slice(start, start + len(item.ranks))
            cost[row, part], error[row, part] = item.cost, item.error
            worst[row, part], beyond[row, part] = item.worst, item.beyond
            removed[row, part] = 1 - item.ranks / item.candidate.layer.full_rank
            start = part.stop
    return Options(cost=cost, error=error, worst=worst, beyond=beyond, removed=removed)


def budget_of(network: nn.Module, options: Options, cut: records.Cut, *, other_macs: int) -> float:
    """What the layers, dense at option 0, may cost together for `network` to be cut as wanted.

    Raises:
        InputError: their least is more; says the best that is not out of reach.
    """
    assert isinstance(cut.keep, Budget), cut.keep
    dense = int(options.cost[:, 0].sum())
    other = counted(cut.keep).other(network, dense, other_macs=other_macs)
    least = float(options.spent(options.least))
    return room(cut.keep, dense=dense, least=least, other=other, layers=cut.layers)


def _picked(menu: _Menu, pick: int) -> Choice:
    if pick == 0:
        return Choice(reason=menu.reason or "no rank that saves enough keeps enough at this budget")
    index = pick - 1
    for item in menu.items:
        if index < len(item.ranks):
            return item.at(index, menu)
        index -= len(item.ranks)
    raise AssertionError("an option that no item has")
