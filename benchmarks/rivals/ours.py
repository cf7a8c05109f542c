"""The rows of this project: trainings of `benchmarks.resnet20`, at fewer epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from torch import nn

from benchmarks import resnet20_arms
from trp_search.records import TrialResult, TrialSpec
from trp_search.runs import networks, trial
from trp_search.store import RunFolder

ARMS = {"plain": "plain, per-layer by activations", "TRP": "TRP, per-layer by activations"}


def made(asked: TrialSpec, folder: RunFolder) -> Iterator[tuple[bool, nn.Module]]:
    """Networks of a trial: whether epochs are behind it, and itself."""
    *_, result = trial.run(asked, folder)
    assert isinstance(result, TrialResult)
    if not result.ended_well:
        raise RuntimeError(f"{result.ending}: {result.why_not}")
    for point in result.points:
        network = networks.network_of(folder, point)
        yield asked.epochs > 0 and not point.untuned, network


def spec(setting: str, budget: float, *, seed: int, epochs: int) -> TrialSpec:
    """The arm's training; without epochs the cut alone."""
    (known,) = (arm for arm in resnet20_arms.ARMS if arm.name == ARMS[setting])
    arm = resnet20_arms.job_of(known, 0, resnet20_arms.RATES[0], (budget,), "cpu").spec
    own = {
        name: dataclasses.replace(value, epochs=epochs) if epochs else None
        for name in ("training", "fine_tuning")
        if (value := getattr(arm, name)) is not None
    }
    return dataclasses.replace(arm, seed=seed, name=f"{setting}-{budget:g}x-{epochs}", **own)
