"""A budget in time: layers timed in their network, ranks chosen, the whole timed, and again."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from torch import nn

from trp_search.errors import InputError
from trp_search.lowrank.analysis import Analysis
from trp_search.lowrank.choice import choose
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.placing import copied, replace
from trp_search.lowrank.times import LayerTimes, Steps
from trp_search.lowrank.tracing import images_in
from trp_search.progress import tracked
from trp_search.records import TAKES, Cut, Ranks, Target, WholeNetwork
from trp_search.records.timed import asked_of, keeps, near
from trp_search.runs import networks, setup
from trp_search.runs.beside import Beside
from trp_search.runtimes.serving import runtime
from trp_search.runtimes.timing import Timing
from trp_search.store import RunFolder
from trp_search.tasks.task import threads

# A network by the rank of each factored layer.
ByLayer = Mapping[str, int]

_ROUNDS = 4
_RANKS = 4  # timed for each kind of layer
_LEAST_FACTOR = 0.05


def check_timed(wanted: Cut, target: Target) -> None:
    """Raises InputError where ranks by time cannot be chosen for this scheme or target."""
    if "ranks" not in TAKES[wanted.scheme]:
        schemes = ", ".join(name for name, takes in TAKES.items() if "ranks" in takes)
        raise InputError(f"--scheme: {wanted.scheme}: a budget in time is for {schemes}")
    runtime(target.runtime).check(target.device)


def timed_cut(
    folder: RunFolder, name: str, wanted: Cut, target: Target, *, seconds: float
) -> tuple[Cut, Timing]:
    """`wanted`, a budget in time, as ranks by layer; and how fast these are on `target`.

    Args:
        folder: the run.
        name: of the trial whose weights are cut.
        wanted: the cut.
        target: where its time counts.
        seconds: spent on each timing.

    Raises:
        InputError: the budget is out of reach, or `check_timed` refuses.
    """
    check_timed(wanted, target)
    spec = setup.on_this_machine(folder.trial(name).read_spec())
    begun = setup.begin(spec, folder, network=networks.trained(folder, name))
    with threads(spec.threads):
        analysis = begun.cuts.analysis(wanted)
    with threads(target.threads):
        clock = _Clock(analysis, target, channels=begun.splits.shape.channels, seconds=seconds)
        ranks, timing = settled(
            clock.table(wanted.scheme),
            wanted,
            solve=lambda times: _solved(analysis, wanted, times),
            time=lambda ranks: clock.time(ranks, wanted.scheme),
        )
    return dataclasses.replace(wanted, keep=Ranks(dict(ranks)), layers="all"), timing


def settled(
    times: LayerTimes,
    wanted: Cut,
    *,
    solve: Callable[[LayerTimes], ByLayer],
    time: Callable[[ByLayer], Timing],
) -> tuple[ByLayer, Timing]:
    """The slowest network found that keeps to the budget, by the lower end of its interval.

    Each network's time corrects the table, whose layers were timed one kind at a time.

    Raises:
        InputError: none keeps to it within 3 %.
    """
    assert isinstance(wanted.keep, WholeNetwork), wanted.keep
    asked = asked_of(wanted.keep, times.total)
    found: list[tuple[ByLayer, Timing]] = []
    for _ in range(_ROUNDS):
        ranks = solve(times)
        timing = time(ranks)
        found.append((ranks, timing))
        if keeps(timing.low, asked) and (near(timing.speedup, asked) or not ranks):
            break
        promised = times.saved_by({(name, wanted.scheme): rank for name, rank in ranks.items()})
        saved = times.total * (1 - 1 / timing.speedup)
        times = times.scaled(max(saved / promised, _LEAST_FACTOR) if promised > 0 else 1.0)
    kept = [pair for pair in found if keeps(pair[1].low, asked)]
    if not kept:
        fastest = max((timing for _, timing in found), key=lambda timing: timing.low)
        raise InputError(
            f"{wanted.keep.key()}: {wanted.keep.amount:g} was not reached: {fastest.speedup:.2f}x "
            f"({fastest.low:.2f} to {fastest.high:.2f}) measured where {asked:.2f}x was chosen"
        )
    return min(kept, key=lambda pair: pair[1].speedup)


def _solved(analysis: Analysis, wanted: Cut, times: LayerTimes) -> ByLayer:
    choices = choose(analysis, wanted, count=times)
    return {c.candidate.layer.name: c.ranks[-1] for c in choices if c.candidate is not None}


class _Clock:
    """Times a network's cuts on a target; factors have random weights, which take no other time."""

    def __init__(
        self, analysis: Analysis, target: Target, *, channels: int, seconds: float
    ) -> None:
        self._analysis, self._seconds = analysis, seconds
        self._network = copied(analysis.network).cpu()
        self._beside = Beside(lambda: copied(self._network), target, channels=channels)
        self._layers: dict[tuple[str, str], MeasuredLayer] = {
            (one.layer.name, one.layer.scheme.name): one.layer
            for layer in analysis.layers
            for one in layer.candidates
        }

    def time(self, ranks: ByLayer, scheme: str) -> Timing:
        """The network with these layers in factors, in turn with the dense one."""

        def made() -> nn.Module:
            network = copied(self._network)
            for name, rank in ranks.items():
                layer = self._layers[name, scheme]
                parts = layer.scheme.layers(layer.module, (rank,))
                replace(network, name, nn.Sequential(*parts))
            return network.eval()

        timing, _ = self._beside.time(made, seconds=self._seconds)
        return timing

    def table(self, scheme: str) -> LayerTimes:
        """What layers save at a few ranks: all of one kind at once, which differ in weights only.

        What they save together is shared out evenly.
        """
        kinds: dict[tuple[object, ...], list[MeasuredLayer]] = {}
        for (_, own), layer in self._layers.items():
            if own == scheme:
                kinds.setdefault((repr(layer.module), *layer.extents), []).append(layer)
        todo = [(kind, step, rank) for kind in kinds.values() for step, rank in _ranks(kind[0])]
        timings = [
            self.time({layer.name: rank for layer in kind}, scheme)
            for kind, _, rank in tracked(todo, "timing layers", total=len(todo), unit="ranks")
        ] or [self.time({}, scheme)]
        total = 1e3 * statistics.median(timing.dense_seconds for timing in timings)
        saved: dict[tuple[str, str], Steps] = {}
        for (kind, step, rank), timing in zip(todo, timings, strict=False):
            each = total * (1 - 1 / timing.speedup) / len(kind)
            for layer in kind:
                known = saved.get((layer.name, scheme), Steps(step=step, saved={})).saved
                saved[layer.name, scheme] = Steps(step=step, saved={**known, rank: each})
        macs = self._analysis.macs // images_in(self._analysis.example_input)
        return LayerTimes(total=total, saved=saved, macs=macs)


def _ranks(layer: MeasuredLayer) -> Iterator[tuple[int, int]]:
    """The multiple that ranks of this layer are padded to, and a few of them to time."""
    full = layer.full_ranks[-1]
    step = next(step for step in (8, 4, 1) if full >= 8 * step or step == 1)
    useful = [r for r in range(step, full + 1, step) if layer.macs((r,)) < layer.dense_macs]
    if useful:
        places = np.geomspace(1, len(useful), min(_RANKS, len(useful))).round().astype(int)
        for place in np.unique(places):
            yield step, useful[place - 1]
