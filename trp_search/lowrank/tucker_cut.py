"""Cuts a network by Tucker-2: a pair of ranks for each layer, or a reason to stay dense."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from trp_search import records
from trp_search.lowrank import tucker
from trp_search.lowrank.allocation import BUDGET_RULES, Options
from trp_search.lowrank.budgets import Weights, counted
from trp_search.lowrank.choice import budget_of
from trp_search.lowrank.costs import MeasuredLayer, measure
from trp_search.lowrank.decompose import Decomposed
from trp_search.lowrank.frontiers import frontiers
from trp_search.lowrank.rebuild import check_runs, copied, fill_, replace
from trp_search.lowrank.schemes import SCHEMES, kernel, shape_of
from trp_search.lowrank.select import check_finite
from trp_search.lowrank.truncation import sketch
from trp_search.records import PerLayer


@torch.no_grad()
def cut(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    wanted: records.Cut,
    *,
    other_macs: int = 0,
) -> Decomposed:
    """A copy of `network` in which three layers stand for each layer that they make cheaper.

    Ranks come from weights alone: the cut's `calibration_images` play no part in them.

    Args:
        network: any module; it is not changed.
        example_input: what its forward pass takes.
        wanted: a cut by `tucker`; what is asked of each layer is asked of both its channel axes.
        other_macs: multiply-adds of the network that no layer accounts for.

    Raises:
        InputError: the budget is out of reach; a weight is not finite; the network reads a layer
            that was factored.
    """
    assert wanted.scheme == "tucker", wanted.scheme
    # A layer's dense cost is the same under every scheme, and `channel` refuses no shape.
    found = measure(network, example_input, SCHEMES["channel"], layers=wanted.layers)
    result = copied(network)
    device = next((parameter.device.type for parameter in network.parameters()), "cpu")
    # Making layers draws their first weights, which must not move the caller's random numbers.
    with torch.random.fork_rng(devices=[]), torch.autocast(device, enabled=False):
        offers = [_offer(layer, wanted) for layer in found]
        if isinstance(wanted.keep, PerLayer):
            chosen = [_by_rule(offer, wanted.keep) for offer in offers]
        else:
            chosen = _by_budget(network, offers, wanted, other_macs)
        layers = [
            offer.layer.dense(choice) if isinstance(choice, str) else _placed(result, offer, choice)
            for offer, choice in zip(offers, chosen, strict=True)
        ]
    check_runs(result, example_input)
    return Decomposed(network=result, layers=tuple(layers))


@dataclass(frozen=True, kw_only=True)
class _Ranks:
    """Channels before a core and after it."""

    rank_in: int
    rank_out: int


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """The pairs of ranks that one layer can have, all of them multiples of `multiple`.

    Attributes:
        cost: (I, J) of the i-th rank_in with the j-th rank_out; infinite where that is no cheaper
            than dense, or not `tucker.useful`.
    """

    modes: tucker.Modes
    multiple: int
    cost: Tensor

    def at(self, row: int, column: int) -> _Ranks:
        """The pair at a place of `cost`."""
        return _Ranks(rank_in=(row + 1) * self.multiple, rank_out=(column + 1) * self.multiple)


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """What one layer can become; without pairs it stays dense for `reason`."""

    layer: MeasuredLayer
    dense: int
    pairs: _Pairs | None
    reason: str


def _offer(layer: MeasuredLayer, wanted: records.Cut) -> _Offer:
    check_finite(layer.name, layer.module)
    count = counted(wanted.keep)
    dense, fixed = count.dense(layer), count.fixed(layer)
    reason = layer.reason or tucker.refuses(shape_of(layer.module))
    if reason is not None:
        return _Offer(layer=layer, dense=dense, pairs=None, reason=reason)
    weight, shape, multiple = kernel(layer.module), shape_of(layer.module), wanted.multiple
    by_weights = isinstance(count, Weights)
    price = tucker.parameters(shape) if by_weights else tucker.macs(shape, layer.extents)
    into, out = (torch.arange(1, q // multiple + 1) * multiple for q in tucker.full_ranks(shape))
    into = into.unsqueeze(1)
    cost = (fixed + price.of(into, out)).double()
    cost = cost.where((cost < dense) & tucker.useful(shape, into, out), torch.inf)
    if not cost.isfinite().any():
        reason = f"even rank {multiple} would not save {count.noun}"
        return _Offer(layer=layer, dense=dense, pairs=None, reason=reason)
    pairs = _Pairs(modes=tucker.modes(weight), multiple=multiple, cost=cost)
    reason = "no rank that saves enough keeps enough at this budget"
    return _Offer(layer=layer, dense=dense, pairs=pairs, reason=reason)


def _by_rule(offer: _Offer, rule: PerLayer) -> _Ranks | str:
    """The pair that the rule wants, or why the layer stays dense."""
    if offer.pairs is None:
        return offer.reason
    pairs = offer.pairs
    row, column = (math.ceil(rank / pairs.multiple) - 1 for rank in pairs.modes.ranks(rule))
    columns = pairs.cost[row : row + 1].isfinite().nonzero()[:, 1].tolist()
    ranks = pairs.at(row, column)
    if column in columns:
        return ranks
    most = pairs.at(row, max(columns, default=-1)).rank_out
    return (
        f"rank {ranks.rank_out} with rank_in {ranks.rank_in} would not save multiply-adds "
        f"(at most {most} would)"
    )


def _by_budget(
    network: nn.Module, offers: Sequence[_Offer], wanted: records.Cut, other_macs: int
) -> list[_Ranks | str]:
    """What each layer takes so that all together fit the budget."""
    tables = [_tables(offer) for offer in offers]
    unused = {"cost": torch.inf} | dict.fromkeys(_LOSSES, 0.0)
    padded = {
        name: pad_sequence([t[name] for t in tables], batch_first=True, padding_value=value)
        for name, value in unused.items()
    }
    options = Options(**padded)
    budget = budget_of(network, options, wanted, other_macs=other_macs)
    picks = BUDGET_RULES[wanted.allocation].choose(options, budget).tolist()
    return [
        _picked(offer, int(table["place"][pick]))
        for offer, table, pick in zip(offers, tables, picks, strict=True)
    ]


def _tables(offer: _Offer) -> dict[str, Tensor]:
    """(K,) tables of what is worth offering, and its `place` in the layer's pairs from 1.

    Option 0 is dense. A pair is worth it where, by one of the losses, none that costs no more loses
    as little.
    """
    dense = torch.tensor([float(offer.dense)], dtype=torch.float64)
    nothing = torch.zeros_like(dense)
    if offer.pairs is None:
        return {"place": nothing, "cost": dense} | dict.fromkeys(_LOSSES, nothing)
    step = offer.pairs.multiple
    cost = torch.cat([dense, offer.pairs.cost.flatten()])
    losses = {
        name: torch.cat([nothing, grid[step::step, step::step].flatten().cpu()])
        for name, grid in _losses(offer.pairs.modes).items()
    }
    unbeaten = [frontiers(cost[None], loss[None])[0].option for loss in losses.values()]
    place = torch.unique(torch.tensor([0, *(int(at) for row in unbeaten for at in row)]))
    return {"place": place, "cost": cost[place]} | {k: loss[place] for k, loss in losses.items()}


_LOSSES = ("error", "worst", "beyond", "removed")


def _losses(modes: tucker.Modes) -> dict[str, Tensor]:
    """(q_in + 1, q_out + 1) grids of what each pair loses, by the names that `Options` has.

    All but the energy is lost by each axis: of the two, it is the one that fares worse.
    """
    ends = [functional.pad(values, (0, 1)) for values in (modes.values_in, modes.values_out)]
    tiny = torch.finfo(modes.lost.dtype).tiny
    by_axis = {
        "worst": [values / values[0].clamp_min(tiny) for values in ends],
        "beyond": ends,
        "removed": [1 - torch.arange(len(values)).double() / (len(values) - 1) for values in ends],
    }
    worse = {name: torch.maximum(into[:, None], out) for name, (into, out) in by_axis.items()}
    return {"error": modes.lost} | worse


def _picked(offer: _Offer, place: int) -> _Ranks | str:
    if offer.pairs is None or place == 0:
        return offer.reason
    return offer.pairs.at(*divmod(place - 1, offer.pairs.cost.shape[1]))


def _placed(result: nn.Module, offer: _Offer, ranks: _Ranks) -> records.Layer:
    """Puts the three layers into `result` and tells what they are."""
    module, shape = offer.layer.module, shape_of(offer.layer.module)
    assert isinstance(module, nn.Conv2d)
    assert offer.pairs is not None
    rank_in, rank_out = ranks.rank_in, ranks.rank_out
    weight = kernel(module)
    weights = tucker.factorise(weight, rank_in=rank_in, rank_out=rank_out)
    parts = tucker.layers(module, rank_in=rank_in, rank_out=rank_out)
    fill_(module, parts, weights)
    replace(result, offer.layer.name, nn.Sequential(*parts))
    record = offer.layer.dense("")
    extra = record.dense_parameters - weight.numel()
    return records.Layer(
        name=record.name,
        scheme="tucker",
        rank=rank_out,
        rank_in=rank_in,
        full_rank=tucker.full_ranks(shape)[1],
        macs=tucker.macs(shape, offer.layer.extents).of(rank_in, rank_out),
        dense_macs=record.dense_macs,
        parameters=tucker.parameters(shape).of(rank_in, rank_out) + extra,
        dense_parameters=record.dense_parameters,
        reason=None,
        kept={"tucker": tucker.retained(weight, weights[1])},
        spectrum=sketch(offer.pairs.modes.values_out),
    )
