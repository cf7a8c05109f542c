"""What layers save on a target: timed in their network, kept in the run, corrected by points."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.placing import copied, replace
from trp_search.lowrank.times import LayerTimes, tabulated
from trp_search.progress import tracked
from trp_search.records import BASELINE, CutTime, Factored, Precision, Target
from trp_search.runs.beside import Beside
from trp_search.runtimes.machine import device_name
from trp_search.runtimes.serving import Parts, runtime
from trp_search.runtimes.timing import FEWEST, Timing
from trp_search.store import RunFolder, append_record

PAIRS = ("channel", "spatial")  # the schemes that are timed layer by layer
_RANKS = 4  # timed for each kind of layer ...
_ROUNDS = 4  # ... at least so often, without an interval
_STEPS = (8, 4, 1)
_INT8_STEPS = (4, 1)
_MULTIPLES = 8  # of a step at least, up to the full rank


def predicted(folder: RunFolder, target: Target) -> LayerTimes | None:
    """The table of a run's layers on a target as timed on this machine; None where none was.

    Nothing is timed. The run's points that were timed on the target correct it.
    """
    times = measured(folder, target, macs=folder.point(BASELINE).dense_macs)
    if times is None:
        return None
    here = device_name(target.device), runtime(target.runtime).versions()
    points = {point.id: point for point in folder.read_points()}
    known = folder.read_latencies().get(target.name, {}).items()
    return times.corrected(
        (
            {x.name: (x.scheme, x.rank) for x in points[name].layers if x.scheme and x.rank},
            latency.speedup,
        )
        for name, latency in known
        if name in points and points[name].int8 is None
        if (latency.target, latency.machine, latency.versions) == (target, *here)
    )


def measured(
    folder: RunFolder, target: Target, *, macs: int, precision: Precision = "float32"
) -> LayerTimes | None:
    """As `predicted`, of a network of so many multiply-adds, by the run's timed cuts alone."""
    timed = _timed(folder, target, precision)
    return tabulated(timed, macs=macs) if timed else None


def _timed(folder: RunFolder, target: Target, precision: Precision) -> list[CutTime]:
    """What was timed on a target, whatever it was called, by what serves networks here."""
    here, versions = device_name(target.device), runtime(target.runtime).versions()
    return [
        one
        for one in folder.read_cut_times()
        if dataclasses.replace(one.target, name=target.name) == target
        and (one.machine, one.versions, one.precision) == (here, versions, precision)
    ]


class Stopwatch:
    """Times cuts of a network on a target, each in turn with the baseline, into a run.

    Factors have random weights, which take no other time.

    Args:
        folder: the run.
        network: the baseline, which is not changed.
        layers: each layer by each scheme that may factor it.
        target: where.
        channels: of an image.
        seconds: spent on each timing.
    """

    def __init__(
        self,
        folder: RunFolder,
        network: nn.Module,
        layers: Iterable[MeasuredLayer],
        target: Target,
        *,
        channels: int,
        seconds: float,
    ) -> None:
        self._folder, self._target, self._seconds = folder, target, seconds
        self._network, self._channels = copied(network).cpu(), channels
        self._layers = {(one.name, one.scheme.name): one for one in layers}
        self._precision: Precision = "float32"
        self._beside: Beside | None = None

    def in_int8(self) -> Stopwatch:
        """The same for all these networks in int8."""
        other = copy.copy(self)
        other._precision, other._beside = "int8", None
        return other

    def against(self, other: Stopwatch, *, seconds: float) -> Timing:
        """The times of both baselines in turn, this one's first."""
        return self._dense().against(other._dense(), seconds=seconds)

    def known(self, *, macs: int) -> LayerTimes:
        """As `measured`, of what it timed."""
        found = measured(self._folder, self._target, macs=macs, precision=self._precision)
        assert found is not None, self._target
        return found

    def table(self) -> LayerTimes:
        """What layers save at a few ranks, corrected by points that were timed."""
        self.fill()
        found = predicted(self._folder, self._target)
        assert found is not None
        return found

    def fill(self) -> None:
        """Times a few ranks: all layers of one kind at once, which differ in weights only.

        What the run knows already is not timed again.
        """
        timed = _timed(self._folder, self._target, self._precision)
        known = [(one.kind, one.layers) for one in timed]
        left = [one for one in self._rows() if (one.kind, one.layers) not in known]
        for row in tracked(left, "timing layers", total=len(left), unit="ranks"):
            self.time(row.layers, kind=row.kind, step=row.step)
        if not left and not known:
            self.time({})

    def time(self, layers: Factored, *, kind: str | None = None, step: int = 1) -> Timing:
        """The network with these layers in factors, in turn with the dense one; kept in the run."""
        found = {name: self._layers[name, scheme] for name, (scheme, _) in layers.items()}
        parts = {n: x.scheme.layers(x.module, (layers[n][1],)) for n, x in found.items()}
        if kind is None and self._precision == "float32":
            timing = self._dense().time(partial(self._with, parts), seconds=self._seconds)[0]
        else:
            timing = self.exchanged(parts, fewest=FEWEST if kind is None else _ROUNDS)
        append_record(
            self._folder.cut_times,
            CutTime(
                target=self._target,
                kind=kind,
                step=step,
                layers=layers,
                dense_seconds=timing.dense_seconds,
                speedup=timing.speedup,
                machine=device_name(self._target.device),
                versions=runtime(self._target.runtime).versions(),
                precision=self._precision,
            ),
        )
        return timing

    def exchanged(self, parts: Parts, *, fewest: int = FEWEST) -> Timing:
        """The network with `parts` for layers, in turn with the dense one; not kept."""
        made = partial(self._with, parts)
        return self._dense().exchanged(parts, made, seconds=self._seconds, fewest=fewest)

    def other(self, network: nn.Module) -> Timing:
        """Any other network, in turn with the dense one; not kept."""
        return self._dense().time(partial(copied, network), seconds=self._seconds)[0]

    def _with(self, parts: Parts) -> nn.Module:
        network = copied(self._network)
        for name, factors in copy.deepcopy(dict(parts)).items():
            replace(network, name, nn.Sequential(*factors))
        return network.eval()

    def _dense(self) -> Beside:
        if self._beside is None:
            self._beside = Beside(
                partial(copied, self._network),
                self._target,
                channels=self._channels,
                precision=self._precision,
            )
        return self._beside

    def _rows(self) -> Iterator[_Row]:
        """What a table takes."""
        kinds: dict[str, list[MeasuredLayer]] = {}
        for layer in can_be_timed(self._layers.values()):
            kinds.setdefault(_kind(layer), []).append(layer)
        for kind, alike in kinds.items():
            for step, rank in _ranks(alike[0], self._precision):
                layers = {layer.name: (layer.scheme.name, rank) for layer in alike}
                yield _Row(kind=kind, step=step, layers=layers)


@dataclass(frozen=True, kw_only=True)
class _Row:
    kind: str
    step: int
    layers: Factored


def _kind(layer: MeasuredLayer) -> str:
    """What alike layers have in common, on which their time depends."""
    sizes = (f"{e.height_in} x {e.width_in}" for e in layer.extents)
    return f"{layer.module!r:.1000} on {', '.join(sizes):.900}, {layer.scheme.name}"


def _ranks(layer: MeasuredLayer, precision: Precision) -> Iterator[tuple[int, int]]:
    """The multiple that ranks of this layer are padded to, and a few of them to time.

    In int8 ONNX Runtime (1.31) pads none: ranks beside the multiples of 4 cost more than these.
    """
    full, steps = layer.full_ranks[-1], _STEPS if precision == "float32" else _INT8_STEPS
    step = next(step for step in steps if full >= _MULTIPLES * step or step == 1)
    useful = [r for r in range(step, full + 1, step) if layer.macs((r,)) < layer.dense_macs]
    if useful and step > 1:
        yield step, 1  # below a step, time falls with the rank on some runtimes
    places = np.geomspace(1, len(useful), min(_RANKS, len(useful))).round().astype(int)
    for place in np.unique(places) if useful else ():
        yield step, useful[place - 1]
    if precision == "int8":
        beside = [rank - 1 for rank in useful[len(useful) // 2 :: len(useful)] + useful[-1:]]
        yield from ((step, rank) for rank in dict.fromkeys(beside) if rank > step > 1)


def can_be_timed(layers: Iterable[MeasuredLayer]) -> Sequence[MeasuredLayer]:
    """Those that a table holds: `decoupled` is hardly ever the fastest."""
    return [layer for layer in layers if layer.reason is None and layer.scheme.name in PAIRS]
