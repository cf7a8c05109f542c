"""The inputs of a training or a score: this machine, the images, the network, the settings."""

from __future__ import annotations

import copy
import dataclasses
import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.methods import METHODS
from trp_search.records import Training, TrialSpec, to_json
from trp_search.scoring.candidate import example
from trp_search.store import RunFolder, write_whole
from trp_search.tasks import task_of
from trp_search.tasks.distillation import Teacher
from trp_search.training.checkpoint import load_tensors
from trp_search.training.hook import Hook
from trp_search.training.loop import Job
from trp_search.workloads import data, networks


def splits_of(spec: TrialSpec, folder: RunFolder) -> data.Splits:
    """The images of a specification; validation joins training if it is trained on too.

    The run records which image is in which part.

    Raises:
        InputError: they differ from those that the run began with.
    """
    workload = spec.workload
    splits = data.load(
        workload.data,
        split_seed=spec.split_seed,
        outside_weights=workload.weights is not None,
        device=spec.device,
    )
    _keep_split(splits, folder)
    if not spec.fit_on_validation:
        return splits
    return dataclasses.replace(splits, train=splits.train_and_validation())


def _keep_split(splits: data.Splits, folder: RunFolder) -> None:
    """Records which image is in which part; later trials must find the same."""
    indices = splits.indices()
    if not folder.split.exists():
        write_whole(folder.split, json.dumps(indices))
    if folder.read_split() != indices:
        raise InputError(f"{folder.split}: the images, or their split, changed since the run began")


def untrained(spec: TrialSpec) -> nn.Module:
    """The baseline with the initial weights of the seed, on the CPU."""
    shape = data.describe(spec.workload.data)
    torch.manual_seed(spec.seed)
    return networks.build(spec.workload.network, channels=shape.channels, classes=shape.classes)


def start(spec: TrialSpec, folder: RunFolder) -> nn.Module:
    """The network that the trial starts from, on its device."""
    if spec.start == "baseline":
        return copy.deepcopy(baseline(spec, folder))
    network = untrained(spec)
    if spec.workload.weights is not None and spec.training is None:
        networks.load_weights(network, spec.workload.weights, spec=spec.workload.network)
    return network.to(spec.device)


def baseline(spec: TrialSpec, folder: RunFolder) -> nn.Module:
    """The trained baseline of the trial's run, on its device; callers must not change it.

    It stays in memory for the trials that follow.

    Raises:
        InputError: its weights are missing, or another network's.
    """
    path = folder.trial(spec.baseline).weights
    key = (path, path.stat().st_mtime_ns if path.exists() else None, to_json(spec.workload))
    if _BASELINES.get(spec.device, (None,))[0] != key:
        network = untrained(spec)
        load_tensors(network, path)
        _BASELINES[spec.device] = key, network.to(spec.device).eval()
    return _BASELINES[spec.device][1]


_BASELINES: dict[str, tuple[object, nn.Module]] = {}  # one for each device


def _hook(spec: TrialSpec, image: Tensor, network: nn.Module) -> Hook:
    method = None if spec.method is None else METHODS[spec.method]
    return (method and method.hook(network, spec, image)) or Hook()


def job(
    spec: TrialSpec, training: Training, checkpoint: Path, splits: data.Splits, folder: RunFolder
) -> Job:
    """What the trial's loop reads while it trains by `training`."""
    distillation, task = spec.distillation, task_of(spec.workload)
    teacher = Teacher(baseline(spec, folder), distillation, task) if distillation else None
    return Job(
        name=spec.name,
        task=task,
        train=splits.train,
        validation=splits.validation,
        training=training,
        hook=partial(_hook, spec, example(splits.shape, spec.device)),
        teacher=teacher,
        checkpoint=checkpoint,
        seed=spec.seed,
        device=spec.device,
    )


def on_this_machine(spec: TrialSpec) -> TrialSpec:
    """The specification on a device that this machine has."""
    if spec.device != "cuda" or torch.cuda.is_available():
        return spec
    training = spec.training and dataclasses.replace(spec.training, precision="float32")
    return dataclasses.replace(spec, device="cpu", training=training)


def alone(spec: TrialSpec) -> TrialSpec:
    """The specification for this machine alone, with as many threads as it has."""
    return dataclasses.replace(on_this_machine(spec), threads=torch.get_num_threads())
