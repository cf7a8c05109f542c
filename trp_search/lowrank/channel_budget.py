"""How many channels of each group stay within a budget, and what layers of fewer channels cost."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from torch import nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.budgets import MultiplyAdds, counted, room
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.filters import Ranking
from trp_search.lowrank.prunable import Prunable
from trp_search.lowrank.widths import is_paired, width_of

Width = tuple[int, int]
# A group keeps this share of its units, however little they seem to matter.
_LEAST = 1 / 8


def counts(
    found: Prunable, rankings: Sequence[Ranking], wanted: records.Cut, *, other_macs: int
) -> list[int]:
    """How many units of each group stay: units leave by the least loss until the budget is met.

    The allocation `uniform` takes the share that has left instead of the loss.

    Args:
        found: whose groups the `rankings` are of.
        rankings: one for each group.
        wanted: the cut.
        other_macs: multiply-adds of the network, for one image, that no layer accounts for.

    Raises:
        InputError: the budget is out of reach, and the message names the best reachable one.
    """
    keep, full = wanted.keep, [group.units for group in found.groups]
    if isinstance(keep, records.Ratio):
        return [_nearest(keep.ratio * units, units, wanted.multiple) for units in full]
    if not isinstance(keep, records.WholeNetwork):
        raise InputError(f"{keep.key()}: a cut alone has no scores; ask for a speedup")
    by_macs = isinstance(counted(keep, None), MultiplyAdds)
    steps = sorted(
        (loss, -units / full[place], place, units)
        for place, one in enumerate(rankings)
        for loss, units in _steps(one, wanted)
    )

    def left(taken: int) -> list[int]:
        found = dict(enumerate(full)) | {place: units for *_, place, units in steps[:taken]}
        return list(found.values())

    def spent(taken: int) -> int:
        widths = _widths(found, left(taken))
        return (_macs if by_macs else _parameters)(found, widths)

    total = sum(parameter.numel() for parameter in found.network.parameters())
    dense, least = spent(0), spent(len(steps))
    other = other_macs if by_macs else total - dense
    layers = "all" if wanted.layers == records.AUTO else wanted.layers
    allowed = room(keep, dense=dense, least=float(least), other=other, layers=layers)
    return left(bisect_left(range(len(steps)), -allowed, key=lambda taken: -spent(taken)))


def _steps(one: Ranking, wanted: records.Cut) -> Iterator[tuple[float, int]]:
    """The loss at which a group comes down to a number of units, and the number."""
    units = len(one.order)
    least = _nearest(_LEAST * units, units, wanted.multiple)
    for left in range(units - 1, least - 1, -1):
        if left % wanted.multiple == 0:
            gone = units - left
            yield gone / units if wanted.allocation == "uniform" else float(one.loss[gone]), left


def _nearest(share: float, units: int, multiple: int) -> int:
    """The multiple nearest to a share of `units`, at least one; or all of them."""
    return min(units, max(1, math.floor(share / multiple + 0.5)) * multiple)


def _widths(found: Prunable, left: Sequence[int]) -> dict[str, Width]:
    """Channels in and out of each module that loses some."""
    widths: dict[str, Width] = {}
    for group, count in zip(found.groups, left, strict=True):
        gone = group.units - count
        for name, each, reads, writes in group.sides():
            before = widths.get(name) or width_of(found.network.get_submodule(name))
            assert before is not None, name
            lost = gone * each.shape[1]
            widths[name] = (before[0] - reads * lost, before[1] - writes * lost)
    return widths


def _macs(found: Prunable, widths: dict[str, Width]) -> int:
    return sum(macs(layer, widths.get(layer.name)) for layer in found.layers)


def _parameters(found: Prunable, widths: dict[str, Width]) -> int:
    names = {layer.name for layer in found.layers} | widths.keys()
    modules = {name: found.network.get_submodule(name) for name in names}
    return sum(parameters(module, widths.get(name)) for name, module in modules.items())


def macs(layer: MeasuredLayer, width: Width | None) -> int:
    """Multiply-adds for one image of a layer of this width."""
    return _share(layer.module, layer.dense_macs, width)


def parameters(module: nn.Module, width: Width | None) -> int:
    """Parameters of a module of this width."""
    found = 0
    for name, parameter in module.named_parameters(recurse=False):
        full = width_of(module)
        if name == "weight" or width is None or full is None:
            found += _share(module, parameter.numel(), width)
        else:
            found += parameter.numel() * width[1] // full[1]
    return found


def _share(module: nn.Module, amount: int, width: Width | None) -> int:
    """What is left of an amount that each pair of a channel in and a channel out has a part of."""
    full = width_of(module)
    if width is None or full is None:
        return amount
    if is_paired(module):
        return amount * width[1] // full[1]
    return amount * width[0] * width[1] // (full[0] * full[1])


def record(layer: MeasuredLayer, width: Width | None, reason: str) -> records.Layer:
    """The record of a layer of this width; without one it is dense for `reason`."""
    full = width_of(layer.module)
    if width is None or full is None:
        return layer.dense(reason)
    return dataclasses.replace(
        layer.dense(None),
        scheme="pruned",
        rank=width[1],
        rank_in=width[0],
        full_rank=full[1],
        macs=macs(layer, width),
        parameters=parameters(layer.module, width),
    )
