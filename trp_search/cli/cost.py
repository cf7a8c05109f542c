"""What a search will cost, from one timed training step."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.evaluation import threads
from trp_search.records import Layers, TrialSpec
from trp_search.scoring.candidate import example
from trp_search.scoring.flops import count
from trp_search.space import SearchSpace, Value
from trp_search.workloads import data, networks

JOINT_PASSES = 2  # of a joint loss: the full network and a low-rank one
# As many multiply-adds as take about a second of training, so that a check takes seconds.
_MACS = {"cpu": 4e9, "cuda": 1e12}


def plain_network(space: SearchSpace) -> tuple[nn.Module, Tensor, data.Shape]:
    """The network with any weights, one blank image for it, and the shape of the data."""
    shape = data.describe(space.workload.data)
    network = networks.build(space.workload.network, channels=shape.channels, classes=shape.classes)
    return network, example(shape, "cpu"), shape


def training_images(space: SearchSpace) -> tuple[int | None, str]:
    """How many images a trial learns from, or None and the reason; nothing is fetched."""
    workload = space.workload
    spec = dataclasses.replace(workload.data, download=False)
    try:
        train, _, _ = data.sizes(spec, outside_weights=workload.weights is not None)
    except InputError as error:
        return None, str(error)
    return train, ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Rough seconds on this machine: of one training step, and what follows from it.

    What follows is None where the number of images is not known, `gpu_hours` also where the space
    asks for a GPU that is not here: a step on a CPU says nothing of one there.
    """

    step: float
    where: str
    plain: float | None
    trial: float | None
    search: float | None
    concurrency: int
    gpu_hours: float | None = None


def estimate(
    space: SearchSpace, network: nn.Module, shape: data.Shape, *, images: int | None
) -> Cost:
    """Times a training step; truncations and scoring are not included."""
    device = "cuda" if space.resources.gpus > 0 and torch.cuda.is_available() else "cpu"
    cores = os.cpu_count() or 1
    threads = min(space.resources.cpus, cores)
    timing = _Timing(device=device, threads=threads)
    size = (shape.channels, shape.height, shape.width)
    step = timing.seconds_per_image(network, size, most=space.training.batch_size)
    epoch = None if images is None else step * images
    plain = 0.0 if space.workload.weights else _times(epoch, space.training.epochs)
    trial = _times(epoch, most_epochs(space))
    at_once = space.concurrency or max(1, cores // space.resources.cpus)
    rounds = -(-space.trials // at_once)
    whole = None if plain is None or trial is None else plain + trial * space.trials
    return Cost(
        step=step * space.training.batch_size,
        where=timing.name,
        plain=plain,
        trial=trial,
        search=None if plain is None or trial is None else plain + trial * rounds,
        concurrency=at_once,
        gpu_hours=None if whole is None or device == "cpu" else whole * space.resources.gpus / 3600,
    )


def _times(seconds: float | None, number: int) -> float | None:
    return None if seconds is None else seconds * number


def most_epochs(space: SearchSpace) -> int:
    """Passes over the images of the longest trial that can be drawn."""
    longest = 0
    for method, scheme in itertools.product(space.space.methods, space.space.schemes):
        spec = any_trial(space, most=True, method=method, scheme=scheme)
        passes = JOINT_PASSES if spec.joint is not None else 1
        extra = (passes - 1) * (spec.training.epochs if spec.training is not None else 0)
        longest = max(longest, spec.epochs + extra)
    return longest


def any_trial(space: SearchSpace, *, most: bool = False, **chosen: Value) -> TrialSpec:
    """One of the trials that can be drawn: with `chosen`, and with `most` its longest."""
    drawn: dict[str, Value] = {}
    for parameter in space.parameters():
        options = parameter.choices or (parameter.low, parameter.high)
        known = [option for option in options if option is not None]
        long = most and "epochs" in parameter.name
        drawn[parameter.name] = max(known, key=float) if long else known[0]
    return space.trial_spec(drawn | chosen, name="0", repeat=0)


def widest_layers(space: SearchSpace) -> Layers:
    """`all` if any trial can touch all layers."""
    drawn = [p.choices or () for p in space.parameters() if p.name.partition("_")[0] == "layers"]
    own = any_trial(space).cuts[0].layers
    return "all" if any("all" in choices for choices in drawn) else own


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
        self, network: nn.Module, size: tuple[int, int, int], *, most: int
    ) -> float:
        """From the second of two training steps on noise, of as many images as are quick to run."""
        macs = count(network, torch.zeros(1, *size)).macs
        images = max(2, min(most, int(_MACS[self.device] / max(1, macs))))
        network.to(self.device).train()
        inputs = torch.rand(images, *size, device=self.device)
        with threads(self.threads):
            self._step(network, inputs)
            return self._step(network, inputs) / images

    def _step(self, network: nn.Module, inputs: Tensor) -> float:
        labels = torch.zeros(len(inputs), dtype=torch.long, device=self.device)
        started = time.perf_counter()
        output = network(inputs)
        logits = output if isinstance(output, Tensor) else output[0]
        loss = functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started
