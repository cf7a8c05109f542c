"""Which search finds the better front from the same number of training epochs.

    python -m benchmarks.front run OUT [--arms random,tpe] [--seeds 5]
    python -m benchmarks.front show OUT

From the repository's folder, which needs CIFAR-10 as images under `data/cifar10-images`. Each arm
and seed is a run of its own under OUT; one that was stopped goes on, a finished one is left alone.
Every arm trains the plain network and as many epochs of trials. Points are chosen on validation;
test is scored for what was chosen, and only shown.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray
import yaml
from scipy import stats
from torch import nn

from trp_search import pareto, trial
from trp_search.records import Point, TrialResult
from trp_search.search.start import new_search, resume_search
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder, append_record, write_whole
from trp_search.workloads.residual import ResidualNetwork

EPOCHS = 400
STEP = 4
BUDGETS = (1.5, 2.0, 3.0, 4.0)
BASE: dict[str, Any] = {
    "workload": {
        "network": "benchmarks.front:network",
        "data": {
            "name": "images",
            "root": "data/cifar10-images",
            "classes": 10,
            "image_size": 8,
            "subset": 7000,
            "validation": 0.43,
        },
    },
    "training": {
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 0.1,
        "weight_decay": 5.0e-4,
        "warmup": 0.05,
        "channels_last": True,
    },
    "space": {"scheme": ["channel", "spatial"], "start": "scratch", "period": [5, 10, 20]},
    "concurrency": 2,
    "trials": EPOCHS // 10,
}
PAPER: dict[str, Any] = {
    "space": {
        "energy": {"low": 0.8, "high": 0.99},
        "nuclear_weight_per_step": {"low": 1.0e-6, "high": 3.0e-4, "log": True},
        "training": {"epochs": None, "learning_rate": {"low": 0.03, "high": 0.3, "log": True}},
    },
    "curve": {"speedups": [], "energies": []},
}
OURS: dict[str, Any] = {
    "space": {
        "start": "baseline",
        "energy": {"low": 0.8, "high": 0.99},
        "nuclear_weight_per_step": {"low": 1.0e-6, "high": 3.0e-4, "log": True},
        "training": {"epochs": 4, "learning_rate": {"low": 0.005, "high": 0.05, "log": True}},
    },
    "trials": EPOCHS // 4,
}
BUDGETED = {"space": {"energy": None, "speedup": {"low": 1.3, "high": 5.0}}}
ARMS: dict[str, tuple[Mapping[str, Any], ...]] = {
    "random": (PAPER, {"sampler": "random"}),
    "tpe": (PAPER,),
    "asha": (PAPER, {"rungs": {"first": 2, "keep_front": False, "by": ["accuracy"]}}),
    "ours": (OURS,),
    "budgets": (OURS, BUDGETED),
    "rungs": (OURS, {"rungs": {"first": 1}}),
    "scratch": (
        OURS,
        {
            "space": {"start": "scratch", "training": PAPER["space"]["training"]},
            "trials": BASE["trials"],
        },
    ),
}
CONTROLS = {"plain": BASE["training"]["epochs"], "longer": EPOCHS + BASE["training"]["epochs"]}


def network() -> nn.Module:
    """Eight layers, narrow, so that an epoch is seconds."""
    return ResidualNetwork(blocks=1, widths=(16, 32, 64), channels=3, classes=10)


def space_of(arm: str, seed: int, place: Path) -> SearchSpace:
    """The arm's search space, by way of a file as a user's would be."""
    raw = copy.deepcopy(BASE) | {"seed": seed}
    for changes in ARMS.get(arm, (OURS,)):
        raw = _merged(raw, changes)
    path = place / f"{arm}-{seed}.yaml"
    write_whole(path, yaml.safe_dump(raw))
    return load_space(path)


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for key, value in other.items():
        inner = found.get(key, {})
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            found[key] = _merged(inner, value)
        else:
            found[key] = value
    return {key: value for key, value in found.items() if value is not None}


def run(out: Path, arms: list[str], seeds: int) -> None:
    """Brings every arm and seed to its end."""
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    for seed in range(seeds):
        for arm in arms:
            began = time.perf_counter()
            folder = RunFolder(path=(out / f"{arm}-{seed}").resolve())
            if arm in CONTROLS:
                _control(arm, seed, out, folder)
            else:
                _search(arm, seed, out, folder)
            print(f"{arm}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)


def _search(arm: str, seed: int, out: Path, folder: RunFolder) -> None:
    """More trials until the epochs are spent: where trials stop early there are more of them."""
    space = space_of(arm, seed, out)
    if not folder.search.exists():
        new_search(space, folder.path)
    trials = space.trials
    while spent(folder) <= EPOCHS - trial_epochs(space) * STEP:
        trials += STEP
        resume_search(folder, trials=trials)
    if not folder.tests.exists():
        resume_search(folder, trials=trials)


def trial_epochs(space: SearchSpace) -> int:
    """Epochs of one trial that is not stopped."""
    own = space.space.training.epochs
    return own if isinstance(own, int) else space.training.epochs


def spent(folder: RunFolder) -> int:
    """Epochs of all trials."""
    names = [name for name in folder.trial_names() if name != "baseline"]
    return sum(len(folder.trial(name).read_epochs()) for name in names)


def _control(arm: str, seed: int, out: Path, folder: RunFolder) -> None:
    """The plain network at the recipe's epochs or at all of them, cut to the usual budgets."""
    if folder.tests.exists():
        return
    space = space_of(arm, seed, out)
    spec = space.baseline_spec()
    assert spec.training is not None
    training = dataclasses.replace(spec.training, epochs=CONTROLS[arm])
    if not folder.search.exists():
        RunFolder.create(folder.path)
        write_whole(folder.search, space.dump())
    *_, result = trial.run(dataclasses.replace(spec, training=training, threads=2), folder)
    assert isinstance(result, TrialResult)
    known = {point.id for point in folder.read_points()}
    for point in result.points:
        if point.id not in known:
            append_record(folder.points, point)
    for point in {point.id: point for point in _chosen(folder)}.values():
        trial.score_test(folder, point.id)


def _chosen(folder: RunFolder) -> list[Point]:
    """The plain network and what validation chooses at each budget and for the front."""
    points = folder.read_points()
    plain = [point for point in points if point.role == "baseline"]
    eligible = [point for point in points if point.searched or point.role == "control"]
    if any(point.searched for point in points):
        eligible = [point for point in points if point.searched]
    found = [pareto.most_accurate(eligible, speedup=budget) for budget in BUDGETS]
    objectives = load_space(folder.search).objective_list
    return [*plain, *(p for p in found if p), *pareto.front(eligible, objectives)]


def rows(out: Path) -> Iterator[dict[str, object]]:
    """One for each finished arm and seed; accuracies are on test."""
    for path in sorted(out.iterdir()):
        folder = RunFolder(path=path)
        if not path.is_dir() or not folder.tests.exists():
            continue
        arm, _, seed = path.name.rpartition("-")
        plain, *chosen = _chosen(folder)
        tests = {name: score.accuracy for name, score in folder.read_tests().items()}
        corner = np.array([tests[plain.id] - 0.1, -1.0])
        front = np.array([[tests[p.id], -1 / p.speedup] for p in chosen if p.id in tests])
        row: dict[str, object] = {"arm": arm, "seed": int(seed), "plain": tests[plain.id]}
        for budget, point in zip(BUDGETS, chosen, strict=False):
            row[f"{budget:g}x"] = tests[point.id] if point.speedup >= budget else None
        yield row | {
            "hypervolume": pareto.hypervolume(front, corner),
            "epochs": spent(folder),
            "trials": len(folder.trial_names()) - 1,
        }


def show(out: Path) -> None:
    """Means over seeds, and each arm against TPE with the seeds paired."""
    table = pd.DataFrame(rows(out)).set_index(["arm", "seed"])
    print(table.groupby("arm").mean().round(4).to_string())
    for name in ("2x", "3x", "4x", "hypervolume"):
        wide = table[name].unstack("arm")
        print(f"\n{name}: against tpe, mean of paired differences and 95 % interval")
        for arm in wide.columns.drop("tpe", errors="ignore"):
            gain = (wide[arm] - wide["tpe"]).dropna()
            if len(gain) > 1:
                half = stats.sem(gain) * stats.t.ppf(0.975, len(gain) - 1)
                print(f"  {arm:<20} {gain.mean():+.4f} +- {half:.4f}  ({len(gain)} seeds)")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    one.add_argument("out", type=Path)
    one.add_argument("--arms", default=",".join([*ARMS, *CONTROLS]))
    one.add_argument("--seeds", type=int, default=5)
    two = commands.add_parser("show")
    two.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.command == "run":
        run(given.out, given.arms.split(","), given.seeds)
    else:
        show(given.out)


if __name__ == "__main__":
    main()
