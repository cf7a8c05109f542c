"""Budgets: the counted cost of each layer, and the cost allowed to all layers together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, final

from torch import nn
from typing_extensions import override

from trp_search.errors import InputError, OutOfReachError
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.factoring import Number
from trp_search.records import TIMED, Keep, Layers, Parameters, WholeNetwork


class Count(ABC):
    """A cost that a budget counts.

    Attributes:
        noun: what it is called.
        rounding: how much of a budget its sums may miss; whole numbers miss none.
    """

    noun: ClassVar[str]
    rounding: ClassVar[float] = 0.0

    def check(self, macs: int) -> None:
        """Raises InputError where costs are of a network of other multiply-adds for an image."""
        del macs

    def knows(self, layer: MeasuredLayer) -> bool:
        """Whether it has costs of the layer in factors."""
        del layer
        return True

    @abstractmethod
    def dense(self, layer: MeasuredLayer) -> float | int:
        """The cost of a dense layer."""

    @abstractmethod
    def at(self, layer: MeasuredLayer, ranks: Sequence[Number]) -> Number:
        """The cost of a layer at `ranks`."""

    @abstractmethod
    def other(self, network: nn.Module, dense: float | int, *, other_macs: int) -> float | int:
        """The network's cost outside its layers, which cost `dense` together."""


@final
class MultiplyAdds(Count):
    """Multiply-adds for one image."""

    noun = "multiply-adds"

    @override
    def dense(self, layer: MeasuredLayer) -> int:
        return layer.dense_macs

    @override
    def at(self, layer: MeasuredLayer, ranks: Sequence[Number]) -> Number:
        return layer.macs(ranks)

    @override
    def other(self, network: nn.Module, dense: float | int, *, other_macs: int) -> float | int:
        return other_macs


@final
class Weights(Count):
    """Parameters, biases included."""

    noun = "parameters"

    @override
    def dense(self, layer: MeasuredLayer) -> int:
        return layer.dense(None).dense_parameters

    @override
    def at(self, layer: MeasuredLayer, ranks: Sequence[Number]) -> Number:
        return layer.parameters(ranks) + layer.biases

    @override
    def other(self, network: nn.Module, dense: float | int, *, other_macs: int) -> float | int:
        return sum(parameter.numel() for parameter in network.parameters()) - dense


_OWN: dict[type[Keep], Count] = {Parameters: Weights()}
_USUAL = MultiplyAdds()


def counted(keep: Keep, times: Count | None) -> Count:
    """The cost that factoring a layer must lower under `keep`.

    Raises:
        InputError: `keep` is time, and `times` are not given.
    """
    if keep.key() in TIMED:
        if times is None:
            raise InputError(f"{keep.key()}: {keep.amount:g} needs the times of layers on a target")
        return times
    return _OWN.get(type(keep), _USUAL)


def room(
    keep: WholeNetwork,
    *,
    dense: float | int,
    least: float,
    other: float | int,
    layers: Layers,
    rounding: float = 0.0,
) -> float:
    """The cost allowed to layers that cost `dense` uncut; the rest of the network costs `other`.

    Raises:
        OutOfReachError: the layers' `least` cost is more; the message names the best budget.
    """
    total = dense + other
    found = keep.within(total) * (1 + rounding) - other
    if least > found:
        hint = "" if layers == "all" else f" while layers is {layers}; all has more"
        raise OutOfReachError(f"{keep.best(total, least + other)}{hint}")
    return found
