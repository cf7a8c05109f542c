"""The search over ranks of trained networks: batches out, results in. No Ray."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set

import numpy as np
import optuna
from optuna.trial import Trial

from trp_search.records import Cut, Point, Ranks, Training, TrialResult, TrialSpec, to_json
from trp_search.search.menus import Vector, menus_of
from trp_search.search.names import RANKS
from trp_search.search.rank_study import RankStudy
from trp_search.search.study_updates import BEYOND, DIVERGED
from trp_search.selection import pareto
from trp_search.space import RankSearch, SearchSpace
from trp_search.store import RunFolder, write_whole

_BATCH = 8  # cuts at most: a kill costs those that are being scored


class RankSearcher:
    """Hands out batches of cuts of one trained network, and tells its study of them.

    A generation is told in the order of its proposals once all of it is scored. So neither the
    number of workers nor a kill changes what is proposed.

    Args:
        space: the objectives and constraints.
        folder: the run.
        storage: of its studies.
        spec: of the trial that trained the network.
        asked: how many ranks are proposed.
        workers: how many share a generation.

    Attributes:
        total: how many ranks it will have proposed.
        failure: why it cannot go on, if so.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: RunFolder,
        storage: optuna.storages.BaseStorage,
        *,
        spec: TrialSpec,
        asked: RankSearch,
        workers: int,
    ) -> None:
        self._workers = workers
        self._space, self._folder, self._spec = space, folder, spec
        self._known: dict[str, Point] = {}
        self._tuned: set[str] = set()
        self._fine_tuning = space.fine_tuning(asked.fine_tuning_epochs)
        self._winners = asked.winners
        self._refused: dict[str, str] = {}
        self._asked: list[tuple[Trial, Vector]] = []
        self._ready: deque[TrialSpec] = deque()
        self._running: set[str] = set()
        points = folder.read_points()
        result = folder.trial(spec.name).read_result()
        cuts = [point for point in points if point.cut is not None]
        own = [p for p in (result.points if result else ()) if p.searched and p.cut is not None]
        control = [point for point in cuts if point.role == "control"]
        alike = [point for point in cuts if self._is_alike(point)]
        self._study = RankStudy(
            storage,
            spec.name,
            space=space,
            menus=menus_of(alike, own, control, multiple=spec.cuts[0].multiple),
            population=asked.population,
        )
        self.total = asked.vectors if self._study.has_choices else 0
        self.failure: str | None = None
        self._learn(point for point in points if point.trial == spec.name)
        self._refused |= {self._cut(vector).name: why for vector, why in self._study.failures}
        self._begin()

    @property
    def trial(self) -> str:
        """The trial whose network it is."""
        return self._spec.name

    @property
    def told(self) -> int:
        """Proposals that the study was told of."""
        return self._study.told

    @property
    def scored(self) -> int:
        """Proposals that are scored, of this generation too."""
        known = self._known.keys() | self._refused.keys()
        return self.told + sum(self._cut(vector).name in known for _, vector in self._asked)

    @property
    def running(self) -> Set[str]:
        """Batches that were handed out and have not ended."""
        return self._running

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to hand out, now or later."""
        return not self._proposing and not self._ready

    @property
    def _proposing(self) -> bool:
        return self.failure is None and self.told < self.total

    def next(self) -> TrialSpec | None:
        """The next batch, or None if the generation is out."""
        if not self._ready:
            return None
        spec = self._ready.popleft()
        self._running.add(spec.name)
        place = self._folder.trial(spec.name)
        place.forget_failure()
        write_whole(place.spec, to_json(spec))
        return spec

    def finish(self, result: TrialResult) -> None:
        """Takes a batch's points, already in the run; tells the generation once it is whole."""
        self._running.discard(result.trial)
        self._refused |= result.refused
        self._learn(result.points)
        if result.why_not is not None:
            self.failure = result.why_not
            self._ready.clear()
        elif not self._ready and not self._running:
            self._tell()
            self._begin()

    def _begin(self) -> None:
        """Asks for proposals until some are new; tells of the others at once.

        Once all are told, those of the winners are fine-tuned.
        """
        while self._proposing:
            self._asked = self._study.ask(self.total - self.told)
            cuts = {cut.name: cut for cut in (self._cut(vector) for _, vector in self._asked)}
            known = self._known.keys() | self._refused.keys()
            if new := [cut for name, cut in cuts.items() if name not in known]:
                self._ready.extend(self._batches(new))
                return
            self._tell()
        if self.failure is None and self._fine_tuning is not None:
            self._ready.extend(self._batch((cut,), self._fine_tuning) for cut in self._won())

    def _won(self) -> Iterator[Cut]:
        """Cuts spread over the network's front, but for those that are tuned."""
        own = [point for point in self._known.values() if self._space.admits(point)]
        found = sorted(pareto.front(own, self._space.objective_list), key=lambda p: p.speedup)
        places = np.linspace(0, len(found) - 1, min(self._winners, len(found))).round()
        for point in (found[place] for place in places.astype(int)):
            cut = self._cut(ranks_of(point))
            if point.cut is not None and cut.name not in self._tuned | self._refused.keys():
                yield cut

    def _is_alike(self, point: Point) -> bool:
        """Whether a layer that is factored in `point` may be here, for as much at each rank."""
        own = self._spec
        assert point.cut is not None
        if (point.scheme, point.cut.layers) != (own.cuts[0].scheme, own.cuts[0].layers):
            return False
        if own.elastic is None or point.trial == own.name:
            return True
        other = self._folder.trial(point.trial).read_spec().elastic
        return other is not None and other.scheme == own.elastic.scheme

    def _cut(self, vector: Vector) -> Cut:
        return dataclasses.replace(self._spec.cuts[0], keep=Ranks(vector))

    def _batches(self, cuts: Sequence[Cut]) -> Iterator[TrialSpec]:
        size = min(_BATCH, math.ceil(len(cuts) / self._workers))
        for first in range(0, len(cuts), size):
            yield self._batch(tuple(cuts[first : first + size]))

    def _batch(self, cuts: tuple[Cut, ...], fine_tuning: Training | None = None) -> TrialSpec:
        named, own = " ".join(cut.name for cut in cuts), self._spec
        digest = hashlib.blake2b(named.encode(), digest_size=4).hexdigest()
        return TrialSpec(
            name=f"{RANKS}{own.name}-{digest}{'-tuned' if fine_tuning else ''}",
            kind="ranks",
            weights_of=own.name,
            seed=own.seed,
            start=own.start,
            workload=own.workload,
            training=None,
            cuts=cuts,
            fine_tuning=fine_tuning,
            distillation=own.distillation if fine_tuning else None,
            threads=own.threads,
            device=own.device,
            split_seed=own.split_seed,
        )

    def _tell(self) -> None:
        for trial, vector in self._asked:
            name = self._cut(vector).name
            point = self._known.get(name)
            if point is None:
                worst = [objective.worst for objective in self._space.objective_list]
                failure = self._refused[name]
                self._study.tell(trial, worst, limits={DIVERGED: BEYOND}, failure=failure)
            else:
                values = [objective.read(point) for objective in self._space.objective_list]
                limits = {DIVERGED: 0.0, **self._space.shortfalls(point)}
                self._study.tell(trial, values, limits=limits)
        self._asked = []
        for name in self._folder.trial_names():
            if name.startswith(f"{RANKS}{self._spec.name}-"):  # also where a kill left no spec
                shutil.rmtree(self._folder.trial(name).path)

    def _learn(self, points: Iterable[Point]) -> None:
        """Remembers points that are this network, as it is cut and served here, at any ranks."""
        own, in_int8 = self._spec.cuts[0], self._spec.int8 is not None
        for point in points:
            served_so = (point.int8 is not None) == in_int8
            if point.cut is None or not served_so or not point.searched:
                continue
            tuned = self._spec.fine_tuning is not None and point.cut == own and not point.untuned
            alike = dataclasses.replace(
                point.cut, keep=own.keep, allocation=own.allocation, multiple=own.multiple
            )
            if alike != own or tuned:
                continue
            # A rank beyond a layer's full one is its full one.
            names = {self._cut(ranks_of(point)).name, *([point.cut.name] if point.by_ranks else ())}
            if point.winner:
                self._tuned |= names
            else:
                self._known |= dict.fromkeys(names, point)


def ranks_of(point: Point) -> Vector:
    """The rank of each layer that is factored in `point`."""
    return {layer.name: layer.rank for layer in point.layers if layer.rank}
