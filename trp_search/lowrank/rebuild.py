"""Layers from their records, in place of the dense ones, so that weights can be loaded."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.attention import open_
from trp_search.lowrank.decompositions import FACTORINGS
from trp_search.lowrank.kernels import kind_of, shape_of
from trp_search.lowrank.placing import put
from trp_search.lowrank.widths import narrow_to_


def rebuild(
    network: nn.Module, layers: Sequence[records.Layer], widths: records.Widths | None = None
) -> None:
    """Puts the (untrained) layers that `layers` describe into `network`, in place.

    Before that, modules get the channels in and out that `widths` has by their names.

    Raises:
        InputError: a layer that the network does not have or that has no such factors.
    """
    narrow_to_(network, widths or {})
    opens = _tell_of_projections(network, {layer.name for layer in layers})
    for layer in layers:
        if layer.rank is None or layer.scheme in (None, "pruned"):
            continue
        try:
            if opens:
                open_(network, layer.name)
            module = network.get_submodule(layer.name)
        except AttributeError:
            raise InputError(f"layer {layer.name!r}: the network has none of that name") from None
        put(network, layer.name, nn.Sequential(*_parts(layer, module)).train(module.training))


def _tell_of_projections(network: nn.Module, names: Collection[str]) -> bool:
    """Whether records count attention as four layers; those of 0.1.0 left it as it is."""
    attentions = [n for n, m in network.named_modules() if isinstance(m, nn.MultiheadAttention)]
    return not attentions or any(f"{name}.q" in names for name in attentions)


def _parts(layer: records.Layer, module: nn.Module) -> tuple[nn.Module, ...]:
    """The untrained layers that replace `module`."""
    where = f"layer {layer.name!r}"
    if kind_of(module) is None:
        raise InputError(f"{where}: {type(module).__name__} cannot be factored")
    factoring = FACTORINGS.get(str(layer.scheme))
    if factoring is None:
        raise InputError(f"{where}: {layer.scheme} has no rank")
    refusal, full = factoring.unfit(module), factoring.full_ranks(shape_of(module))
    if refusal is not None:
        raise InputError(f"{where}: {layer.scheme} is refused: {refusal}")
    if len(layer.ranks) != len(full):
        raise InputError(f"{where}: {layer.scheme} has {len(full)} ranks, not {len(layer.ranks)}")
    for rank, most in zip(layer.ranks, full, strict=True):
        if not 1 <= rank <= most:
            raise InputError(f"{where}: rank {rank} is not in 1..{most}")
    return factoring.layers(module, layer.ranks)
