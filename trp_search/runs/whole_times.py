"""What layers save that are not timed one by one: whole networks of their kind, timed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.lowrank.cutting import Cutter
from trp_search.lowrank.decompose import Decomposed
from trp_search.lowrank.decompositions import FACTORINGS
from trp_search.lowrank.placing import copied
from trp_search.lowrank.times import LayerTimes
from trp_search.progress import tracked
from trp_search.records import Cut, Layers, Ratio
from trp_search.runs.layer_times import PAIRS, Stopwatch
from trp_search.space import SearchSpace, any_trial

_RATIOS = (0.6, 0.4, 0.2, 0.08, 0.02)  # of ranks or channels left in every layer


def kinds(space: SearchSpace, layers: Layers) -> dict[str, Cut]:
    """By the scheme of its layers, a cut into each kind that a space may have and no table holds.

    `decoupled` pairs may be in any cut that chooses a scheme for each layer.
    """
    cuts = [Cut(scheme="decoupled", keep=Ratio(1.0))]
    cuts += [any_trial(space, {"method": method}).cuts[0] for method in space.space.methods]
    found: dict[str, Cut] = {}
    for cut in cuts:
        same: Any = {"keep": Ratio(1.0), "layers": layers}
        if cut.scheme == "prune":
            found["pruned"] = Cut(scheme="prune", importance="magnitude", **same)
        elif cut.scheme in FACTORINGS.keys() - PAIRS:
            found[cut.scheme] = Cut(scheme=cut.scheme, **same)
    return found


def with_shares(
    times: LayerTimes,
    clock: Stopwatch,
    network: nn.Module,
    image: Tensor,
    cuts: Mapping[str, Cut],
) -> LayerTimes:
    """`times` with what layers of each kind of `cuts` save, but of those that the network has not.

    All its layers of a kind are cut alike, in whole networks with random weights.
    """
    cutter = Cutter(network, image, macs=times.macs, samples=None)
    found: dict[str, dict[float, float]] = {}
    every = [(kind, ratio) for kind in cuts for ratio in _RATIOS]
    for kind, ratio in tracked(every, "timing networks", total=len(every), unit="networks"):
        try:
            made = cutter.cut(dataclasses.replace(cuts[kind], keep=Ratio(ratio)))
        except InputError:
            continue  # there is nothing to cut in this way, which a trial says
        own = [layer for layer in made.layers if layer.scheme == kind]
        rest = times.milliseconds(layer for layer in made.layers if layer.scheme != kind)
        if not own or rest is None:
            continue
        dense = sum(layer.dense_macs for layer in own)
        counted = 1 - sum(layer.macs for layer in own) / dense
        if counted in found.setdefault(kind, {}):
            continue  # no lower ranks are left
        faster = clock.whole(partial(copied, made.network.eval()), _factors(made))
        saved = rest / times.total - 1 / faster
        found[kind][counted] = saved * times.macs / dense
    shares = {kind: sorted(pairs.items()) for kind, pairs in found.items()}
    return dataclasses.replace(times, shares=shares)


def _factors(made: Decomposed) -> dict[str, list[nn.Module]]:
    """By layer what took its place; of a network whose layers are not the dense one's, nothing."""
    if made.widths:
        return {}
    names = [layer.name for layer in made.layers if layer.scheme is not None]
    return {name: list(made.network.get_submodule(name).children()) for name in names}
