"""The inputs of a training or a score: this machine, the images, the network, the settings."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.lowrank.budgets import Count
from trp_search.methods import METHODS, Method
from trp_search.records import BASELINE, Training, TrialSpec, to_json
from trp_search.runs.predicted import predicting, table_in
from trp_search.scoring.candidate import Cost, Cuts, cost, cost_of, example
from trp_search.scoring.points import PointFactory, Predict
from trp_search.store import NESTED, RunFolder, TrialFolder, write_whole
from trp_search.tasks import task_of
from trp_search.tasks.distillation import Teacher
from trp_search.tasks.task import Task
from trp_search.training.checkpoint import load_nested, load_tensors
from trp_search.training.hook import Beginning, Hook
from trp_search.training.loop import Job
from trp_search.workloads import data, networks


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a trial's training, its cuts and their scores share, made once.

    Attributes:
        spec: of the trial.
        folder: of the run.
        splits: the images.
        network: which the trial begins with and trains in place, on its device.
        dense: its cost before any cut.
        task: what the network is for.
    """

    spec: TrialSpec
    folder: RunFolder
    splits: data.Splits
    network: nn.Module
    dense: Cost
    task: Task

    @property
    def place(self) -> TrialFolder:
        """The trial's folder."""
        return self.folder.trial(self.spec.name)

    @property
    def method(self) -> Method | None:
        """The trial's; None for the baseline."""
        return METHODS[self.spec.method] if self.spec.method else None

    def again(self, spec: TrialSpec) -> Setup:
        """The same for `spec`, whose networks come from this one."""
        return dataclasses.replace(self, spec=spec)

    @property
    def cuts(self) -> Cuts:
        """The network as it is now, to be cut and scored."""
        return Cuts(self.network, self.splits, self.task, times=self._times)

    @cached_property
    def _times(self) -> Count | None:
        """Those of layers on the search's target, as they were measured before its first trial."""
        return table_in(self.folder)

    @cached_property
    def predict(self) -> Predict:
        """The time of a network on the search's target."""
        return predicting(self.folder)

    def points(self, seconds: float) -> PointFactory:
        """What makes the trial's points, whose training took `seconds`."""
        return PointFactory(spec=self.spec, dense=self.dense, seconds=seconds, predict=self.predict)

    def training(self, settings: Training) -> Job:
        """The training before the cut: by the trial's method."""
        return self._job(settings, self.place.checkpoint, self._hook)

    def fine_tuning(self, settings: Training) -> Job:
        """The training after the cut."""
        return self._job(settings, self.place.fine_tuning, lambda _: Hook())

    @property
    def _teacher(self) -> Teacher | None:
        """The baseline, if the network learns from its answers beside the labels."""
        asked = self.spec.distillation
        if asked is None:
            return None
        return Teacher(baseline(self.spec, self.folder), asked, self.task)

    def _hook(self, network: nn.Module) -> Hook:
        spec, method = self.spec, self.method
        if method is None:
            return Hook()
        begun = Beginning(
            network=network,
            spec=spec,
            example_input=example(self.splits.shape, spec.device),
            samples=self.splits.train.calibration,
            times=self._times,
        )
        return method.hook(begun) or Hook()

    def _job(self, settings: Training, checkpoint: Path, hook: Callable[[nn.Module], Hook]) -> Job:
        return Job(
            name=self.spec.name,
            task=self.task,
            train=self.splits.train,
            validation=self.splits.validation,
            training=settings,
            hook=hook,
            teacher=self._teacher,
            checkpoint=checkpoint,
            seed=self.spec.seed,
            device=self.spec.device,
        )


def begin(spec: TrialSpec, folder: RunFolder, *, network: nn.Module | None = None) -> Setup:
    """Everything that the trial begins with; a given `network` takes the place of its start.

    Raises:
        InputError: images or network are not the run's, or the baseline that it needs is not there.
    """
    splits = splits_of(spec, folder)
    network = start(spec, folder) if network is None else network.to(spec.device)
    dense, task = cost_of(network, splits), task_of(spec.workload)
    _check_macs(folder, dense.macs)
    return Setup(spec=spec, folder=folder, splits=splits, network=network, dense=dense, task=task)


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
    check_images(folder, splits.indices(), splits.digest)
    if not spec.fit_on_validation:
        return splits
    return dataclasses.replace(splits, train=splits.train_and_validation())


def check_images(folder: RunFolder, indices: dict[str, list[int]], digest: str) -> None:
    """Records which image is in which part; whatever goes on with the run must find the same.

    Raises:
        InputError: it does not: images, labels or the split changed.
    """
    found = {**indices, "digest": digest}
    if not folder.split.exists():
        write_whole(folder.split, json.dumps(found))
    kept = folder.read_split() or {}
    if {"digest": digest} | kept != found:  # earlier runs have no digest
        raise InputError(f"{folder.split}: the images, or their split, changed since the run began")


def check_network(folder: RunFolder, network: nn.Module, image: Tensor) -> None:
    """That a network is that of the run, whose baseline is trained; it gets the weights.

    Raises:
        InputError: the weights or the multiply-adds are not the baseline's.
    """
    load_tensors(network, folder.trial(BASELINE).weights)
    _check_macs(folder, cost(network, image).macs)


def _check_macs(folder: RunFolder, macs: int) -> None:
    result = folder.trial(BASELINE).read_result()
    before = result.points[0].dense_macs if result and result.points else macs
    if macs != before:
        raise InputError(
            f"{folder.path}: the network has {macs:,} multiply-adds, the run's baseline {before:,};"
            " its code or the size of its images changed since the run began"
        )


def untrained(spec: TrialSpec) -> nn.Module:
    """The baseline with the initial weights of the seed, on the CPU."""
    shape = data.describe(spec.workload.data)
    torch.manual_seed(spec.seed)
    return networks.build(spec.workload.network, channels=shape.channels, classes=shape.classes)


def start(spec: TrialSpec, folder: RunFolder) -> nn.Module:
    """The network that the trial starts from, on its device."""
    if spec.start == "baseline":
        return copy.deepcopy(baseline(spec, folder))
    network, workload = untrained(spec), spec.workload
    if workload.weights is not None and spec.training is None:
        channels = data.describe(workload.data).channels
        networks.load_weights(network, workload.weights, spec=workload.network, channels=channels)
        load_nested(network, Path(workload.weights).with_name(NESTED))
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


def on_this_machine(spec: TrialSpec) -> TrialSpec:
    """The specification on a device that this machine has."""
    if spec.device != "cuda" or torch.cuda.is_available():
        return spec
    return dataclasses.replace(spec, device="cpu")


def alone(spec: TrialSpec) -> TrialSpec:
    """The specification for this machine alone, with as many threads as it has."""
    return dataclasses.replace(on_this_machine(spec), threads=torch.get_num_threads())
