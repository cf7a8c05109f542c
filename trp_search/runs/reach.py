"""What a network could reach on a target: its layers timed in factors, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from trp_search.errors import InputError
from trp_search.lowrank.attention import opened
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.times import LayerTimes
from trp_search.records import Factored, Layers, Target, TimeTable
from trp_search.runs import setup
from trp_search.runs.layer_times import Stopwatch, can_be_timed, measured
from trp_search.runs.predicted import table_of
from trp_search.runtimes.serving import runtime
from trp_search.runtimes.timing import Timing
from trp_search.scoring.candidate import example
from trp_search.scoring.flops import count
from trp_search.scoring.survey import widest_layers
from trp_search.space import SearchSpace
from trp_search.space.sections import Timed
from trp_search.store import RunFolder
from trp_search.tasks.task import threads
from trp_search.workloads import data
from trp_search.workloads.images import Shape

EACH = "per-layer"
SCHEMES = ("channel", "spatial", EACH)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """The fastest network of one scheme, at the lowest ranks that were timed.

    Attributes:
        layers: those in factors; the others save nothing.
        timing: of the whole network, in turn with the dense one.
        caps: milliseconds that remain by the table, by layer and elsewhere, the most first; of a
            layer in full its share of the multiply-adds.
    """

    layers: Factored
    timing: Timing
    caps: list[tuple[str, float]]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The table of a network's layers on a target, and the fastest network of each scheme."""

    times: LayerTimes
    best: Mapping[str, Reached]


def target_in(space: SearchSpace, asked: Timed) -> Target:
    """The target of a space, at the size of its images."""
    shape = data.describe(space.workload.data)
    given = asked.model_dump(exclude={"seconds"})
    return Target(**given, height=shape.height, width=shape.width)


def is_missing(space: SearchSpace, folder: RunFolder) -> bool:
    """Whether a run needs a table to predict from, and has none.

    Raises:
        InputError: it has one that cannot be read, or of another target than the space's.
    """
    if space.target is None:
        return False
    known = folder.read_times()
    if known is not None and known.target != target_in(space, space.target):
        raise InputError(f"{folder.times}: is of another target than {folder.search}")
    return known is None


def table(space: SearchSpace, asked: Timed, folder: RunFolder) -> TimeTable:
    """The layers' times from which a search of `space` predicts; they are kept in `folder`.

    Raises:
        InputError: the runtime or the device is not there.
    """
    target, spec = target_in(space, asked), space.baseline_spec()
    found = reach(
        setup.untrained(spec),
        data.describe(spec.workload.data),
        target,
        folder,
        layers=widest_layers(space),
        seconds=asked.seconds / _TIMINGS,
    )
    return table_of(found.times, target)


_TIMINGS = 10  # of a table, in the time of a point


def reach(
    network: nn.Module,
    shape: Shape,
    target: Target,
    folder: RunFolder,
    *,
    layers: Layers,
    seconds: float,
) -> Reach:
    """Times the layers of `network` that may be cut, and the fastest whole networks.

    Args:
        network: any weights, which take no other time.
        shape: of an image.
        target: where.
        folder: keeps what was timed; a layer's times that it knows already are not measured again.
        layers: which may be cut.
        seconds: spent on each timing.

    Raises:
        InputError: the runtime or the device is not there.
    """
    runtime(target.runtime).check(target.device)
    image, network = example(shape, "cpu"), network.eval()
    macs = count(network, image).macs
    rows = DECOMPOSITIONS[EACH].measured(opened(network, image), image, layers)
    every = can_be_timed(one for row in rows for one in row)
    with threads(target.threads):
        clock = Stopwatch(folder, network, every, target, channels=shape.channels, seconds=seconds)
        clock.fill()
        fastest = {scheme: _fastest(_known(folder, target, macs), scheme) for scheme in SCHEMES}
        timings = {scheme: clock.time(own) for scheme, own in fastest.items()}
    times = _known(folder, target, macs)
    dense = [row[0] for row in rows]
    return Reach(
        times=times,
        best={
            scheme: Reached(layers=own, timing=timings[scheme], caps=_caps(times, dense, own))
            for scheme, own in fastest.items()
        },
    )


def _known(folder: RunFolder, target: Target, macs: int) -> LayerTimes:
    found = measured(folder, target, macs=macs)
    assert found is not None, target
    return found


def _fastest(times: LayerTimes, scheme: str) -> Factored:
    """Each layer by the pair that saves most of its time; where none saves any it stays dense."""
    best: dict[str, tuple[float, str, int]] = {}
    for (name, own), steps in times.saved.items():
        elsewhere = scheme == "spatial" and (name, "spatial") not in times.saved
        if scheme in (own, EACH) or elsewhere:
            rank = min(steps.saved)
            best[name] = max(best.get(name, (0.0, "", 0)), (steps.near(rank), own, rank))
    picked: Any = {name: (own, rank) for name, (saved, own, rank) in best.items() if saved > 0}
    factored: Factored = picked
    return factored


def _caps(
    times: LayerTimes, layers: Sequence[MeasuredLayer], fastest: Factored
) -> list[tuple[str, float]]:
    whole = {layer.name: times.dense(layer) for layer in layers}
    left = {
        name: dense - times.saved_by({name: fastest[name]}) if name in fastest else dense
        for name, dense in whole.items()
    }
    left["elsewhere"] = max(0.0, times.total - sum(whole.values()))
    return sorted(left.items(), key=lambda one: -one[1])
