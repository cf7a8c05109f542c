"""The best reachable speedup of each scheme on a network: all layers at rank 1, no training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from trp_search import records
from trp_search.lowrank import cutting
from trp_search.lowrank.costs import MeasuredLayer, measure, measure_each, settled
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.schemes import SCHEMES, Scheme
from trp_search.progress import doing
from trp_search.scoring.flops import count
from trp_search.space import SearchSpace, any_trial, entries


@dataclass(frozen=True, kw_only=True)
class Reach:
    """One layer under one scheme: multiply-adds at rank 1, or why it stays dense."""

    macs: int
    full_rank: int | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class SurveyedLayer:
    """One layer and its reach under each scheme; `per-layer` is the cheapest."""

    name: str
    macs: int
    parameters: int
    reach: Mapping[str, Reach]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A network before any training.

    Attributes:
        macs: multiply-adds of the baseline for one image.
        counted: how multiply-adds were counted, if not by fvcore alone.
        selection: the layers that could be cut, not `auto`.
        best: the highest speedup each scheme could reach, every layer at rank 1; `per-layer` uses
            the cheapest scheme in each layer.
    """

    macs: int
    parameters: int
    counted: str | None
    layers: tuple[SurveyedLayer, ...]
    selection: records.Layers
    best: Mapping[str, float]

    @property
    def elsewhere(self) -> int:
        """Multiply-adds outside convolutions and linear layers."""
        return max(0, self.macs - sum(layer.macs for layer in self.layers))

    def caps(self, scheme: str) -> list[tuple[str, int]]:
        """Layers and the rest, with the multiply-adds that remain at rank 1, the largest first."""
        left = [(layer.name, layer.reach[scheme].macs) for layer in self.layers]
        return sorted([*left, ("elsewhere", self.elsewhere)], key=lambda one: -one[1])


@doing("surveying layers")
def survey(network: nn.Module, example_input: Tensor, *, layers: records.Layers = "all") -> Survey:
    """Surveys every convolution and linear layer under every scheme."""
    dense = count(network, example_input)
    selection = settled(network, example_input, layers)
    each = measure_each(network, example_input, list(SCHEMES.values()), layers=selection)
    found = {
        scheme: {layer.name: _at_best(layer) for layer in layers_}
        for scheme, layers_ in zip(SCHEMES, each, strict=True)
    }
    names = list(next(iter(found.values())))
    surveyed = tuple(
        _surveyed(name, {s: layers_[name] for s, layers_ in found.items()}) for name in names
    )
    left = {
        scheme: dense.macs - sum(layer.macs - layer.reach[scheme].macs for layer in surveyed)
        for scheme in (*SCHEMES, "per-layer")
    }
    return Survey(
        macs=dense.macs,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        counted=dense.note,
        layers=surveyed,
        selection=selection,
        best={scheme: dense.macs / macs for scheme, macs in left.items()},
    )


def at_best(
    network: nn.Module, example_input: Tensor, scheme: Scheme, *, layers: records.Layers
) -> list[records.Layer]:
    """Every convolution and linear layer at rank 1; dense if impossible, or if nothing is saved.

    Raises:
        InputError: the network is itself a single layer.
    """
    measured = measure(network, example_input, scheme, layers=layers)
    return [_at_best(layer) for layer in measured]


def widest_layers(space: SearchSpace) -> records.Layers:
    """The choice of layers if all trials have the same, else `all`."""
    choices = set(entries.values(space.space.layers))
    return str(choices.pop()) if len(choices) == 1 else "all"


def said_of(selection: records.Layers, asked: records.Layers) -> str:
    """The layers that may be cut, and that `auto` chose them, if so."""
    return selection if selection == asked else f"{selection}, which suits this network ({asked})"


def check_reach(network: nn.Module, example_input: Tensor, cut: records.Cut) -> None:
    """Raises InputError when no weights of `network` could meet `cut`."""
    if cut.solved is not None or isinstance(cut.keep, records.MaxDrop):
        cutting.check(network, example_input, cut)
        return  # the rest depends on images
    macs = count(network, example_input).macs
    importance = "magnitude" if cut.fits else cut.importance
    unseen = dataclasses.replace(
        cut, calibration_images=0, reconstruct="none", importance=importance
    )
    Cutter(network, example_input, macs=macs, samples=None).cut(unseen)


def check_methods(space: SearchSpace, network: nn.Module, example_input: Tensor) -> None:
    """Raises InputError where a method of the space has nothing to do on `network`."""
    for method in space.space.methods:
        cut = any_trial(space, {"method": method}).cuts[0]
        if cut.solved is not None or cut.importance is not None:
            check_reach(network, example_input, cut)


def _at_best(layer: MeasuredLayer) -> records.Layer:
    """The layer at rank 1, or dense where that saves nothing."""
    if layer.reason is not None:
        return layer.dense(layer.reason)
    ones = (1,) * len(layer.full_ranks)
    if layer.macs(ones) >= layer.dense_macs:
        return layer.dense("even rank 1 would not save multiply-adds")
    return layer.factored(ones)


def _surveyed(name: str, by_scheme: dict[str, records.Layer]) -> SurveyedLayer:
    first = next(iter(by_scheme.values()))
    cheapest = min(by_scheme.values(), key=lambda layer: layer.macs)
    return SurveyedLayer(
        name=name,
        macs=first.dense_macs,
        parameters=first.dense_parameters,
        reach={
            scheme: Reach(macs=layer.macs, full_rank=layer.full_rank, reason=layer.reason)
            for scheme, layer in (by_scheme | {"per-layer": cheapest}).items()
        },
    )
