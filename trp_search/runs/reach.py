"""What a network could reach on a target: its layers timed in factors, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from trp_search.errors import InputError
from trp_search.lowrank.attention import opened
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.times import LayerTimes
from trp_search.records import Factored, Layers, Precision, Target, TimeTable
from trp_search.runs import setup
from trp_search.runs.layer_times import PAIRS, Stopwatch, can_be_timed
from trp_search.runs.predicted import table_of
from trp_search.runs.whole_times import kinds, with_shares
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
SCHEMES = (*PAIRS, EACH)


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
    """Whether a run lacks a table that it predicts from.

    Raises:
        InputError: it has one that cannot be read, or of another target than the space's.
    """
    if space.target is None:
        return False
    known = {precision: folder.read_times(precision) for precision in _precisions(space)}
    for precision, table in known.items():
        if table is not None and table.target != target_in(space, space.target):
            where = folder.times_in(precision)
            raise InputError(f"{where}: is of another target than {folder.search}")
    return None in known.values()


def _precisions(space: SearchSpace) -> tuple[Precision, ...]:
    """Those in which networks are timed on the space's target."""
    return ("float32", "int8") if space.int8_on_target else ("float32",)


def tables(space: SearchSpace, asked: Timed, folder: RunFolder) -> list[TimeTable]:
    """The layers' times from which a search of `space` predicts, those that `folder` lacks.

    What was timed is kept there.

    Raises:
        InputError: the runtime or the device is not there, or its tool refuses the network.
    """
    target, spec = target_in(space, asked), space.baseline_spec()
    network, shape = setup.untrained(spec), data.describe(spec.workload.data)
    seconds, layers = asked.seconds / TIMINGS, widest_layers(space)
    bench = Bench(network, shape, target, folder, layers=layers, seconds=seconds)
    apart = partial(with_shares, network=network, image=example(shape, "cpu"))
    apart = partial(apart, layers=layers, wanted=kinds(space))
    first, found = folder.read_times(), []
    with threads(target.threads):
        if first is None:
            first = table_of(apart(bench.reach().times, bench.clock), target)
            found.append(first)
        if "int8" in _precisions(space) and folder.read_times("int8") is None:
            int8 = bench.clock.in_int8()
            times = apart(_in_int8(int8, bench.macs), int8)
            faster = bench.clock.against(int8, seconds=asked.seconds).speedup
            times = times.rated(first.milliseconds / faster)
            found.append(table_of(times, target, precision="int8"))
    return found


TIMINGS = 10  # of a table, in the time of a point


class Bench:
    """Times the layers of `network` that may be cut, and whole networks of them in factors.

    Args:
        network: any weights, which take no other time.
        shape: of an image.
        target: where.
        folder: keeps what was timed; a layer's times that it knows already are not measured again.
        layers: which may be cut.
        seconds: spent on each timing.

    Attributes:
        clock: times cuts of the network.
        macs: multiply-adds of the network for one image.

    Raises:
        InputError: the runtime or the device is not there.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: Shape,
        target: Target,
        folder: RunFolder,
        *,
        layers: Layers,
        seconds: float,
    ) -> None:
        runtime(target.runtime).check(target.device)
        image, network = example(shape, "cpu"), network.eval()
        self.macs, self._threads = count(network, image).macs, target.threads
        rows = DECOMPOSITIONS[EACH].measured(opened(network, image), image, layers)
        every = can_be_timed(one for row in rows for one in row)
        self._dense = [row[0] for row in rows]
        channels = shape.channels
        self.clock = Stopwatch(folder, network, every, target, channels=channels, seconds=seconds)

    def reach(self) -> Reach:
        """The table, and the fastest network of each scheme, which corrected it."""
        with threads(self._threads):
            self.clock.fill()
            known = self.clock.known(macs=self.macs)
            fastest = {scheme: _fastest(known, scheme) for scheme in SCHEMES}
            timed = {scheme: (own, self.clock.time(own)) for scheme, own in fastest.items()}
            times = self.clock.known(macs=self.macs)
        best = {
            scheme: Reached(layers=own, timing=timing, caps=_caps(times, self._dense, own))
            for scheme, (own, timing) in timed.items()
        }
        return Reach(times=times, best=best)


def _in_int8(clock: Stopwatch, macs: int) -> LayerTimes:
    """The table, corrected by a network of each scheme at middle ranks.

    In int8 the lowest ranks may save next to nothing, which would tell nothing of the others.
    """
    clock.fill()
    times = clock.known(macs=macs)
    for scheme in PAIRS:
        own = {name: steps for (name, by), steps in times.saved.items() if by == scheme}
        for beside in (False, True):
            ranks = {name: sorted(s.between if beside else s.saved) for name, s in own.items()}
            middle: Any = {n: (scheme, r[(len(r) - 1) // 2]) for n, r in ranks.items() if r}
            if middle:
                clock.time(middle)
    return clock.known(macs=macs)


def _fastest(times: LayerTimes, scheme: str) -> Factored:
    """Each layer by the pair that saves most of its time; where none saves any it stays dense."""
    best: dict[str, tuple[float, str, int]] = {}
    for (name, own), steps in times.saved.items():
        if scheme == EACH or times.steps(name, scheme) is steps:
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
