"""What channel pruning keeps of a network, each importance beside its own uniform version.

    python -m benchmarks.pruning TABLE [--seeds 0,1,2] [--speedup 2] [--epochs 15] [--tuning 5]

A small residual network on the digits, trained plainly, is pruned in every way and
fine-tuned; factor pairs, fine-tuned alike, stand beside it. So does one slimmable training,
which serves four budgets and has four times the epochs of fine-tuning. Scores are on test;
nothing is chosen. TABLE is a new CSV file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trp_search.records import TrialResult, TrialSpec
from trp_search.runs import networks, trial
from trp_search.space import SearchSpace, read_space
from trp_search.store import FORMAT, RunFolder, write_whole

IMPORTANCES = ("magnitude", "bn-scale", "lasso", "thinet")
ALLOCATIONS = ("knapsack", "uniform")


def rows(seed: int, *, speedup: float, epochs: int, tuning: int) -> Iterator[dict[str, object]]:
    """The test score of each way, before and after fine-tuning."""
    own: dict[str, Any] = {"method": ["prune", "plain"], "speedup": speedup, "layers": "all"}
    own |= {"importance": list(IMPORTANCES), "allocation": list(ALLOCATIONS), "scheme": "per-layer"}
    own |= {"fine_tuning_epochs": tuning, "calibration_images": 1000}
    space = _space(own, seed=seed, epochs=epochs)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder.create(Path(place) / "run")
        write_whole(folder.environment, json.dumps({"format": FORMAT}))
        write_whole(folder.search, space.dump())
        yield from _scores(space.baseline_spec(), folder, seed=seed, way="baseline")
        for number, (importance, allocation) in enumerate(
            itertools.product(IMPORTANCES, ALLOCATIONS)
        ):
            drawn = {"method": "prune", "importance": importance, "allocation": allocation}
            spec = space.trial_spec(drawn, number=number)
            yield from _scores(spec, folder, seed=seed, way=f"{importance}, {allocation}")
        spec = space.trial_spec({"method": "plain", "allocation": "knapsack"}, number=99)
        yield from _scores(spec, folder, seed=seed, way="factor pairs")
        if not tuning:
            return
        own = {"method": "slimmable", "cut_speedup": speedup, "layers": "all"}
        own["training"] = {"epochs": _BUDGETS * tuning, "learning_rate": 0.05}
        for number, allocation in enumerate(ALLOCATIONS, start=100):
            space = _space(own | {"allocation": allocation}, seed=seed, epochs=epochs)
            spec = space.trial_spec({}, number=number)
            yield from _scores(spec, folder, seed=seed, way=f"slimmable, {allocation}")


_BUDGETS = 4


def _space(own: dict[str, Any], *, seed: int, epochs: int) -> SearchSpace:
    raw = {
        "workload": {"network": "small_resnet", "data": {"name": "digits", "validation": 0.25}},
        "training": {"epochs": epochs, "batch_size": 64, "learning_rate": 0.1},
        "space": own | {"distillation": 0.0},
        "extra_cuts": {"speedups": []},
        "seed": seed,
        "trials": 1 if own["method"] == "slimmable" else 2,
    }
    return read_space(raw, Path(__file__))


def _scores(
    spec: TrialSpec, folder: RunFolder, *, seed: int, way: str
) -> Iterator[dict[str, object]]:
    *_, result = trial.run(spec, folder)
    assert isinstance(result, TrialResult)
    assert result.ended_well, result.why_not
    folder.add_points(result.points)
    for point in result.points:
        if point.id == spec.name or point.untuned:
            score = networks.score_test(folder, point).score.value
            yield {"seed": seed, "way": way, "tuned": not point.untuned, "test": score} | {
                "speedup": point.speedup
            }


def _ahead(table: pd.DataFrame) -> pd.DataFrame:
    """By how much each importance is ahead of its uniform version: mean, and t over the seeds."""
    table = table[table.way.str.contains(", ")].copy()
    table[["by", "allocation"]] = table.way.str.split(", ", expand=True).to_numpy()
    wide = table.pivot_table(
        index=["by", "tuned", "seed"], columns="allocation", values="test", sort=False
    )
    ahead = (wide.knapsack - wide.uniform).groupby(["by", "tuned"])
    return pd.DataFrame({"ahead": ahead.mean(), "t": ahead.mean() / ahead.sem()}).round(4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the table and prints its means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--speedup", type=float, default=2.0)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--tuning", type=int, default=5)
    given = parser.parse_args(arguments)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    found = []
    for seed in seeds:
        for row in rows(seed, speedup=given.speedup, epochs=given.epochs, tuning=given.tuning):
            print(row, flush=True)
            found.append(row)
            pd.DataFrame(found).to_csv(given.table, index=False)
    table = pd.DataFrame(found)
    print(_ahead(table))
    print(table.groupby(["way", "tuned"])[["test", "speedup"]].mean().round(4))


if __name__ == "__main__":
    main()
