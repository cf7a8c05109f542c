"""The cost of a search, from one timed training step."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time

import torch
from torch import Tensor, nn

from trp_search.methods import METHODS
from trp_search.progress import doing
from trp_search.scoring.candidate import example
from trp_search.scoring.flops import count
from trp_search.space import SearchSpace, any_trial
from trp_search.tasks.task import answers, threads
from trp_search.workloads import data

_OPERATIONS, _FORWARD = 6, 2  # of a multiply-add: two forward, four backward
# As many multiply-adds as take about a second of training, so that a check takes seconds.
_MACS = {"cpu": 4e9, "cuda": 1e12}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Rough seconds of one training step, and what follows from it.

    Attributes:
        step: of one batch.
        where: the device that the step takes this long on.
        images: training images of a trial; None if unknown, and then so are the fields below.
        baseline, trial, search: of the baseline, the longest trial, all of them.
        concurrency: trials at a time.
        gpu_hours: None if the space asks for no GPU.
    """

    step: float
    where: str
    images: int | None
    baseline: float
    trial: float
    search: float
    concurrency: int
    gpu_hours: float | None


@doing("timing a training step")
def estimate(
    space: SearchSpace, network: nn.Module, shape: data.Shape, *, images: int | None, tflops: float
) -> Cost:
    """From a step timed here; if the space's GPU is not here, from its operations.

    Truncations and scoring are not included.

    Args:
        space: the search space.
        network: as the space builds it.
        shape: of one image.
        images: training images of a trial, None if unknown.
        tflops: 10^12 operations a second that an absent GPU sustains in training.
    """
    cores, gpus = os.cpu_count() or 1, space.resources.gpus
    macs = count(network, example(shape, "cpu")).macs
    if gpus and not torch.cuda.is_available():
        where = f"on a GPU that sustains {tflops:g} TFLOP/s"
        per_image = _OPERATIONS * macs / (tflops * 1e12 * min(1.0, gpus))
    else:
        own = min(space.resources.cpus, cores)
        timing = _Timing(device="cuda" if gpus else "cpu", threads=own)
        where = f"here ({timing.name})"
        size = (shape.channels, shape.height, shape.width)
        most = space.training.batch_size
        per_image = timing.seconds_per_image(network, size, macs=macs, most=most)
    fitting = cores // space.resources.cpus
    if gpus:  # without one here, as many as one GPU takes
        devices = torch.cuda.device_count()
        fitting = min(fitting, int(devices / gpus)) if devices else int(1 / gpus)
    at_once, trials = space.concurrency or max(1, fitting), space.trials * space.repeats
    rounds = -(-trials // at_once)
    baseline = 0 if space.workload.weights else space.training.epochs
    trial = most_epochs(space)
    epoch = per_image * (images or 0)
    return Cost(
        step=per_image * space.training.batch_size,
        where=where,
        images=images,
        baseline=epoch * baseline,
        trial=epoch * trial,
        search=epoch * (baseline + trial * rounds),
        concurrency=at_once,
        gpu_hours=epoch * (baseline + trial * trials) * gpus / 3600 if gpus else None,
    )


def most_epochs(space: SearchSpace) -> float:
    """Time of the longest trial, in epochs of a training without pruning.

    A joint loss passes the network twice; distillation adds a forward pass of the baseline.
    """
    longest = 0.0
    for method, scheme in itertools.product(space.space.methods, space.space.schemes):
        spec = any_trial(space, {"method": method, "scheme": scheme}, longest=True)
        passes = METHODS[method].passes
        extra = (passes - 1) * (spec.training.epochs if spec.training is not None else 0)
        asked = 0 if spec.distillation is None else _FORWARD / _OPERATIONS
        longest = max(longest, (spec.epochs + extra) * (1.0 + asked))
    return longest


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Timing:
    device: str
    threads: int

    @property
    def name(self) -> str:
        if self.device == "cuda":
            return torch.cuda.get_device_name()
        return f"{self.threads} CPU thread{'s' if self.threads > 1 else ''}"

    def seconds_per_image(
        self, network: nn.Module, size: tuple[int, int, int], *, macs: int, most: int
    ) -> float:
        """From the second of two training steps on noise, with a batch that is quick to run."""
        images = min(most, max(2, int(_MACS[self.device] / max(1, macs))))
        network.to(self.device).train()
        inputs = torch.rand(images, *size, device=self.device)
        with threads(self.threads):
            self._step(network, inputs)
            return self._step(network, inputs) / images

    def _step(self, network: nn.Module, inputs: Tensor) -> float:
        started = time.perf_counter()
        answers(network, inputs).float().sum().backward()  # type: ignore[no-untyped-call]
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started
