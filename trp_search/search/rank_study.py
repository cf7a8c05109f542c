"""The study of the ranks of one network; what it proposes depends on what it was told alone."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import NSGAIISampler
from optuna.samplers.nsgaii import PolynomialMutation
from optuna.trial import Trial

from trp_search.search.menus import Menus, Vector
from trp_search.search.names import RANKS
from trp_search.search.study import directions, proposed
from trp_search.space import SearchSpace

_OPTIONS, _BEGUN, _VECTOR, _FAILURE = "options", "begun", "ranks", "failure"
_NEAR = 4.0  # Deb's eta: a mutated rank is usually one or two options away


class RankStudy:
    """Proposes ranks by NSGA-II; what was told is kept in the run's study file.

    Proposals are drawn in memory, each by a seed of its own, so that a killed search proposes the
    same again; the file never holds one that was not told.

    Args:
        storage: the run's.
        trial: the one whose network it is.
        space: the objectives and the seed.
        menus: what to choose from; a study that had begun keeps its own.
        population: proposals of one generation.
    """

    def __init__(
        self,
        storage: optuna.storages.BaseStorage,
        trial: str,
        *,
        space: SearchSpace,
        menus: Menus,
        population: int,
    ) -> None:
        wanted = directions(space)
        self._kept = optuna.create_study(
            storage=storage, study_name=f"{RANKS}{trial}", directions=wanted, load_if_exists=True
        )
        if _OPTIONS not in self._kept.user_attrs:
            self._kept.set_user_attr(_BEGUN, list(menus.begun))
            self._kept.set_user_attr(_OPTIONS, dict(menus.options))
        attrs = self._kept.user_attrs
        self._menus = Menus(options=attrs[_OPTIONS], begun=attrs[_BEGUN])
        self._ranges = {n: IntDistribution(0, len(r)) for n, r in self._menus.options.items()}
        self._drawn = optuna.create_study(directions=wanted)
        self._drawn.add_trials(self._kept.get_trials(deepcopy=False))
        self._population = population
        self._seed = f"{space.seed}/{trial}"

    @property
    def told(self) -> int:
        """How many were told."""
        return len(self._kept.get_trials(deepcopy=False))

    @property
    def has_choices(self) -> bool:
        """Whether there is a layer with ranks to choose from."""
        return bool(self._ranges)

    @property
    def failures(self) -> list[tuple[Vector, str]]:
        """The vectors that gave no point, with the reasons."""
        told = self._kept.get_trials(deepcopy=False)
        bad = [trial for trial in told if _FAILURE in trial.user_attrs]
        return [(self._menus.vector(trial.params), trial.user_attrs[_FAILURE]) for trial in bad]

    def ask(self, most: int) -> list[tuple[Trial, Vector]]:
        """The rest of a generation, `most` at most; all are told before more are asked for."""
        first = self.told
        end = min(first + most, (first // self._population + 1) * self._population)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return [self._ask(number) for number in range(first, end)]

    def tell(
        self,
        trial: Trial,
        values: Sequence[float],
        *,
        limits: Mapping[str, float],
        failure: str | None = None,
    ) -> None:
        """What became of a proposal; in the order in which they were asked for."""
        for name, value in limits.items():
            trial.set_constraint(name, value)
        if failure is not None:
            trial.set_user_attr(_FAILURE, failure)
        self._drawn.tell(trial, values)
        self._kept.add_trial(self._drawn.get_trials(deepcopy=False)[trial.number])

    def _ask(self, number: int) -> tuple[Trial, Vector]:
        sampler = self._sampler(number)
        # Parents are in another order where they are chosen than where they are read again.
        for generation in range(1, number // self._population + 1):
            sampler.get_parent_population(self._drawn, generation)
        self._drawn.sampler = sampler
        if number < len(self._menus.begun):
            self._drawn.enqueue_trial(self._menus.places(self._menus.begun[number]))
        trial = proposed(self._drawn, dict(self._ranges))
        vector = self._menus.vector(trial.params)
        trial.set_user_attr(_VECTOR, vector)
        return trial, vector

    def _sampler(self, number: int) -> NSGAIISampler:
        digest = hashlib.blake2b(f"{self._seed}/{number}".encode(), digest_size=4).digest()
        return NSGAIISampler(
            population_size=self._population,
            mutation=PolynomialMutation(_NEAR),
            seed=int.from_bytes(digest),
        )


def searched(storage: optuna.storages.BaseStorage) -> set[str]:
    """The trials whose ranks are searched, or were: each has a study of its own."""
    names = optuna.get_all_study_names(storage)
    return {name.removeprefix(RANKS) for name in names if name.startswith(RANKS)}
