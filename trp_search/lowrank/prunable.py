"""The channels that a network can lose, each group checked by what the network computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.lowrank.costs import MeasuredLayer, measure
from trp_search.lowrank.coupled import Group, coupled
from trp_search.lowrank.factoring import Factoring, Number, Ranks
from trp_search.lowrank.kernels import Part, Shape, is_adjoint
from trp_search.lowrank.needs import alike, drawn, tensors
from trp_search.lowrank.placing import copied
from trp_search.lowrank.select import select
from trp_search.lowrank.widths import narrow_, width_of
from trp_search.tasks.modes import evaluating


@final
class Narrowed(Factoring):
    """One layer of fewer inputs and outputs."""

    name = "pruned"

    @override
    def full_ranks(self, shape: Shape) -> Ranks:
        return shape[1], shape[0]

    @override
    def parts(self, shape: Shape, ranks: Sequence[Number]) -> tuple[Part, ...]:
        return (Part(read=ranks[0], written=ranks[1], height=True, width=True),)

    @override
    def unfit(self, module: nn.Module) -> str | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Prunable:
    """A network, its layers in order, and what it can lose.

    Attributes:
        groups: those with a channel to lose.
        reasons: by layer, why none of its outputs can be removed.
    """

    network: nn.Module
    layers: Sequence[MeasuredLayer]
    groups: Sequence[Group]
    reasons: Mapping[str, str]


def prunable(
    network: nn.Module, example_input: Tensor | Sequence[Any], layers: records.Layers
) -> Prunable:
    """What `network`, which is not changed, can lose.

    A group is checked: without half of its channels the network must compute what it computes if
    nothing reads them.

    Raises:
        InputError: Torch-Pruning cannot trace the network, or `layers` names none of its layers.
    """
    measured = measure(network, example_input, Narrowed(), layers="all", replaced=False)
    unfit = {one.name: one.reason for one in measured if one.reason is not None}
    _, refused = select(network, Narrowed(), layers=layers)
    order = {one.name: place for place, one in enumerate(measured)}
    groups = [_with_reason(one, unfit, unfit | refused) for one in coupled(network, example_input)]
    groups.sort(key=lambda group: min(order[name] for name in group.written))
    groups = list(_checked(network, example_input, groups))
    return Prunable(
        network=network,
        layers=measured,
        groups=[group for group in groups if group.reason is None],
        reasons={name: one.reason for one in groups if one.reason for name in one.written} | unfit,
    )


@torch.no_grad()
def narrowed(
    network: nn.Module, groups: Sequence[Group], kept: Sequence[Tensor]
) -> tuple[nn.Module, dict[str, tuple[Tensor, Tensor]]]:
    """A copy of `network` with the `kept` units of each group alone.

    Also the places, in and out, that each module which lost some has kept.
    """
    result = copied(network)
    places = places_kept(network, groups, kept)
    for name, (read, written) in places.items():
        narrow_(result.get_submodule(name), read, written)
    return result, places


def places_kept(
    network: nn.Module, groups: Sequence[Group], kept: Sequence[Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """The places, in and out, that each module keeps which loses some."""
    gone = _Gone()
    for group, units in zip(groups, kept, strict=True):
        gone.add(group, units)
    return {name: gone.places(name, network.get_submodule(name)) for name in gone.names}


@dataclass
class _Gone:
    """Places that modules lose, of their inputs and of their outputs."""

    read: dict[str, list[Tensor]] = field(default_factory=dict)
    written: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.read | self.written)

    def add(self, group: Group, kept: Tensor) -> None:
        lost = torch.ones(group.units, dtype=torch.bool).index_fill(0, kept, 0)
        if not lost.any():
            return
        for name, each, reads, writes in group.sides():
            for side in (self.read,) * reads + (self.written,) * writes:
                side.setdefault(name, []).append(each[lost].flatten())

    def places(self, name: str, module: nn.Module) -> tuple[Tensor, Tensor]:
        """Places in and out that the module keeps."""
        width = width_of(module)
        assert width is not None, name
        sides = ((self.read, width[0]), (self.written, width[1]))
        kept = []
        for side, count in sides:
            left = torch.ones(count, dtype=torch.bool)
            for places in side.get(name, ()):
                left[places] = False
            kept.append(left.nonzero().flatten())
        return kept[0], kept[1]


def _with_reason(group: Group, unfit: Mapping[str, str], refused: Mapping[str, str]) -> Group:
    """The group with the reason of a layer that cannot be narrower, or whose outputs must stay."""
    if group.reason is not None:
        return group
    found = [why for name in group.written if (why := refused.get(name))]
    others = (*group.beside, *group.read)
    found += [f"tied to {name}: {why}" for name in others if (why := unfit.get(name))]
    found += ["a single channel"] if group.units == 1 else []
    return dataclasses.replace(group, reason=next(iter(found), None))


def _checked(
    network: nn.Module, example_input: Tensor | Sequence[Any], groups: Sequence[Group]
) -> Iterator[Group]:
    """The groups, with a reason for those without whose channels the network computes otherwise."""
    fit = [group for group in groups if group.reason is None]
    together = _is_faithful(network, example_input, fit)
    for group in groups:
        if group.reason or together or _is_faithful(network, example_input, [group]):
            yield group
        else:
            reason = "without some of its channels the network does not compute the same"
            yield dataclasses.replace(group, reason=reason)


@torch.no_grad()
def _is_faithful(
    network: nn.Module, example_input: Tensor | Sequence[Any], groups: Sequence[Group]
) -> bool:
    """Whether a network without half of the groups' channels is the one that reads none of them."""
    half = [torch.arange(0, group.units, 2) for group in groups]
    small, _ = narrowed(network, groups, half)
    unread = copied(network)
    for group in groups:
        for name, places in group.read.items():
            module = unread.get_submodule(name)
            weight = module.weight
            assert isinstance(weight, Tensor)
            skipped = places[1::2].flatten().to(weight.device)
            weight.index_fill_(0 if is_adjoint(module) else 1, skipped, 0)
    return computes(small, unread, example_input)


@torch.no_grad()
def computes(one: nn.Module, like: nn.Module, example_input: Tensor | Sequence[Any]) -> bool:
    """Whether a network computes what another does, on noise, but for rounding."""
    given = drawn(example_input)
    with evaluating(one), evaluating(like):
        wanted = tensors(like(*given))
        try:
            return alike(tensors(one(*given)), wanted, within=_ROUNDING)
        except Exception:  # noqa: BLE001  a network may raise anything
            return False


_ROUNDING = 1e-3
