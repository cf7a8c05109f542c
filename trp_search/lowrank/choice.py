"""Ranks, or a reason to stay dense, for every layer, from an analysed network and a cut."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trp_search import records
from trp_search.errors import InputError, OutOfReachError
from trp_search.lowrank.allocation import BUDGET_RULES, Options
from trp_search.lowrank.analysis import LOSSES, AnalysedLayer, Analysis, Candidate
from trp_search.lowrank.budgets import Count, counted, room
from trp_search.lowrank.costs import ELSEWHERE
from trp_search.lowrank.factoring import Ranks
from trp_search.lowrank.frontiers import frontiers
from trp_search.records import PerLayer, WholeNetwork
from trp_search.records.layers import Unselected


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The decision for one layer: a candidate at its ranks, or a reason to stay dense.

    `kept` is the share of energy that each scheme would keep at the same cost.
    """

    candidate: Candidate | None = None
    ranks: Ranks = ()
    reason: str | None = None
    kept: Mapping[str, float] = field(default_factory=dict)


def choose(
    analysis: Analysis, cut: records.Cut, *, other_macs: int = 0, times: Count | None = None
) -> list[Choice]:
    """One choice per layer of `analysis`, which was made for the cut's scheme and layers.

    Args:
        analysis: of the network.
        cut: how to cut it.
        other_macs: multiply-adds of the network that no layer accounts for.
        times: of layers on a target, for a time budget.

    Raises:
        InputError: the budget is out of reach, and the message names the best reachable one; or a
            layer of `Ranks` cannot be factored.
    """
    if isinstance(cut.keep, records.Ranks):
        return _as_given(analysis, {name: (None, r) for name, r in cut.keep.ranks.items()})
    if isinstance(cut.keep, records.Pairs):
        return _as_given(analysis, cut.keep.pairs)
    if isinstance(cut.keep, records.MaxDrop):
        raise InputError("max_drop: a cut alone has no scores; ask for a speedup")
    count = counted(cut.keep, times)
    count.check(analysis.macs_each)
    menus = [_menu(layer, count, cut.multiple) for layer in analysis.layers]
    allocation = BUDGET_RULES[cut.allocation]
    if isinstance(cut.keep, WholeNetwork):
        rows = [_row(menu) for menu in menus]
        options = _table(rows)
        try:
            budget = _budget(analysis, options, cut.keep, count, other_macs=other_macs)
        except OutOfReachError as error:
            raise OutOfReachError(f"{error}{_uncut(analysis, menus)}") from None
        picks = allocation.choose(options, budget).tolist()
        return [_picked(*each) for each in zip(menus, rows, picks, strict=True)]
    keep = cut.keep
    if isinstance(keep, PerLayer):
        keep = allocation.rule(keep, [offer.candidate.values for m in menus for offer in m.offers])
    return [_by_rule(menu, keep, cut.multiple) for menu in menus]


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """A candidate at the (K, n) ranks that make its layer cheaper, with costs and losses."""

    candidate: Candidate
    ranks: Tensor
    cost: Tensor
    losses: Mapping[str, Tensor]

    def place(self, ranks: Ranks) -> int | None:
        """The index of `ranks`, if they are on offer."""
        places = (self.ranks == torch.tensor(ranks)).all(1).nonzero().flatten().tolist()
        return places[0] if places else None

    def unbeaten(self) -> Tensor:
        """(k,) indices that are Pareto-optimal in the cost and at least one of the losses."""
        if not len(self.cost):
            return torch.empty(0, dtype=torch.long)
        found = [frontiers(self.cost[None], loss[None])[0] for loss in self.losses.values()]
        places: Tensor = torch.unique(torch.cat([torch.from_numpy(one.option) for one in found]))
        return places


@dataclass(frozen=True, kw_only=True)
class _Menu:
    """One layer's dense cost and its offers; `reason` says why no rank is on offer."""

    dense: float | int
    offers: tuple[_Offer, ...]
    reason: str | None

    def choice(self, offer: _Offer, place: int) -> Choice:
        """The choice of one offered rank, and the most that each scheme keeps at no higher cost."""
        cost = offer.cost[place]
        shares = ((one, one.losses["error"][one.cost <= cost]) for one in self.offers)
        kept: dict[str, float] = {
            one.candidate.layer.scheme.name: 1 - float(errors.min())
            for one, errors in shares
            if len(errors)
        }
        ranks = tuple(offer.ranks[place].tolist())
        return Choice(candidate=offer.candidate, ranks=ranks, kept=kept)


def _menu(layer: AnalysedLayer, count: Count, multiple: int) -> _Menu:
    offers = []
    for candidate in layer.candidates:
        ranks, cost = candidate.offered(count, multiple)
        losses = {name: loss.double() for name, loss in candidate.losses(ranks).items()}
        offers.append(_Offer(candidate=candidate, ranks=ranks, cost=cost, losses=losses))
    reason = layer.reason
    if reason is None and not any(len(offer.cost) for offer in offers):
        reason = f"even rank {multiple} would not save {count.noun}"
        if not any(count.knows(candidate.layer) for candidate in layer.candidates):
            reason = "its factors were not timed"
    return _Menu(dense=count.dense(layer.layer), offers=tuple(offers), reason=reason)


def _as_given(analysis: Analysis, ranks: Mapping[str, tuple[str | None, int]]) -> list[Choice]:
    """Each layer that `ranks` names by that scheme at that rank, or at its full one if less."""
    reasons = {layer.layer.name: layer.reason for layer in analysis.layers}
    for name in ranks:
        reason = reasons.get(name, "there is no such convolution or linear layer")
        if reason is not None:
            raise InputError(f"ranks: {name!r} cannot be factored: {reason}")
    return [
        _at_rank(layer, *ranks[layer.layer.name])
        if layer.layer.name in ranks
        else Choice(reason=layer.reason or "no rank given")
        for layer in analysis.layers
    ]


def _at_rank(layer: AnalysedLayer, scheme: str | None, rank: int) -> Choice:
    fit = [one for one in layer.candidates if scheme in (None, one.layer.scheme.name)]
    if not fit:
        raise InputError(f"ranks: {layer.layer.name!r} cannot be factored: {scheme} is not for it")
    candidate = fit[0]
    ranks = (min(rank, *candidate.layer.full_ranks),)
    lost = float(candidate.losses(torch.tensor([ranks]))["error"])
    return Choice(candidate=candidate, ranks=ranks, kept={candidate.layer.scheme.name: 1 - lost})


def _uncut(analysis: Analysis, menus: Sequence[_Menu]) -> str:
    """Why most of the multiply-adds are in no cut, unless by choice or under a tenth of all."""
    held = Counter({ELSEWHERE: analysis.other_macs})
    for layer, menu in zip(analysis.layers, menus, strict=True):
        if menu.reason is not None and not isinstance(menu.reason, Unselected):
            held[menu.reason] += layer.layer.dense_macs
    total = analysis.macs_each
    return "".join(
        f"; {macs / total:.0%} of the multiply-adds stay dense ({reason})"
        for reason, macs in held.most_common(1)
        if macs > total / 10
    )


def _by_rule(menu: _Menu, keep: records.Keep, multiple: int) -> Choice:
    """The cheapest candidate at the ranks that `keep` asks for."""
    if menu.reason is not None:
        return Choice(reason=menu.reason)
    wanted = [(one, _rounded(one.candidate.wanted(keep), multiple)) for one in menu.offers]
    places = [(offer, offer.place(ranks)) for offer, ranks in wanted]
    cheaper = [(offer, place) for offer, place in places if place is not None]
    if cheaper:
        return menu.choice(*min(cheaper, key=lambda pair: float(pair[0].cost[pair[1]])))
    offer, (*others, rank) = wanted[0]
    beside = offer.ranks[(offer.ranks[:, :-1] == torch.tensor(others)).all(1), -1]
    most = max(beside.tolist(), default=0)
    inner = f" with rank_in {others[0]}" if others else ""
    return Choice(reason=f"rank {rank}{inner} would not save multiply-adds (at most {most} would)")


def _rounded(ranks: Ranks, multiple: int) -> Ranks:
    return tuple(math.ceil(rank / multiple) * multiple for rank in ranks)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A layer's options as (K,) tables by the names of `Options`; option 0 is dense.

    `places` has the indices of the other options, offer by offer.
    """

    tables: Mapping[str, Tensor]
    places: tuple[Tensor, ...]


def _row(menu: _Menu) -> _Row:
    places = tuple(offer.unbeaten() for offer in menu.offers)
    pairs = list(zip(menu.offers, places, strict=True))
    dense = torch.tensor([float(menu.dense)], dtype=torch.float64)
    tables = {"cost": torch.cat([dense, *[offer.cost[at] for offer, at in pairs]])}
    for name in LOSSES:
        parts = [offer.losses[name][at] for offer, at in pairs]
        tables[name] = torch.cat([torch.zeros_like(dense), *parts])
    return _Row(tables=tables, places=places)


def _table(rows: Sequence[_Row]) -> Options:
    width = max((len(row.tables["cost"]) for row in rows), default=1)
    found = {"cost": torch.full((len(rows), width), torch.inf, dtype=torch.float64)}
    found |= {name: torch.zeros_like(found["cost"]) for name in LOSSES}
    for name, table in found.items():
        for line, row in zip(table, rows, strict=True):
            line[: len(row.tables[name])] = row.tables[name]
    return Options(**found)


def _budget(
    analysis: Analysis, options: Options, keep: WholeNetwork, count: Count, *, other_macs: int
) -> float:
    """The cost allowed to all layers, dense at option 0.

    Raises:
        InputError: the layers' least cost is more; the message names the best reachable budget.
    """
    dense = float(options.cost[:, 0].sum())
    other = count.other(analysis.network, dense, other_macs=other_macs)
    least = float(options.spent(options.least))
    return room(
        keep,
        dense=dense,
        least=least,
        other=other,
        layers=analysis.selection,
        rounding=count.rounding,
    )


def _picked(menu: _Menu, row: _Row, pick: int) -> Choice:
    if pick == 0:
        return Choice(reason=menu.reason or "no rank that saves enough keeps enough at this budget")
    left = pick - 1
    for offer, places in zip(menu.offers, row.places, strict=True):
        if left < len(places):
            return menu.choice(offer, int(places[left]))
        left -= len(places)
    raise AssertionError("an option that no offer has")
