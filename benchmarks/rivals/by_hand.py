"""What a user would script: Ray Tune and Optuna over a share per layer, around torchao's pruner."""

from __future__ import annotations

import json

import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from torch import nn

from benchmarks.rivals import torchao
from benchmarks.rivals.given import Given

TRIALS = 60  # cuts without training, scored on validation


def cut(given: Given) -> nn.Module:
    """Searches once for each budget; the best shares found make the network."""
    place = given.folder / f"by-hand-{given.budget:g}.json"
    if not place.exists():
        place.write_text(json.dumps(searched(given)))
    return torchao.by_shares(given, json.loads(place.read_text()))


def searched(given: Given) -> dict[str, float]:
    """The shares of the trial with the best validation accuracy within the budget."""
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    names = torchao.constrained(given.network)
    space = {name: tune.uniform(0.2, 0.95) for name in names}
    search = OptunaSearch(metric="score", mode="max", seed=given.seed)
    found = tune.Tuner(
        tune.with_parameters(score, given=given),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=TRIALS, max_concurrent_trials=1, reuse_actors=True
        ),
    ).fit()
    best = found.get_best_result("score", "max")
    ray.shutdown()
    if best.metrics is None or best.metrics["score"] < 0:
        raise ValueError(f"none of {TRIALS} trials keeps to {given.budget:g}x")
    return dict(best.config)


def score(shares: dict[str, float], *, given: Given) -> None:
    """Reports the validation accuracy of a cut; -1 beyond the budget."""
    network = torchao.factored(given.network, shares)
    tune.report({"score": given.score(network) if given.small_enough(network) else -1.0})
