"""Which search finds the better front from the same number of training epochs.

    python -m benchmarks.front OUT TABLE [--arms random,tpe] [--seeds 0,1,2,3,4]
    python -m benchmarks.front_page TABLE

From the repository's folder, which needs CIFAR-10 as images under `data/cifar10-images`. Every arm
trains the baseline and as many epochs of trials. Each arm and seed is a run of its own under
OUT; one that was stopped goes on, one whose rows are in the tables of the folder TABLE is left
alone. Points are chosen on validation; test is scored for what was chosen, and only shown.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray
import yaml
from torch import nn

from benchmarks import front_cuts
from benchmarks.front_rows import Found, chosen, trials_of
from trp_search.methods import METHODS
from trp_search.records import BASELINE, Point, TrialResult
from trp_search.runs import networks, trial
from trp_search.search.driver import run_search
from trp_search.search.events import Event
from trp_search.search.study import opened
from trp_search.space import SearchSpace, load_space
from trp_search.space.sections import ExtraCuts
from trp_search.store import RunFolder, write_whole
from trp_search.workloads.residual import ResidualNetwork

EPOCHS = 400
SHARES = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 1.0)
FRONT, CUTS = "front.csv", "cuts.csv"
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
    "keep": "all",
    "trials": EPOCHS // 10,
}
PAPER: dict[str, Any] = {
    "space": {
        "distillation": 0.0,
        "energy": {"low": 0.8, "high": 0.99},
        "nuclear_weight": {"low": 1.0e-6, "high": 3.0e-4, "log": True},
        "training": {"epochs": None, "learning_rate": {"low": 0.03, "high": 0.3, "log": True}},
    },
    "extra_cuts": {"speedups": [], "energies": []},
}
SHORT: dict[str, Any] = {
    "space": {
        "start": "baseline",
        "energy": PAPER["space"]["energy"],
        "nuclear_weight": {"low": 1.0e-6, "high": 3.0e-4, "log": True},
        "training": {"epochs": 8, "learning_rate": {"low": 0.005, "high": 0.1, "log": True}},
    },
}
LONG = {"training": {"epochs": EPOCHS // 5 + 10}, "trials": EPOCHS // 10}
LABELS = {"space": {"distillation": 0.0}}
BUDGETS = {"space": {"energy": None, "speedup": {"low": 1.3, "high": 5.0}}}
RATES = {"learning_rate": PAPER["space"]["training"]["learning_rate"]}
SCRATCH = {"space": {"start": "scratch", "training": RATES}}
MANY = {
    "extra_cuts": {
        "speedups": ExtraCuts().speedups_of(truncated=False),
        "energies": ExtraCuts().energies_of(truncated=False),
    }
}
EARLY = {"trials": EPOCHS // 8}
PER_LAYER = {"space": {"scheme": "per-layer", "calibration_images": 256}}
FINE_TUNED = {
    "space": {
        "method": "plain",
        "energy": None,
        "nuclear_weight": None,
        "period": None,
        "speedup": {"low": 1.3, "high": 5.0},
        "fine_tuning_epochs": 8,
        "training": None,
    }
}
PASSES = EPOCHS // 5  # of one elastic training, which has two networks a batch
ELASTIC = {
    "space": {
        "method": "elastic",
        "energy": None,
        "nuclear_weight": None,
        "period": None,
        "elastic_spread": {"low": 0.0, "high": 3.0},
        "training": {"epochs": PASSES, "learning_rate": {"low": 0.01, "high": 0.1, "log": True}},
    },
    "trials": (EPOCHS - EPOCHS // 5) // PASSES,
}
TRAINED_OUT = {"training": {"epochs": EPOCHS // 2 + 10}, "trials": EPOCHS // 16}
ARMS: dict[str, tuple[Mapping[str, Any], ...]] = {
    "random": (PAPER, {"sampler": "random"}),
    "tpe": (PAPER,),
    "asha": (PAPER, {"rungs": {"first": 2, "keep_front": False, "by": ["accuracy"]}}),
    "default": (SHORT, LONG),
    "labels": (SHORT, LONG, LABELS),
    "scratch": (SHORT, LONG, SCRATCH),
    "no-projection": (SHORT, LONG, {"space": {"projection": False}}),
    "halving": (SHORT, LONG, {"rungs": {"first": 2}}),
    "many-cuts": (SHORT, LONG, MANY),
    "per-layer": (SHORT, LONG, PER_LAYER, {"space": {"truncation_images": 256}}),
    "fine-tuned": (SHORT, LONG, PER_LAYER, FINE_TUNED),
    "elastic": (SHORT, LONG, ELASTIC),
    "trained-out": (SHORT, TRAINED_OUT, LABELS, MANY),
    "early": (SHORT, EARLY, LABELS, MANY),
    "budgets": (SHORT, EARLY, LABELS, MANY, BUDGETS),
}
PLAIN = "plain"
CONTROLS = {PLAIN: BASE["training"]["epochs"], "longer": EPOCHS + BASE["training"]["epochs"]}


def network() -> nn.Module:
    """Eight layers, narrow, so that an epoch is seconds."""
    return ResidualNetwork(blocks=1, widths=(16, 32, 64), channels=3, classes=10)


def space_of(arm: str, seed: int, place: Path) -> SearchSpace:
    """The arm's search space, by way of a file as a user's would be."""
    path = place / f"{arm}-{seed}.yaml"
    write_whole(path, yaml.safe_dump(_raw(arm) | {"seed": seed}))
    return load_space(path)


def _raw(arm: str) -> dict[str, Any]:
    raw = copy.deepcopy(BASE)
    for changes in ARMS.get(arm, (SHORT,)):
        raw = _merged(raw, changes)
    return raw


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for key, value in other.items():
        inner = found.get(key, {})
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            found[key] = _merged(inner, value)
        else:
            found[key] = value
    return {key: value for key, value in found.items() if value is not None}


def run(out: Path, table: Path, arms: list[str], seeds: list[int]) -> None:
    """Brings every arm and seed to its end and appends its rows to the tables in `table`."""
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
    )
    for seed, arm in itertools.product(seeds, [PLAIN, *(arm for arm in arms if arm != PLAIN)]):
        folder = RunFolder(path=(out / f"{arm}-{seed}").resolve())
        needed = arm == PLAIN and not folder.tests.exists()  # the others begin with it
        if (arm, seed) in finished(table) and not needed:
            continue
        if arm in CONTROLS:
            _control(arm, seed, out, folder)
        else:
            _search(arm, seed, out, folder)
        named = {"arm": arm, "seed": seed}
        if arm == "default":
            append(table / CUTS, [named | row for row in front_cuts.rows(folder)])
        plain = RunFolder(path=(out / f"{PLAIN}-{seed}").resolve())
        reference = networks.score_test(plain, plain.point(BASELINE)).score.value
        found = [named | row for row in rows(folder, reference)]
        append(table / FRONT, found)
        print(f"{arm}, seed {seed}: {found[-1]['seconds']:.0f} s", flush=True)


def finished(table: Path) -> set[tuple[str, int]]:
    """Arms and seeds whose rows are there."""
    path = table / FRONT
    if not path.exists():
        return set()
    return set(pd.read_csv(path)[["arm", "seed"]].itertuples(index=False, name=None))


def append(path: Path, found: list[dict[str, object]]) -> None:
    """Adds the rows of one arm and seed to a CSV file, in place of those that it has."""
    table = pd.DataFrame(found)
    if path.exists():
        before = pd.read_csv(path)
        same = (before["arm"] == found[0]["arm"]) & (before["seed"] == found[0]["seed"])
        table = pd.concat([before[~same], table])
    write_whole(path, table.round(5).to_csv(index=False))


def _search(arm: str, seed: int, out: Path, folder: RunFolder) -> None:
    """More trials until the epochs are spent: where trials stop early there are more of them.

    The baseline is the seed's own, the same for all arms that train it for as long.
    """
    space = space_of(arm, seed, out)
    place, extra = folder.trial(BASELINE).path, space.training.epochs - BASE["training"]["epochs"]
    same = (one for one in (PLAIN, *ARMS) if _raw(one)["training"] == _raw(arm)["training"])
    first = out / f"{next(same)}-{seed}" / place.relative_to(folder.path)
    if not place.exists() and first.exists():
        folder.path.mkdir(parents=True, exist_ok=True)
        opened(space, folder)  # a baseline without a study is refused
        half = out / f".{arm}-{seed}"
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(first, half)
        place.parent.mkdir(parents=True)
        half.rename(place)
    trials = max(space.trials, len(folder.trial_names()) - 1)
    run_search(space, folder, trials=trials, on_event=_ignore)
    while (more := (EPOCHS - extra - epochs_of(folder)) // trial_epochs(space)) > 0:
        trials += more
        run_search(space, folder, trials=trials, on_event=_ignore)


def _ignore(event: Event) -> None:
    del event


def trial_epochs(space: SearchSpace) -> int:
    """Epochs of one trial that is not stopped."""
    own = space.space.training.epochs or space.space.fine_tuning_epochs
    return own if isinstance(own, int) else space.training.epochs


def epochs_of(folder: RunFolder) -> int:
    """Epochs of all trials."""
    return sum(_epochs(folder, name) for name in trials_of(folder))


def _epochs(folder: RunFolder, name: str) -> int:
    """Passes over the training images: an elastic network makes several an epoch."""
    place = folder.trial(name)
    method = place.read_spec().method
    return len(place.read_epochs()) * (METHODS[method].passes if method else 1)


def seconds(folder: RunFolder, names: Sequence[str]) -> float:
    """Of training and scoring, both workers at it, without the benchmark's pauses.

    Of a trial that was interrupted it is the part after the last start.
    """
    places = [folder.trial(name) for name in names]
    busy = sum(place.result.stat().st_mtime - place.spec.stat().st_mtime for place in places)
    return busy / min(len(names), BASE["concurrency"])


def _control(arm: str, seed: int, out: Path, folder: RunFolder) -> None:
    """The baseline at the recipe's epochs or at all of them, cut to the usual budgets."""
    space = space_of(arm, seed, out)
    spec = space.baseline_spec()
    assert spec.training is not None
    training = dataclasses.replace(spec.training, epochs=CONTROLS[arm])
    if not folder.search.exists():
        RunFolder.create(folder.path)
        write_whole(folder.search, space.dump())
    *_, result = trial.run(dataclasses.replace(spec, training=training), folder)
    assert isinstance(result, TrialResult)
    folder.add_points(result.points)


def rows(folder: RunFolder, reference: float) -> Iterator[dict[str, object]]:
    """What validation chooses after each share of the epochs, and its accuracy on test."""
    points = folder.read_points()
    names, plain = trials_of(folder), folder.trial(BASELINE).read_epochs()
    extra = len(plain) - BASE["training"]["epochs"]
    epochs = extra + np.cumsum([_epochs(folder, name) for name in names])
    for share in SHARES if names else (1.0,):
        if extra > share * EPOCHS:
            continue  # the baseline is still being trained
        ended = int((epochs <= share * EPOCHS).sum())
        early = set(names[:ended])
        found = [p for p in points if p.searched and p.trial in early]
        pool = found or [p for p in points if p.role == "control"]
        yield {
            "share": round(share, 3),
            "epochs": int(epochs[ended - 1]) if ended else len(plain),
            "trials": ended,
            "seconds": round(seconds(folder, names[:ended] or [BASELINE])),
            "plain": reference,
        } | chosen([_found(folder, p) for p in pool], reference)


def _found(folder: RunFolder, point: Point) -> Found:
    return Found(
        accuracy=point.score.value,
        speedup=point.speedup,
        test=lambda: networks.score_test(folder, point).score.value,
    )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--arms", default=",".join([*ARMS, *CONTROLS]))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    given = parser.parse_args()
    for place in (given.out, given.table):
        place.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    run(given.out, given.table, given.arms.split(","), seeds)


if __name__ == "__main__":
    main()
