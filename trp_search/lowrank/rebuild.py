"""Puts pairs of layers where layers were, so that decomposed weights can be loaded."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank import tucker
from trp_search.lowrank.schemes import SCHEMES, shape_of
from trp_search.lowrank.tracing import one_line, run
from trp_search.tasks.modes import evaluating


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Puts `module` where the submodule `name` is, in place."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


@torch.no_grad()
def fill_(module: nn.Module, parts: Sequence[nn.Module], weights: Sequence[Tensor]) -> None:
    """Gives `parts`, which stand in for `module`, their weights, its bias and what else it is."""
    original, bias = module.weight, module.bias
    assert isinstance(original, Tensor)
    for part, weight in zip(parts, weights, strict=True):
        part.to(device=original.device, dtype=original.dtype)
        part.train(module.training)
        part.requires_grad_(original.requires_grad)
        target = part.weight
        assert isinstance(target, Tensor)
        target.copy_(weight.reshape(target.shape))
    if isinstance(bias, Tensor):
        target = parts[-1].bias
        assert isinstance(target, Tensor)
        target.requires_grad_(bias.requires_grad)
        target.copy_(bias)


def check_runs(network: nn.Module, example_input: Tensor | Sequence[Any]) -> None:
    """Raises InputError where a network cannot do without a layer that was factored."""
    with evaluating(network):
        try:
            run(network, example_input)
        except Exception as error:  # noqa: BLE001  a network raises anything
            raise InputError(
                f"the network does not run once layers are factored ({one_line(error)}); "
                "name ranks for other layers"
            ) from None


def copied(network: nn.Module) -> nn.Module:
    """A copy of a network; InputError where it cannot be copied."""
    try:
        return copy.deepcopy(network)
    except Exception as error:
        raise InputError(f"network: it cannot be copied: {one_line(error)}") from error


def rebuild(network: nn.Module, layers: Sequence[records.Layer]) -> None:
    """Gives `network`, in place, the (untrained) layers that `layers` describe.

    Raises:
        InputError: a layer that the network does not have or that has no such pair.
    """
    for layer in layers:
        if layer.rank is None or layer.scheme is None:
            continue
        try:
            module = network.get_submodule(layer.name)
        except AttributeError:
            raise InputError(f"layer {layer.name!r}: the network has none of that name") from None
        replace(network, layer.name, nn.Sequential(*_parts(layer, module)))


def _parts(layer: records.Layer, module: nn.Module) -> tuple[nn.Module, ...]:
    """The layers, untrained, that stand in for `module`."""
    if not isinstance(module, nn.Conv2d | nn.Linear):
        raise InputError(f"layer {layer.name!r}: {type(module).__name__} cannot be factored")
    assert layer.rank is not None
    shape = shape_of(module)
    if layer.scheme == "tucker":
        _check(layer, tucker.refuses(shape), layer.rank_in or 0, tucker.full_ranks(shape)[0])
        _check(layer, None, layer.rank, tucker.full_ranks(shape)[1])
        assert isinstance(module, nn.Conv2d)
        return tucker.layers(module, rank_in=layer.rank_in or 0, rank_out=layer.rank)
    if layer.scheme not in SCHEMES:
        raise InputError(f"layer {layer.name!r}: {layer.scheme} has no rank")
    scheme = SCHEMES[layer.scheme]
    _check(layer, scheme.refuses(shape), layer.rank, scheme.full_rank(shape))
    return scheme.layers(module, layer.rank)


def _check(layer: records.Layer, refusal: str | None, rank: int, most: int) -> None:
    if refusal is not None:
        raise InputError(f"layer {layer.name!r}: {layer.scheme} is refused: {refusal}")
    if not 1 <= rank <= most:
        raise InputError(f"layer {layer.name!r}: rank {rank} is not in 1..{most}")
