"""Channels in the order of their importance, and a network that runs with the leading ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trp_search.lowrank.coupled import Group
from trp_search.lowrank.prunable import places_kept
from trp_search.lowrank.widths import resize_, sliced, width_of

# By the name of a module that loses channels, the places in and out that it keeps.
Places = Mapping[str, tuple[Tensor, Tensor]]


@torch.no_grad()
def reorder_(network: nn.Module, groups: Sequence[Group], orders: Sequence[Tensor]) -> None:
    """Puts the units of each group into the order given, in place; what is computed stays."""
    places: dict[str, tuple[Tensor, Tensor]] = {}
    for group, order in zip(groups, orders, strict=True):
        for name, each, reads, writes in group.sides():
            if name not in places:
                width = width_of(network.get_submodule(name))
                assert width is not None, name
                places[name] = torch.arange(width[0]), torch.arange(width[1])
            for side in (places[name][0],) * reads + (places[name][1],) * writes:
                side[each.flatten()] = each[order].flatten()
    for name, (read, written) in places.items():
        module = network.get_submodule(name)
        for own, found in sliced(module, read, written).items():
            getattr(module, own).copy_(found)


def leading(network: nn.Module, groups: Sequence[Group], counts: Sequence[int]) -> Places:
    """The places of the first units of each group, on the network's device."""
    device = next(network.parameters()).device
    kept = places_kept(network, groups, [torch.arange(count) for count in counts])
    return {name: (read.to(device), written.to(device)) for name, (read, written) in kept.items()}


@contextmanager
def narrow(network: nn.Module, places: Places) -> Iterator[None]:
    """The network with these places alone inside the block; gradients are of its own weights.

    Buffers stay as they are, whatever the network writes into them.
    """
    held = []
    try:
        for name, module in network.named_modules():
            if name not in places and not module._buffers:
                continue
            held.append((module, dict(vars(module))))
            slices = sliced(module, *places[name]) if name in places else {}
            buffers = {own: None if b is None else b.clone() for own, b in module._buffers.items()}
            for kind, every in (("_parameters", module._parameters), ("_buffers", buffers)):
                vars(module)[kind] = {own: slices.get(own, one) for own, one in every.items()}
            if name in places:
                resize_(module, *places[name])
        yield
    finally:
        for module, before in held:
            vars(module).update(before)
