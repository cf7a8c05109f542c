"""The sampler that a search space names."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from trp_search.space import SearchSpace


def sampler(space: SearchSpace, *, asked: int) -> BaseSampler:
    """The space's sampler, seeded anew for a study that holds `asked` trials already.

    With the first seed a resumed search would draw its first trials again.
    """
    seed = int(np.random.SeedSequence([space.seed, asked]).generate_state(1)[0])
    chosen, sizes = space.sampler, space.sampler.sizes(space.trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if chosen.name == "random":
            return RandomSampler(seed=seed)
        if chosen.name == "nsga2":
            return NSGAIISampler(population_size=sizes["population"], seed=seed)
        return TPESampler(
            n_startup_trials=sizes["startup"],
            multivariate=True,
            group=any(p.scheme or p.methods for p in space.parameters()),
            seed=seed,
        )
