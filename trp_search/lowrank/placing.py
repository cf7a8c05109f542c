"""Replaces layers, and checks that the network still runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trp_search.errors import InputError, one_line
from trp_search.lowrank.attention import open_
from trp_search.lowrank.kernels import ordered
from trp_search.lowrank.tracing import run
from trp_search.tasks.modes import evaluating


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Puts `module` where the layer `name` is, in place; opens the attention around it."""
    open_(network, name)
    put(network, name, module)


def put(network: nn.Module, name: str, module: nn.Module) -> None:
    """Puts `module` where the layer `name` is, in place."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


@torch.no_grad()
def fill_(module: nn.Module, parts: Sequence[nn.Module], weights: Sequence[Tensor]) -> None:
    """Gives `parts`, which replace `module`, the factors of its kernel, its bias and settings."""
    original, bias = module.weight, module.bias
    assert isinstance(original, Tensor)
    for part, weight in zip(parts, ordered(module, weights), strict=True):
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
    """Raises InputError if a network cannot run without a layer that was factored."""
    with evaluating(network):
        try:
            run(network, example_input)
        except Exception as error:  # noqa: BLE001  a network may raise anything
            raise InputError(
                f"the network does not run once layers are factored ({one_line(error)}); "
                "name ranks for other layers"
            ) from None


def copied(network: nn.Module) -> nn.Module:
    """A copy of a network; InputError where it cannot be copied.

    A weight that is computed from others, as by `torch.nn.utils.weight_norm`, is copied as it is.
    """
    held = [v for m in network.modules() for v in (*vars(m).values(), *m._buffers.values())]
    computed = [value for value in held if isinstance(value, Tensor) and not value.is_leaf]
    try:
        return copy.deepcopy(network, {id(value): value.detach().clone() for value in computed})
    except Exception as error:
        raise InputError(f"network: it cannot be copied: {one_line(error)}") from error
