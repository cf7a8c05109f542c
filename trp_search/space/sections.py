"""The sections of a search space beside `space`: cuts, early stopping, sampler, resources."""

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

    They are screened: all are scored on a sample of validation images, survivors are rescored on
    the full set.

    Attributes:
        speedups: budgets, each met by the best scheme in each layer; those out of reach are left
            out. By default 1.5, 2, 3, 4, 6 and 8, for the baseline too, but none for networks
            trained with truncations.
        latency_speedups: time budgets on `target`, met likewise; none by default.
        energies: shares of energy kept under the trial's own scheme; by default 0.98, 0.9 and 0.8,
            but none for networks trained with truncations.
        images: validation images of the screening.
        calibration_images: training images whose activations weight the errors of budgets' cuts.
    """

    speedups: tuple[Factor, ...] | None = None
    latency_speedups: tuple[Factor, ...] = ()
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
    """Rungs at which running trials are compared and the worse ones stop (successive halving).

    Attributes:
        first: epochs of a trial before the first rung.
        factor: each next rung is this many times later, and the best 1/factor of the trials at a
            rung continue.
        keep_front: whether trials that are non-dominated at their rung always continue.
        by: the objectives compared; all of the search's by default.
    """

    first: PositiveInt = 1
    factor: Annotated[float, Field(gt=1, le=100)] = 3.0
    keep_front: bool = True
    by: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None

    def epochs(self, total: int) -> tuple[int, ...]:
        """The rungs of a training of `total` epochs, without its end."""
        found: list[int] = []
        at = float(self.first)
        while math.ceil(at) < total:
            found.append(math.ceil(at))
            at *= self.factor
        return tuple(dict.fromkeys(found))


class Timed(Strict):
    """A target on which the search itself measures `latency_speedup`.

    The front's points are timed after the last trial, when nothing else runs.

    Attributes:
        name: the target's name.
        runtime: eager PyTorch, `torch.compile`, ONNX Runtime, OpenVINO or ExecuTorch.
        device: a device of the machine that drives the search.
        threads: CPU threads of one call.
        batch: images at a time.
        seconds: seconds spent on timing each network.
    """

    name: TargetName
    runtime: RuntimeName = "eager"
    device: Device = "cpu"
    threads: Threads = 1
    batch: PositiveInt = 1
    seconds: Annotated[float, Field(gt=0, le=3600)] = 3.0


class Patience(Strict):
    """Early stopping of the whole search, once the front hardly grows any more.

    Attributes:
        trials: how many of the last trials are considered.
        gain: the search stops if each of these added less than this share of the hypervolume; one
            that has none yet goes on.
    """

    trials: PositiveInt
    gain: Annotated[float, Field(gt=0, lt=1)] = 0.001


class RankSearch(Strict):
    """A search over ranks per layer of trained networks, by forward passes alone.

    It follows the last training. NSGA-II proposes a rank, or dense, for every layer; it begins with
    the ranks of the trial's own points and those of the baseline's cuts.

    Attributes:
        vectors: rank vectors proposed for a network; 0 is off. Repeated ones are not rescored.
        trials: number of networks searched: those of the trials with the largest hypervolume.
        population: proposals of one generation; workers share them.
        fine_tuning_epochs: epochs of fine-tuning for winners, at a fifth of the recipe's learning
            rate; each becomes a further point; 0 is off.
        winners: number of points of a network's front that are fine-tuned, spread over it.
    """

    vectors: Annotated[int, Field(ge=0)] = 300
    trials: PositiveInt = 1
    population: Annotated[int, Field(ge=2)] = 24
    fine_tuning_epochs: Images = 0
    winners: PositiveInt = 5


class Sampler(Strict):
    """The sampler that proposes settings.

    Attributes:
        name: Optuna's TPE or NSGA-II, or random search.
        startup: random trials before TPE uses its model.
        population: trials per generation of NSGA-II.
    """

    name: Literal["tpe", "nsga2", "random"] = "tpe"
    startup: PositiveInt | None = None
    population: Annotated[int, Field(ge=2)] | None = None

    def sizes(self, trials: int) -> dict[str, int]:
        """Startup and population of a search of so many trials."""
        return {
            "startup": self.startup or max(5, trials // 5),
            "population": self.population or min(max(4, trials // 5), 50),
        }


class Resources(Strict):
    """The resources of one trial.

    Attributes:
        cpus: CPU cores, and as many threads.
        gpus: share of one GPU; at 0.25 four trials share it.
    """

    cpus: PositiveInt = 1
    gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
