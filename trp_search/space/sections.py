"""The sections of a search space beside what varies: cuts, early ends, sampler, resources."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from trp_search.records import Device, Factor, PositiveInt, RuntimeName, Share, TargetName, Threads
from trp_search.records.objectives import Name
from trp_search.space.search_fields import Images, Strict

# From hardly smaller to the end of what low ranks reach on the residual networks that are shipped.
_SPEEDUPS, _ENERGIES = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0), (0.98, 0.9, 0.8)


class ExtraCuts(Strict):
    """Further cuts of trained networks, which cost no training.

    They race: all are scored on some validation images, those that are not behind on all.

    Attributes:
        speedups: budgets, each met by the best scheme in each layer; what is out of reach is left
            out. By default 1.5, 2, 3, 4, 6 and 8, also of the baseline, but none of networks
            that were trained with truncations.
        energies: shares of energy kept under the trial's own scheme; by default 0.98, 0.9 and 0.8,
            but none of networks that were trained with truncations.
        images: validation images of the first round.
        calibration_images: training images whose activations weigh what the budgets' cuts lose.
    """

    speedups: tuple[Factor, ...] | None = None
    energies: tuple[Share, ...] | None = None
    images: PositiveInt = 1000
    calibration_images: Images = 256

    def speedups_of(self, *, truncated: bool) -> tuple[float, ...]:
        """Those for a network, `truncated` in its training or not."""
        return _given(self.speedups, () if truncated else _SPEEDUPS)

    def energies_of(self, *, truncated: bool) -> tuple[float, ...]:
        """Those for a network, `truncated` in its training or not."""
        return _given(self.energies, () if truncated else _ENERGIES)


def _given(own: tuple[float, ...] | None, default: tuple[float, ...]) -> tuple[float, ...]:
    return default if own is None else own


class Rungs(Strict):
    """Where running trials are compared, so that those behind stop (successive halving).

    Attributes:
        first: epochs of a trial before the first rung.
        factor: each next rung is this many times later, and of those that reached one the best
            1 in this many go on.
        keep_front: whether what nothing at its rung dominates goes on in any case.
        by: the objectives compared; all of the search's by default.
    """

    first: PositiveInt = 1
    factor: Annotated[float, Field(gt=1, le=100)] = 3.0
    keep_front: bool = True
    by: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None

    def epochs(self, total: int) -> tuple[int, ...]:
        """The rungs of a training of `total` epochs, its end not among them."""
        found: list[int] = []
        at = float(self.first)
        while math.ceil(at) < total:
            found.append(math.ceil(at))
            at *= self.factor
        return tuple(dict.fromkeys(found))


class Timed(Strict):
    """Where a network is to run: its `latency_speedup` there is measured by the search itself.

    The points worth it are timed when the trials have ended and nothing else runs.

    Attributes:
        name: what the target is called.
        runtime: eager PyTorch, `torch.compile` or ONNX Runtime.
        device: of the machine that drives the search.
        threads: CPU threads of one call.
        batch: images at a time.
        seconds: spent on each network.
    """

    name: TargetName
    runtime: RuntimeName = "eager"
    device: Device = "cpu"
    threads: Threads = 1
    batch: PositiveInt = 1
    seconds: Annotated[float, Field(gt=0, le=3600)] = 3.0


class Patience(Strict):
    """When a search stops before its last trial: the front hardly grows any more.

    Attributes:
        trials: how many of the last trials are looked at.
        gain: it stops when they added less than this share of the hypervolume each.
    """

    trials: PositiveInt
    gain: Annotated[float, Field(gt=0, lt=1)] = 0.001


class Sampler(Strict):
    """Who proposes settings.

    Attributes:
        name: Optuna's TPE or NSGA-II, or random search.
        startup: trials drawn at random before TPE models anything.
        population: trials of one NSGA-II generation.
    """

    name: Literal["tpe", "nsga2", "random"] = "tpe"
    startup: PositiveInt
    population: Annotated[int, Field(ge=2)]


class Resources(Strict):
    """What one trial is given.

    Attributes:
        cpus: cores, which are the threads that it computes with.
        gpus: of one; a part lets that many trials share it.
    """

    cpus: PositiveInt = 1
    gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
