"""The search over ranks alone: no Ray, scores made up."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial

from trp_search.records import (
    Cut,
    Elastic,
    Layer,
    Point,
    Ranks,
    Training,
    TrialResult,
    TrialSpec,
    to_json,
)
from trp_search.records.scores import share
from trp_search.search.menus import menus_of
from trp_search.search.ranks import RankSearcher, ranks_of
from trp_search.search.study_updates import BEYOND
from trp_search.selection import pareto
from trp_search.space import RankSearch, SearchSpace
from trp_search.store import RunFolder, write_whole

MakePoint = Callable[..., Point]
ASKED = RankSearch(vectors=45, population=10)
# By layer: multiply-adds when dense and for each rank, and the full rank.
LAYERS = {"a": (900, 30, 64), "b": (1600, 40, 32), "c": (700, 35, 24), "d": (64, 64, 1)}


def layers_at(ranks: dict[str, int]) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            name=name,
            scheme="spatial" if name in ranks else None,
            rank=ranks.get(name),
            full_rank=full if name in ranks else None,
            macs=each * ranks[name] if name in ranks else dense,
            dense_macs=dense,
            parameters=each * ranks.get(name, full),
            dense_parameters=dense,
            reason=None if name in ranks else "dense",
        )
        for name, (dense, each, full) in LAYERS.items()
    )


@pytest.fixture
def point_at(make_point: MakePoint) -> Callable[..., Point]:
    """A point of trial 0 at these ranks: the more multiply-adds, the better."""

    def make(cut: Cut, ranks: dict[str, int], *, name: str | None = None) -> Point:
        layers = layers_at(ranks)
        macs = sum(layer.macs for layer in layers)
        made = make_point(name or f"0-{cut.name}", correct=1, speedup=1.0, role="derived")
        correct = 200 - sum((64 - rank) ** 2 // 99 for rank in ranks.values())
        own = {"trial": "0", "score": share(correct, 200), "macs": macs, "layers": layers}
        own["by_ranks"] = isinstance(cut.keep, Ranks)
        dense = sum(dense for dense, _, _ in LAYERS.values())
        return dataclasses.replace(made, cut=cut, scheme=cut.scheme, dense_macs=dense, **own)

    return make


@pytest.fixture
def trained(
    folder: RunFolder, point_at: Callable[..., Point], make_spec: Callable[[str], TrialSpec]
) -> TrialSpec:
    """Trial 0 and its own point, whose ranks the search begins with."""
    cut = Cut(keep=make_spec("0").cuts[0].keep, scheme="spatial")
    spec = dataclasses.replace(make_spec("0"), cuts=(cut,), method="plain")
    own = dataclasses.replace(point_at(cut, {"a": 11, "b": 9, "c": 5}, name="0"), role="trial")
    place = folder.trial("0")
    write_whole(place.spec, to_json(spec))
    write_whole(place.result, to_json(TrialResult(trial="0", points=(own,))))
    folder.add_points([own])
    return spec


class Workers:
    """Score batches in whatever order; may be killed at any moment, with their driver.

    Attributes:
        scored: names of the cuts, once for each time.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: RunFolder,
        point_at: Callable[..., Point],
        *,
        refuses: Callable[[Cut], bool] = lambda _: False,
        asked: RankSearch = ASKED,
    ) -> None:
        self._space, self._folder, self._point_at = space, folder, point_at
        self._refuses, self._asked = refuses, asked
        self.scored: list[str] = []
        self.storage = optuna.storages.InMemoryStorage()

    @property
    def told(self) -> list[FrozenTrial]:
        """What the study was told."""
        return optuna.load_study(study_name="ranks-0", storage=self.storage).trials

    def search(self, spec: TrialSpec, *, workers: int, seed: int = 0, kills: float = 0.0) -> None:
        """The whole of it, from where the folder stands."""
        chance = random.Random(seed)  # noqa: S311
        while not self._until_killed(spec, workers, chance, kills):
            pass

    def _until_killed(
        self, spec: TrialSpec, workers: int, chance: random.Random, kills: float
    ) -> bool:
        search = RankSearcher(
            self._space, self._folder, self.storage, spec=spec, asked=self._asked, workers=workers
        )
        out: list[TrialSpec] = []
        while not search.exhausted or search.running:
            while len(out) < workers and (batch := search.next()):
                assert self._folder.trial(batch.name).read_spec() == batch
                out.append(batch)
            result = self._result(out.pop(chance.randrange(len(out))))
            if chance.random() < kills:
                return False
            self._folder.add_points(result.points)
            if chance.random() < kills:
                return False
            search.finish(result)
        return True

    def _result(self, batch: TrialSpec) -> TrialResult:
        assert batch.weights_of == "0"
        found, refused = [], {}
        for cut in batch.cuts:
            assert isinstance(cut.keep, Ranks)
            self.scored.append(cut.name + ("-tuned" if batch.fine_tuning else ""))
            if self._refuses(cut):
                refused[cut.name] = "the validation loss is not finite"
            elif batch.fine_tuning:
                found.append(tuned(self._point_at(cut, cut.keep.ranks), batch.fine_tuning))
            else:
                found.append(self._point_at(cut, cut.keep.ranks))
        return TrialResult(trial=batch.name, points=tuple(found), refused=refused)


def tuned(point: Point, tuning: Training) -> Point:
    """The winner `point`, fine-tuned: two images better."""
    score = share(round(200 * point.metric) + 2, 200)
    told = point.settings | {"fine_tuning_epochs": tuning.epochs}
    return dataclasses.replace(point, id=f"{point.id}-tuned", score=score, settings=told)


def essence(trials: list[FrozenTrial]) -> list[object]:
    return [(t.params, t.values, t.constraints, t.user_attrs) for t in trials]


@pytest.fixture
def once(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    trained: TrialSpec,
    point_at: Callable[..., Point],
) -> Workers:
    """One worker, never killed."""
    workers = Workers(make_space(), folder, point_at)
    workers.search(trained, workers=1)
    return workers


@pytest.mark.parametrize(("workers", "kills"), [(1, 0.3), (2, 0.0), (3, 0.2), (7, 0.1)])
def test_neither_workers_nor_kills_change_what_is_proposed_and_found(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    trained: TrialSpec,
    point_at: Callable[..., Point],
    once: Workers,
    workers: int,
    kills: float,
):
    trials, points = essence(once.told), {p.id: p for p in folder.read_points()}
    folder.points.unlink()
    folder.add_points(folder.trial("0").read_result().points)
    again = Workers(make_space(), folder, point_at)
    again.search(trained, workers=workers, seed=workers, kills=kills)
    assert essence(again.told) == trials
    assert {p.id: p for p in folder.read_points()} == points


@pytest.mark.parametrize(("workers", "kills"), [(1, 0.0), (3, 0.4)])
def test_winners_of_the_front_are_fine_tuned_once_each_whatever_is_killed(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    trained: TrialSpec,
    point_at: Callable[..., Point],
    workers: int,
    kills: float,
):
    asked = RankSearch(vectors=45, population=10, fine_tuning_epochs=2, winners=3)
    space = make_space()
    found = Workers(space, folder, point_at, asked=asked)
    found.search(trained, workers=workers, seed=1, kills=kills)
    points = folder.read_points()
    plain = [point for point in points if not point.winner]
    won = {point.id.removesuffix("-tuned") for point in points if point.winner}
    front = sorted(pareto.front(plain, space.objective_list), key=lambda point: point.speedup)
    assert len(front) > 3
    assert won < {f"0-{Cut(keep=Ranks(ranks_of(point)), scheme='spatial').name}" for point in front}
    assert len(won) == 3
    assert {front[0].macs, front[-1].macs} < {point.macs for point in points if point.winner}
    assert len(found.told) == ASKED.vectors
    if not kills:
        assert len(found.scored) == len(set(found.scored))


def test_every_vector_is_scored_once_and_told(once: Workers, folder: RunFolder):
    trials, points = once.told, folder.read_points()
    assert len(trials) == ASKED.vectors
    assert len(once.scored) == len(set(once.scored)) == len(points) - 1
    vectors = [trial.user_attrs["ranks"] for trial in trials]
    assert len({Ranks(vector).name for vector in vectors}) < ASKED.vectors, "some come again"
    values = {Ranks(v).name: t.values for v, t in zip(vectors, trials, strict=True)}
    for point in points:
        ranks = {layer.name: layer.rank for layer in point.layers if layer.rank}
        assert values[Ranks(ranks).name] == pytest.approx([point.metric, point.speedup])


def test_of_a_trial_in_int8_every_network_is_judged_in_int8(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    trained: TrialSpec,
    point_at: Callable[..., Point],
    in_int8: MakePoint,
):
    spec = dataclasses.replace(trained, int8="onnxruntime")
    own = dataclasses.replace(in_int8(folder.point("0"), lost=7), role="trial")
    folder.add_points([own])
    asked = RankSearch(vectors=45, population=10, fine_tuning_epochs=2, winners=3)

    class Both(Workers):
        def _result(self, batch: TrialSpec) -> TrialResult:
            found = super()._result(batch)
            points = [x for p in found.points for x in (p, in_int8(p, lost=7))]
            return dataclasses.replace(found, points=tuple(points))

    workers = Both(make_space(), folder, point_at, asked=asked)
    workers.search(spec, workers=2, kills=0.2)
    first, *_ = workers.told
    assert first.values == pytest.approx([own.metric, own.speedup])
    assert Ranks({"a": 11, "b": 9, "c": 5}).name not in workers.scored
    values = {Ranks(trial.user_attrs["ranks"]).name: trial.values for trial in workers.told}
    for point in folder.read_points():
        if point.int8 and not point.winner:
            told = values[Ranks(ranks_of(point)).name]
            assert told == pytest.approx([point.metric, point.speedup])
    won = [point for point in folder.read_points() if point.winner]
    assert [point.int8 is None for point in won] == [True, False] * 3


def test_the_trials_own_ranks_come_first_and_are_not_scored_again(once: Workers, folder: RunFolder):
    first, *others = once.told
    own = folder.point("0")
    assert first.user_attrs["ranks"] == {"a": 11, "b": 9, "c": 5}
    assert first.values == pytest.approx([own.metric, own.speedup])
    assert Ranks({"a": 11, "b": 9, "c": 5}).name not in once.scored
    assert any(len(trial.user_attrs["ranks"]) < 3 for trial in others), "dense is an option"


def test_no_batch_is_left_once_it_is_told(once: Workers, folder: RunFolder):
    assert folder.trial_names() == ["0"]


@pytest.mark.parametrize("other", ["scheme", "layers"])
def test_other_trials_say_nothing_of_layers_that_this_one_cuts_otherwise(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    trained: TrialSpec,
    point_at: Callable[..., Point],
    other: str,
):
    own, elastic = folder.point("0"), Elastic(scheme="spatial")
    if other == "scheme":
        cut = dataclasses.replace(trained.cuts[0], scheme="nested")
        trained = dataclasses.replace(trained, cuts=(cut,), elastic=elastic)
        own = dataclasses.replace(own, cut=cut, scheme="nested")
        folder.points.unlink()
        folder.add_points([own])
        write_whole(folder.trial("0").result, to_json(TrialResult(trial="0", points=(own,))))
        elastic, cut = Elastic(scheme="channel"), dataclasses.replace(cut, keep=Ranks({"b": 3}))
    else:
        cut = dataclasses.replace(trained.cuts[0], layers="kxk")
    spec = dataclasses.replace(trained, name="1", number=1, cuts=(cut,), elastic=elastic)
    write_whole(folder.trial("1").spec, to_json(spec))
    further = point_at(cut, {"a": 2, "d": 0, "b": 3}, name="1")
    layers = [
        dataclasses.replace(layer, scheme="channel", rank=1, full_rank=1, reason=None)
        if layer.name == "d"
        else layer
        for layer in further.layers
    ]
    folder.add_points([dataclasses.replace(further, trial="1", layers=tuple(layers))])
    workers = Workers(make_space(), folder, point_at)
    workers.search(trained, workers=1)
    assert len(workers.told) == ASKED.vectors
    assert not any("d" in trial.user_attrs["ranks"] for trial in workers.told)


def test_a_rank_beyond_a_layer_s_full_one_is_scored_at_that(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    trained: TrialSpec,
    point_at: Callable[..., Point],
):
    def clipped(cut: Cut, ranks: dict[str, int], **more: Any) -> Point:
        return point_at(cut, {name: min(rank, 12) for name, rank in ranks.items()}, **more)

    workers = Workers(make_space(), folder, clipped)
    workers.search(trained, workers=2, kills=0.2)
    assert len(workers.told) == ASKED.vectors
    assert any(max(t.user_attrs["ranks"].values(), default=0) > 12 for t in workers.told)


def test_ranks_that_give_no_point_are_told_as_the_worst_and_not_tried_again(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    trained: TrialSpec,
    point_at: Callable[..., Point],
):
    workers = Workers(
        make_space(), folder, point_at, refuses=lambda cut: cut.keep.ranks.get("a", 64) < 8
    )
    workers.search(trained, workers=2, kills=0.2)
    bad = [trial for trial in workers.told if "failure" in trial.user_attrs]
    assert bad
    for trial in bad:
        assert trial.values == [0.0, 0.0]
        assert trial.constraints == {"diverged": BEYOND}
        assert trial.user_attrs["failure"] == "the validation loss is not finite"
    assert not {p.cut.name for p in folder.read_points()} & {
        Ranks(trial.user_attrs["ranks"]).name for trial in bad
    }


def test_a_batch_that_fails_ends_it_and_a_resumed_search_goes_on(
    make_space: Callable[..., SearchSpace],
    folder: RunFolder,
    trained: TrialSpec,
    point_at: Callable[..., Point],
):
    storage = optuna.storages.InMemoryStorage()
    search = RankSearcher(make_space(), folder, storage, spec=trained, asked=ASKED, workers=2)
    batch = search.next()
    failed = TrialResult(trial=batch.name, points=(), failed="the worker was killed")
    write_whole(folder.trial(batch.name).result, to_json(failed))
    search.finish(failed)
    assert search.exhausted
    assert search.failure == "the worker was killed"
    again = RankSearcher(make_space(), folder, storage, spec=trained, asked=ASKED, workers=2)
    assert again.next() == batch
    assert folder.trial(batch.name).read_result() is None


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.integers(1, 24).map(lambda rank: 2 * rank)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([1, 2]),
)
def test_options_save_multiply_adds_and_hold_the_ranks_to_begin_with(
    vectors: list[dict[str, int]], multiple: int
):
    costs = {name: LAYERS[name] for name in "abc"}
    useful = [
        {n: r for n, r in v.items() if r * costs[n][1] < costs[n][0] and r <= costs[n][2]}
        for v in vectors
    ]
    points = [_bare(vector) for vector in useful]
    menus = menus_of(points, points[:1], points[1:], multiple=multiple)
    assert set(menus.options) == {name for vector in useful for name in vector}
    for name, ranks in menus.options.items():
        assert list(ranks) == sorted(set(ranks))
        assert all(rank % multiple == 0 for rank in ranks)
        assert all(rank * costs[name][1] < costs[name][0] for rank in ranks)
    assert menus.begun[0] == useful[0]
    assert {frozenset(vector) for vector in menus.begun} == {frozenset(v) for v in useful}
    for vector in menus.begun:
        assert menus.vector(menus.places(vector)) == vector


def _bare(ranks: dict[str, int]) -> Point:
    found = object.__new__(Point)
    object.__setattr__(found, "layers", layers_at(ranks))
    return found
