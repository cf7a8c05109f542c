"""What layers save that are not timed one by one: whole networks of their kind, timed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.lowrank.attention import opened
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.decompositions import DECOMPOSITIONS, FACTORINGS
from trp_search.lowrank.factoring import Ranks
from trp_search.lowrank.times import LayerTimes
from trp_search.progress import tracked
from trp_search.records import Cut, Layers, Ratio
from trp_search.runs.layer_times import PAIRS, Stopwatch
from trp_search.runtimes.timing import Timing
from trp_search.scoring.flops import count
from trp_search.space import SearchSpace, any_trial

_SHARES = (0.2, 0.5, 0.7, 0.85, 0.95)  # of its multiply-adds that each layer is to save
_RATIOS = np.linspace(1, 0, 64, endpoint=False)  # of its full ranks
_PRUNED = "pruned"


def kinds(space: SearchSpace) -> dict[str, int]:
    """The schemes of layers that a space may have and no table holds, and `multiple` of their cuts.

    `decoupled` pairs may be in any cut that chooses a scheme for each layer.
    """
    cuts = [any_trial(space, {"method": method}).cuts[0] for method in space.space.methods]
    found = {"decoupled": min(cut.multiple for cut in cuts)}
    for cut in cuts:
        kind = _PRUNED if cut.scheme == "prune" else cut.scheme
        if kind == _PRUNED or kind in FACTORINGS.keys() - PAIRS:
            found[kind] = cut.multiple
    return found


def with_shares(
    times: LayerTimes,
    clock: Stopwatch,
    network: nn.Module,
    image: Tensor,
    *,
    layers: Layers,
    wanted: Mapping[str, int],
) -> LayerTimes:
    """`times` with what layers of the `wanted` kinds save, but of those that the network has not.

    All its layers of a kind are cut alike, in whole networks with random weights, to multiples of
    so many ranks or channels: others may be far slower, and 8 suits most runtimes.
    """
    shares = {}
    for kind, multiple in tracked(
        wanted.items(), "timing networks", total=len(wanted), unit="schemes"
    ):
        made = _pruned if kind == _PRUNED else _factored
        found: dict[float, float] = {}
        try:
            for dense, left, time in made(kind, clock, network, image, layers, multiple):
                if (share := 1 - left / dense) not in found:
                    found[share] = (1 - 1 / time().speedup) * times.macs / dense
        except InputError:
            continue  # there is nothing to cut in this way, which a trial says
        if found:
            shares[kind] = sorted(found.items())
    return dataclasses.replace(times, shares=shares)


Timed = Iterator[tuple[int, int, Callable[[], Timing]]]


def _factored(
    kind: str, clock: Stopwatch, network: nn.Module, image: Tensor, layers: Layers, multiple: int
) -> Timed:
    """Multiply-adds of the layers that are cut, before and after, and what times the network."""
    rows = DECOMPOSITIONS[kind].measured(opened(network, image), image, layers)
    own = [one for row in rows for one in row if one.reason is None and one.scheme.name == kind]
    for share in _SHARES:
        ranks = [(one, _ranks(one, multiple, most=(1 - share) * one.dense_macs)) for one in own]
        cut = [(one, at) for one, at in ranks if at]
        if cut:
            parts = {one.name: one.scheme.layers(one.module, at) for one, at in cut}
            dense, left = (sum(one.dense_macs for one, _ in cut), sum(x.macs(at) for x, at in cut))
            yield dense, left, partial(clock.exchanged, parts)


def _ranks(layer: MeasuredLayer, multiple: int, *, most: float) -> Ranks | None:
    """The highest of ranks in proportion that leave the layer at most so many multiply-adds.

    Where none leaves so few, the lowest, if they save any.
    """
    every = [
        tuple(multiple * math.ceil(ratio * full / multiple) for full in layer.full_ranks)
        for ratio in _RATIOS
    ]
    cheap = [ranks for ranks in every if layer.macs(ranks) < layer.dense_macs]
    lowest = cheap[-1] if cheap else None
    return next((ranks for ranks in cheap if layer.macs(ranks) <= most), lowest)


def _pruned(
    kind: str, clock: Stopwatch, network: nn.Module, image: Tensor, layers: Layers, multiple: int
) -> Timed:
    """As `_factored`, of networks without channels."""
    cutter = Cutter(network, image, macs=count(network, image).macs, samples=None)
    for share in _SHARES:
        keep = Ratio(math.sqrt(1 - share))  # of a layer's inputs and of its outputs
        cut = Cut(scheme="prune", importance="magnitude", keep=keep, layers=layers)
        made = cutter.cut(dataclasses.replace(cut, multiple=multiple))
        own = [layer for layer in made.layers if layer.scheme == kind]
        if own:
            dense, left = (sum(one.dense_macs for one in own), sum(one.macs for one in own))
            yield dense, left, partial(clock.other, made.network.eval())
