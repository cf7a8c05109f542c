"""The times of a network's layers where it will run, without a run folder."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.lowrank.counter import multiply_adds
from trp_search.lowrank.placing import copied
from trp_search.lowrank.times import LayerTimes
from trp_search.records import AUTO, Layers, Target, made
from trp_search.runs.reach import Bench
from trp_search.scoring.candidate import example
from trp_search.store import RunFolder
from trp_search.workloads.images import Shape

_PIXELS = 4  # axes of a batch of images


def time_layers(  # noqa: PLR0913  options of a public call, each with a default
    network: nn.Module,
    example_input: Tensor,
    *,
    runtime: str = "eager",
    device: str = "cpu",
    threads: int = 1,
    layers: Layers = AUTO,
    seconds: float = 0.3,
) -> LayerTimes:
    """The times of `network` here, dense and with each layer in factors: what time budgets need.

    >>> import torch
    >>> from torch import nn
    >>> from trp_search import LatencySpeedup, TrainedRankPruning, decompose, time_layers
    >>> network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.Flatten())
    >>> images = torch.rand(1, 3, 16, 16)
    >>> times = time_layers(network, images, seconds=0.01)  # its layers are timed once
    >>> asked = LatencySpeedup(1)
    >>> TrainedRankPruning(network, images, asked, times=times).layers
    ('2',)
    >>> cut = decompose(network, images, asked, times=times)
    >>> round(times.milliseconds(cut.layers) / times.total, 3) <= 1
    True

    Each layer is timed in the network at a few ranks, channel and spatial, in turn with the dense
    one, and the fastest whole networks correct the table. Run nothing else meanwhile.

    Args:
        network: takes images; any weights, which are not changed.
        example_input: a batch of images (n, c, h, w), of the size at which time counts.
        runtime: `eager`, `compile`, `onnxruntime`, `openvino` or `executorch`.
        device: `cpu` or `cuda`.
        threads: CPU threads of one call.
        layers: which may be cut, as in `decompose`.
        seconds: spent on each timing.

    Raises:
        InputError: a value out of range; the runtime or the device is not there.
    """
    if example_input.dim() != _PIXELS:
        raise InputError(
            f"time_layers: example_input: has shape {tuple(example_input.shape)}, not (n, c, h, w)"
        )
    batch, channels, height, width = example_input.shape
    target = made(
        Target,
        "time_layers",
        name="here",
        runtime=runtime,
        device=device,
        threads=threads,
        batch=batch,
        height=height,
        width=width,
    )
    shape = Shape(channels=channels, height=height, width=width, classes=1)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(path=Path(place))
        own = copied(network).cpu()
        macs = multiply_adds(own, example(shape, "cpu"))  # as `decompose` will
        bench = Bench(own, shape, target, folder, layers=layers, seconds=seconds)
        times = bench.reach().times
    return dataclasses.replace(times, macs=macs, checked=True)
