"""Budgets: what one counts of each layer, and what it leaves for all of them together."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

from torch import nn
from typing_extensions import override

from trp_search.errors import InputError
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.factoring import Number, shape_of
from trp_search.records import Budget, Keep, Layers, Parameters


class Count(ABC):
    """What is counted of a network."""

    noun: ClassVar[str]

    @abstractmethod
    def dense(self, layer: MeasuredLayer) -> int:
        """What a layer costs as it is."""

    @abstractmethod
    def at(self, layer: MeasuredLayer, ranks: Sequence[Number]) -> Number:
        """What it costs at `ranks`."""

    @abstractmethod
    def other(self, network: nn.Module, dense: int, *, other_macs: int) -> int:
        """What no layer accounts for, where all of them cost `dense`."""


@final
class MultiplyAdds(Count):
    """Multiply-adds of one image."""

    noun = "multiply-adds"

    @override
    def dense(self, layer: MeasuredLayer) -> int:
        return layer.dense_macs

    @override
    def at(self, layer: MeasuredLayer, ranks: Sequence[Number]) -> Number:
        return layer.macs(ranks)

    @override
    def other(self, network: nn.Module, dense: int, *, other_macs: int) -> int:
        return other_macs


@final
class Weights(Count):
    """Parameters, biases among them."""

    noun = "parameters"

    @override
    def dense(self, layer: MeasuredLayer) -> int:
        return layer.dense("").dense_parameters

    @override
    def at(self, layer: MeasuredLayer, ranks: Sequence[Number]) -> Number:
        bias = self.dense(layer) - math.prod(shape_of(layer.module))
        return layer.parameters(ranks) + bias

    @override
    def other(self, network: nn.Module, dense: int, *, other_macs: int) -> int:
        return sum(parameter.numel() for parameter in network.parameters()) - dense


_OWN: dict[type[Keep], Count] = {Parameters: Weights()}
_USUAL = MultiplyAdds()


def counted(keep: Keep) -> Count:
    """What a layer has to save under `keep` to be factored."""
    return _OWN.get(type(keep), _USUAL)


def room(keep: Budget, *, dense: int, least: float, other: int, layers: Layers) -> float:
    """What layers may cost together that cost `dense` uncut, beside `other` of the network.

    Raises:
        InputError: their `least` is more; says the best that is not out of reach.
    """
    total = dense + other
    found = keep.within(total) - other
    if least > found:
        hint = " while layers is kxk; all has more" if layers == "kxk" else ""
        raise InputError(f"{keep.best(total, least + other)}{hint}")
    return found
