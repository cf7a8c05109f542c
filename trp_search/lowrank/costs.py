"""Costs of each layer of a network, dense and per rank, before a cut."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.attention import opened
from trp_search.lowrank.factoring import Factoring, Number, Ranks
from trp_search.lowrank.kernels import Extent, groups_of, seen, shape_of
from trp_search.lowrank.needs import needed
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.select import parsed, select
from trp_search.lowrank.tracing import extents


def measure(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    scheme: Factoring,
    *,
    layers: records.Layers,
    replaced: bool = True,
) -> list[MeasuredLayer]:
    """As `measure_each`, under one factoring."""
    (found,) = measure_each(network, example_input, [scheme], layers=layers, replaced=replaced)
    return found


def measure_each(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    schemes: Sequence[Factoring],
    *,
    layers: records.Layers,
    replaced: bool = True,
) -> list[list[MeasuredLayer]]:
    """Every convolution and linear layer under each scheme, by a few forward passes in all.

    Layers are in the network's order.

    Torch's attention counts as its four projections: see `attention.opened`.

    Args:
        network: any module.
        example_input: input of its forward pass.
        schemes: the ways to factor a layer.
        layers: which layers may be cut.
        replaced: whether new layers replace the old ones; a layer that the network uses other than
            by calls then stays.

    Raises:
        InputError: the network is itself a single layer, `check_eager` refuses it, or it does not
            run on its example input.
    """
    network = opened(network, example_input)
    layers = settled(network, example_input, layers)
    picks = [select(network, scheme, layers=layers) for scheme in schemes]
    chosen = {name: module for some, _ in picks for name, module in some.items()}
    every = chosen.keys() | picks[0][1].keys()
    if "" in every:
        raise InputError("the network is a single layer: wrap it in torch.nn.Sequential")
    found = {name: m for name, m in network.named_modules() if name in every}
    sizes = extents(network, example_input, found)
    uses: dict[str, str] = {}
    if replaced:
        calls = {name: len(sizes[name]) for name in chosen}
        uses |= needed(network, example_input, chosen, calls)
    uncalled = {name: "not called in a forward pass" for name in found if not sizes[name]}
    return [
        [
            MeasuredLayer(
                name=name,
                module=module,
                scheme=scheme,
                extents=sizes[name],
                reason=(uncalled | uses | refused).get(name),
            )
            for name, module in found.items()
        ]
        for scheme, (_, refused) in zip(schemes, picks, strict=True)
    ]


def settled(
    network: nn.Module, example_input: Tensor | Sequence[Any], layers: records.Layers
) -> records.Layers:
    """`layers` with `auto` replaced by what suits the network: `kxk`, or `all`.

    `kxk` is the TRP authors' choice: each convolution wider than 1x1 but the first. It suits where
    these hold three quarters of the multiply-adds of the layers that can be cut.
    """
    selection = parsed(layers)
    if selection.word != records.AUTO:
        return layers
    network = opened(network, example_input)
    every, _ = select(network, _CHANNEL, layers=layers)
    wide, _ = select(network, _CHANNEL, layers="kxk")
    sizes = extents(network, example_input, every)
    macs = {
        name: MeasuredLayer(
            name=name, module=module, scheme=_CHANNEL, extents=sizes[name], reason=None
        ).dense_macs
        for name, module in every.items()
    }
    held = sum(macs[name] for name in every.keys() & wide.keys())
    suits = held > 0 and held >= _MOST * sum(macs.values())
    return str(dataclasses.replace(selection, word="kxk" if suits else "all"))


_CHANNEL = SCHEMES["channel"]
_MOST = 0.75


@dataclass(frozen=True, kw_only=True)
class MeasuredLayer:
    """A layer, its costs, and why it cannot be factored, if so."""

    name: str
    module: nn.Module
    scheme: Factoring
    extents: list[Extent]
    reason: str | None

    @property
    def dense_macs(self) -> int:
        """Multiply-adds for one image."""
        weights = groups_of(self.module) * math.prod(shape_of(self.module))
        extents = seen(self.module, self.extents)
        return weights * sum(e.height_out * e.width_out for e in extents)

    @property
    def biases(self) -> int:
        """Parameters besides weights, which stay."""
        bias = self.module.bias
        return bias.numel() if isinstance(bias, Tensor) else 0

    @property
    def full_ranks(self) -> Ranks:
        """The least ranks at which nothing is lost."""
        return self.scheme.full_ranks(shape_of(self.module))

    def macs(self, ranks: Sequence[Number]) -> Number:
        """Multiply-adds for one image at `ranks`."""
        extents = seen(self.module, self.extents)
        return groups_of(self.module) * self.scheme.macs(shape_of(self.module), extents, ranks)

    def parameters(self, ranks: Sequence[Number]) -> Number:
        """Weights at `ranks`, without the bias."""
        return groups_of(self.module) * self.scheme.parameters(shape_of(self.module), ranks)

    def dense(self, reason: str | None) -> records.Layer:
        """The record of the dense layer; without a reason for others to be made of."""
        parameters = sum(p.numel() for p in self.module.parameters())
        return records.Layer(
            name=self.name,
            scheme=None,
            rank=None,
            full_rank=None,
            macs=self.dense_macs,
            dense_macs=self.dense_macs,
            parameters=parameters,
            dense_parameters=parameters,
            reason=reason,
        )

    def factored(self, ranks: Ranks) -> records.Layer:
        """The record of the layer factored at `ranks`."""
        return dataclasses.replace(
            self.dense(None),
            scheme=self.scheme.name,
            rank=ranks[-1],
            rank_in=ranks[0] if len(ranks) > 1 else None,
            full_rank=self.full_ranks[-1],
            macs=self.macs(ranks),
            parameters=self.parameters(ranks) + self.biases,
        )


# What multiplies outside the layers that can be cut.
ELSEWHERE = "products of attention, recurrent layers or weights that the network reads itself"


def outside(layers: Iterable[MeasuredLayer], *, macs: int) -> int:
    """Multiply-adds for one image, of a network's `macs`, that no layer accounts for."""
    return max(0, macs - sum(layer.dense_macs for layer in layers))
