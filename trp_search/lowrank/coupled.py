"""Channels that are removed together, from Torch-Pruning's dependency graph (arXiv 2301.12900)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from trp_search.errors import InputError, one_line
from trp_search.lowrank.placing import copied
from trp_search.lowrank.tracing import arguments
from trp_search.lowrank.widths import is_depthwise, width_of

Places = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Channels of several layers, each of which leaves all of them at once or none.

    Every field has, by the name of a module, the (units, n) places of each unit on an axis.

    Attributes:
        written: outputs of convolutions and linear layers.
        beside: channels of batch norms and depthwise convolutions.
        read: inputs of convolutions and linear layers.
        reason: why no unit can be removed, None if one can.
    """

    written: Places
    beside: Places
    read: Places
    reason: str | None

    @property
    def units(self) -> int:
        """How many there are."""
        return len(next(iter(self.written.values())))

    def sides(self) -> Iterator[tuple[str, Tensor, bool, bool]]:
        """Each module's name and places, and whether these are of its inputs and of its outputs."""
        for places, reads, writes in (
            (self.read, True, False),
            (self.written, False, True),
            (self.beside, True, True),
        ):
            for name, each in places.items():
                yield name, each, reads, writes


def coupled(network: nn.Module, example_input: Tensor | Sequence[Any]) -> list[Group]:
    """The groups of all outputs of `network`'s convolutions and linear layers.

    Raises:
        InputError: Torch-Pruning is not installed, or cannot trace the network.
    """
    try:
        import torch_pruning  # noqa: PLC0415  imports timm
    except ImportError:
        raise InputError(
            "removing channels needs Torch-Pruning: pip install 'trp_search[prune]'"
        ) from None
    found = copied(network)
    with warnings.catch_warnings(), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        try:
            graph = torch_pruning.DependencyGraph().build_dependency(
                found.requires_grad_(requires_grad=True), arguments(example_input), verbose=False
            )
            return list(_groups(graph, {module: name for name, module in found.named_modules()}))
        except Exception as error:
            raise InputError(
                f"network: Torch-Pruning cannot trace it: {one_line(error)[:200]}"
            ) from error


def _groups(graph: Any, names: Mapping[nn.Module, str]) -> Iterator[Group]:  # noqa: ANN401
    seen: set[str] = set()
    for module in list(graph.module2node):
        root = names.get(module)
        if root is None or root in seen or not isinstance(module, nn.Linear | _ConvNd):
            continue
        if not is_depthwise(module):
            found = _group(graph, module, names)
            seen |= found.written.keys()
            yield found


def _group(graph: Any, module: Any, names: Mapping[nn.Module, str]) -> Group:  # noqa: ANN401
    """The group of a layer's outputs."""
    pruner, units = graph.get_pruner_of_module(module), module.weight.shape[0]
    if isinstance(module, _ConvNd) and module.transposed:
        units = module.out_channels
    items = graph.get_pruning_group(module, pruner.prune_out_channels, list(range(units)))
    parts: dict[str, dict[str, Tensor]] = {"written": {}, "beside": {}, "read": {}}
    reasons: list[str] = []
    for item in items.items:
        member = item.dep.target.module
        if isinstance(member, nn.Module) and member not in names:
            continue  # an operation without weights
        name, kind, reason = names.get(member, ""), "beside", _unfit(member)
        if isinstance(member, nn.Linear | _ConvNd) and not is_depthwise(member):
            out = graph.is_out_channel_pruning_fn(item.dep.handler)
            kind = "written" if out else "read"
        places = _places(item.idxs, item.root_idxs, units)
        if places is None or not _are_in(member, places, out=kind == "written"):
            reason = f"the channels of {name} do not fall to single outputs"
        else:
            parts[kind][name] = places
        reasons += [] if reason is None else [reason]
    if not parts["written"]:  # it stays, for a reason, under its name
        parts["written"][names[module]] = torch.arange(units).unsqueeze(1)
    if not parts["read"]:
        reasons.append("no layer reads it: the network's output")
    return Group(**parts, reason=next(iter(reasons), None))


def _places(places: Sequence[int], roots: Sequence[int], units: int) -> Tensor | None:
    """(units, n) `places` by the unit of each; None unless each has as many, once."""
    each, rest = divmod(len(places), units)
    order = torch.tensor(roots).sort(stable=True)
    balanced = torch.arange(units).repeat_interleave(max(1, each))
    if rest or len(set(places)) < len(places) or not torch.equal(order.values, balanced):
        return None
    return torch.tensor(places)[order.indices].reshape(units, each)


def _are_in(member: object, places: Tensor, *, out: bool) -> bool:
    """Whether a layer has these places; behind GLU or PixelShuffle the graph names others."""
    width = width_of(member) if isinstance(member, nn.Module) else None
    return width is None or int(places.max()) < width[out]


def _unfit(member: object) -> str | None:
    """Why a group with this module, or parameter, cannot be pruned."""
    if isinstance(member, nn.Linear) or is_depthwise(member):
        return None
    if isinstance(member, _ConvNd):
        return "tied to a grouped convolution" if member.groups > 1 else None
    if isinstance(member, _BatchNorm):
        return None
    return f"tied to a {type(member).__name__}"
