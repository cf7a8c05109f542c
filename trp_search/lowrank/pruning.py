"""A network without some of its channels: which ones, and the weights that stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank import filters
from trp_search.lowrank.channel_budget import counts, record
from trp_search.lowrank.counter import multiply_adds
from trp_search.lowrank.decompose import Decomposed, checked
from trp_search.lowrank.filters import Moments, Ranking, fitted, ranking
from trp_search.lowrank.kernels import kernel
from trp_search.lowrank.moments import collect
from trp_search.lowrank.prunable import Prunable, narrowed, prunable
from trp_search.lowrank.schemes import Channel
from trp_search.lowrank.select import check_finite
from trp_search.lowrank.tracing import full_precision

_SPARED = "other layers lose less by their channels at this budget"


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A network whose groups are ranked by a criterion; serves any number of cuts.

    Attributes:
        rankings: of each group of `prunable`; those without one stay.
        moments: of what is read, if weights are fitted.
    """

    prunable: Prunable
    example_input: Tensor | Sequence[Any]
    rankings: Sequence[Ranking]
    moments: Moments
    macs: int


@torch.no_grad()
def ranked(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    wanted: records.Cut,
    batches: Iterable[Tensor] | None,
) -> Ranked:
    """The groups of `network`, which is not changed, as the cut ranks them.

    Without `batches`, whatever the criterion, by magnitude.

    Raises:
        InputError: there is nothing to prune, or a weight or calibration value is not finite.
    """
    assert wanted.importance is not None
    found = prunable(network, example_input, wanted.layers)
    for layer in found.layers:
        check_finite(layer.name, layer.module)
    criterion = "magnitude" if wanted.fits and batches is None else wanted.importance
    moments: dict[str, Tensor] = {}
    if wanted.fits and batches is not None:
        readers = {n: network.get_submodule(n) for group in found.groups for n in group.read}
        fit = {name: module for name, module in readers.items() if filters.usable(module)}
        layers = {name: (module, [Channel()]) for name, module in fit.items()}
        with full_precision(network):
            sums = collect(network, batches, layers, outputs=False)
        moments = {name: one.matrix.double() for (name, _), one in sums.items()}
    each = [ranking(network, group, criterion, moments) for group in found.groups]
    reasons = {
        name: one
        for group, one in zip(found.groups, each, strict=True)
        if isinstance(one, str)
        for name in group.written
    }
    pairs = [(g, r) for g, r in zip(found.groups, each, strict=True) if isinstance(r, Ranking)]
    if not pairs:
        why = "; ".join(dict.fromkeys((reasons | dict(found.reasons)).values()))
        raise InputError(f"prune: the network has no channels to lose: {why[:300]}")
    found = dataclasses.replace(
        found, groups=[group for group, _ in pairs], reasons={**found.reasons, **reasons}
    )
    return Ranked(
        prunable=found,
        example_input=example_input,
        rankings=[one for _, one in pairs],
        moments=moments,
        macs=multiply_adds(network, example_input),
    )


@torch.no_grad()
def pruned(found: Ranked, wanted: records.Cut, *, other_macs: int) -> Decomposed:
    """A copy of the ranked network, cut as `wanted`, with the weights that stay fitted if it asks.

    Args:
        found: made for the cut's importance, layers and calibration images.
        wanted: the cut.
        other_macs: multiply-adds of the network, for one image, that no layer accounts for.

    Raises:
        InputError: the budget is out of reach; or the result does not run, or is counted otherwise.
    """
    network, groups = found.prunable.network, found.prunable.groups
    left = counts(found.prunable, found.rankings, wanted, other_macs=other_macs)
    kept = [
        one.order[len(one.order) - count :].sort().values
        for one, count in zip(found.rankings, left, strict=True)
    ]
    result, places = narrowed(network, groups, kept)
    for name, (read, written) in places.items():
        if name in found.moments and len(read) < len(found.moments[name]):
            module = result.get_submodule(name)
            _fit_(module, network.get_submodule(name), found.moments[name], read, written)
    widths = {name: (len(read), len(written)) for name, (read, written) in places.items()}
    reasons = found.prunable.reasons
    layers = [
        record(layer, widths.get(layer.name), reasons.get(layer.name, _SPARED))
        for layer in found.prunable.layers
    ]
    return checked(result, found.example_input, layers, dense=found.macs, widths=widths)


def _fit_(module: nn.Module, like: nn.Module, moments: Tensor, read: Tensor, out: Tensor) -> None:
    """Gives a narrowed layer the weights that answer most like the layer that it was."""
    weight = kernel(like).flatten(1).double()
    found = fitted(weight, moments, filters.columns(like, read).to(moments.device))
    target = module.weight
    assert isinstance(target, Tensor)
    target.copy_(found[out.to(found.device)].reshape(target.shape))


def factored_too(first: Decomposed, second: Decomposed) -> Decomposed:
    """The pruned network `first` once it is factored as `second`, with both against the uncut one.

    A layer that was factored counts as that.
    """
    layers = []
    for before, after in zip(first.layers, second.layers, strict=True):
        dense = {x: getattr(before, x) for x in ("dense_macs", "dense_parameters")}
        layers.append(before if after.scheme is None else dataclasses.replace(after, **dense))
    return dataclasses.replace(
        second, layers=tuple(layers), dense_macs=first.dense_macs, widths=first.widths
    )
