"""From trained weights to a smaller network: choose ranks, factor, leave what saves nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.costs import MeasuredLayer, measure
from trp_search.lowrank.rebuild import replace
from trp_search.lowrank.rules import Energy, Fixed, RankRule, Value
from trp_search.lowrank.schemes import SCHEMES, kernel, shape_of, split
from trp_search.lowrank.tracing import extents
from trp_search.lowrank.truncation import spectra, wide


@dataclass(frozen=True, kw_only=True)
class Decomposed:
    """A decomposed copy of a network and, layer by layer, what was done and why."""

    network: nn.Module
    layers: tuple[records.Layer, ...]


def decompose(  # noqa: PLR0913  options of a public call, each with a default
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    *,
    scheme: str = "channel",
    energy: float | None = None,
    value: float | None = None,
    ranks: Mapping[str, int] | None = None,
    layers: records.Layers = "all",
) -> Decomposed:
    """A copy of `network` in which pairs of low-rank layers stand for the layers they make cheaper.

    Args:
        network: any module; it is not changed.
        example_input: what its forward pass takes: a tensor with a batch axis, or the arguments.
        scheme: `channel`, `spatial` or `decoupled`.
        energy: keep this share of each layer's squared singular values, in (0, 1].
        value: or keep the singular values at or above this.
        ranks: or these ranks by layer name, taken even where they do not save multiply-adds; layers
            that are not named stay dense.
        layers: `all`, or `kxk`: convolutions wider than 1x1 but the first.

    Raises:
        InputError: not exactly one rule, or one out of range; an unknown scheme or layer.
    """
    if scheme not in SCHEMES:
        raise InputError(f"scheme: {scheme!r} is not one of {', '.join(SCHEMES)}")
    rule = _rule(energy, value, ranks)
    method = SCHEMES[scheme]
    measured = measure(network, example_input, method, layers=layers)
    if ranks is not None:
        _check_ranks(ranks, measured)
    result = copy.deepcopy(network)
    # Making layers draws their first weights, which must not move the caller's random numbers.
    with torch.random.fork_rng(devices=[]), torch.autocast(_device_type(network), enabled=False):
        cut = tuple(_cut(result, layer, rule, ranks) for layer in measured)
    _check_runs(result, example_input)
    return Decomposed(network=result, layers=cut)


def _device_type(network: nn.Module) -> str:
    return next((parameter.device.type for parameter in network.parameters()), "cpu")


def _check_runs(network: nn.Module, example_input: Tensor | Sequence[Any]) -> None:
    """A network may read a layer's weight itself, which a pair of layers does not have."""
    try:
        extents(network, example_input, {})
    except AttributeError as error:
        raise InputError(
            f"the network reads a layer that was factored ({error}); name ranks for other layers"
        ) from None


def _cut(
    result: nn.Module, layer: MeasuredLayer, rule: RankRule, ranks: Mapping[str, int] | None
) -> records.Layer:
    """Replaces `layer` in `result` by its pair, or says why it stays dense."""
    if layer.reason is not None:
        return layer.dense(layer.reason)
    if ranks is not None:
        if layer.name not in ranks:
            return layer.dense("no rank given")
        rule = Fixed(ranks[layer.name])
    matrices, transposed = wide(layer.scheme.matrices(kernel(layer.module)))
    # Past this side double precision costs minutes, and single is still exact to 1e-6.
    found = spectra(matrices.double() if matrices.shape[1] <= _DOUBLE_SIDE else matrices.float())
    rank = max(1, int(rule.ranks(found.squares.sqrt().flip(-1)).max()))
    if ranks is None and rank * layer.macs_per_rank >= layer.dense_macs:
        most = (layer.dense_macs - 1) // layer.macs_per_rank
        return layer.dense(f"rank {rank} would not save multiply-adds (at most {most} would)")
    first, second = layer.scheme.layers(layer.module, rank)
    _fill_(layer, (first, second), split(found, rank, transposed=transposed))
    replace(result, layer.name, nn.Sequential(first, second))
    return layer.factored(rank)


_DOUBLE_SIDE = 1024


@torch.no_grad()
def _fill_(
    layer: MeasuredLayer, pair: tuple[nn.Module, nn.Module], sides: tuple[Tensor, Tensor]
) -> None:
    original = layer.module.weight
    assert isinstance(original, Tensor)
    bias = layer.module.bias
    weights = layer.scheme.factors(*sides, shape_of(layer.module))
    for module, weight in zip(pair, weights, strict=True):
        module.to(device=original.device, dtype=original.dtype)
        module.train(layer.module.training)
        module.requires_grad_(original.requires_grad)
        target = module.weight
        assert isinstance(target, Tensor)
        target.copy_(weight.reshape(target.shape))
    if isinstance(bias, Tensor):
        target = pair[1].bias
        assert isinstance(target, Tensor)
        target.copy_(bias)


def _rule(energy: float | None, value: float | None, ranks: Mapping[str, int] | None) -> RankRule:
    if sum(given is not None for given in (energy, value, ranks)) != 1:
        raise InputError("decompose: give exactly one of energy, value and ranks")
    if energy is not None:
        if not 0 < energy <= 1:
            raise InputError(f"energy: {energy} is not in (0, 1]")
        return Energy(energy)
    if value is not None:
        if not value > 0:
            raise InputError(f"value: {value} is not above 0")
        return Value(value)
    return Fixed(1)


def _check_ranks(ranks: Mapping[str, int], measured: Sequence[MeasuredLayer]) -> None:
    reasons = {layer.name: layer.reason for layer in measured}
    for name, rank in ranks.items():
        reason = reasons.get(name, "there is no such convolution or linear layer")
        if reason is not None:
            raise InputError(f"ranks: {name!r} cannot be factored: {reason}")
        if rank < 1:
            raise InputError(f"ranks: {name}: {rank} is below 1")
