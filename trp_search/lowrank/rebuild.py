"""Puts pairs of layers where layers were, so that decomposed weights can be loaded."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.schemes import SCHEMES, shape_of


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Puts `module` where the submodule `name` is, in place."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def rebuild(network: nn.Module, layers: Sequence[records.Layer]) -> None:
    """Gives `network`, in place, the (untrained) pairs of layers that `layers` describe.

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
        if not isinstance(module, nn.Conv2d | nn.Linear):
            raise InputError(f"layer {layer.name!r}: {type(module).__name__} cannot be factored")
        scheme, shape = SCHEMES[layer.scheme], shape_of(module)
        refusal = scheme.refuses(shape)
        if refusal is not None:
            raise InputError(f"layer {layer.name!r}: {scheme.name} is refused: {refusal}")
        if not 1 <= layer.rank <= scheme.full_rank(shape):
            raise InputError(
                f"layer {layer.name!r}: rank {layer.rank} is not in 1..{scheme.full_rank(shape)}"
            )
        replace(network, layer.name, nn.Sequential(*scheme.layers(module, layer.rank)))
