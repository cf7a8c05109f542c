"""Which weights stay on disk."""

from __future__ import annotations

import dataclasses
import itertools
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trp_search.records import Cut, Point, Speedup, to_json
from trp_search.records.objectives import OBJECTIVES
from trp_search.records.scores import share
from trp_search.search.retention import Keeper, neighbourhood
from trp_search.selection import pareto
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder, write_whole

OBJECTIVE_LIST = [OBJECTIVES["accuracy"], OBJECTIVES["speedup"]]


@pytest.fixture
def points(make_point: Callable[..., Point]) -> list[Point]:
    """Sixty points of twenty trials, somewhere."""
    draws = random.Random(3)  # noqa: S311
    return [
        dataclasses.replace(
            make_point(
                f"{trial}-{cut}",
                correct=draws.randrange(100, 200),
                speedup=draws.uniform(1, 5),
                scheme=("channel", "spatial")[trial % 2],
            ),
            trial=str(trial),
            role="trial" if cut == 0 else "derived",
        )
        for trial, cut in itertools.product(range(20), range(3))
    ]


def stored(run: RunFolder, points: list[Point]) -> None:
    for point in points:
        place = run.trial(point.trial)
        place.path.mkdir(parents=True, exist_ok=True)
        place.weights.touch()
        place.point_weights(point.id).touch()


def left(run: RunFolder, points: list[Point]) -> set[str]:
    return {p.id for p in points if run.trial(p.trial).point_weights(p.id).exists()}


@pytest.mark.parametrize("keep", ["front", "near", "all"])
@pytest.mark.parametrize("at_a_time", [3, 60])
def test_what_stays_does_not_depend_on_the_order(
    keep: str,
    at_a_time: int,
    make_space: Callable[..., SearchSpace],
    empty_run: RunFolder,
    points: list[Point],
):
    space = make_space(("trials: 4", f"trials: 4\nkeep: {keep}"))
    stored(empty_run, points)
    keeper = Keeper(space, empty_run)
    for batch in _batches(points, at_a_time):
        keeper.add(batch)
    rules = {
        "front": lambda: pareto.front(points, OBJECTIVE_LIST),
        "near": lambda: neighbourhood(points, OBJECTIVE_LIST),
        "all": lambda: points,
    }
    expected = {point.id for point in rules[keep]()}
    assert left(empty_run, points) == expected
    trials = {point.trial for point in points if point.id in expected}
    for trial in {point.trial for point in points}:
        assert empty_run.trial(trial).weights.exists() == (trial in trials)


@pytest.mark.parametrize("keep", ["front", "near"])
@pytest.mark.parametrize("at_a_time", [3, 60])
def test_while_nothing_meets_the_constraints_the_nearest_stays(
    keep: str,
    at_a_time: int,
    make_space: Callable[..., SearchSpace],
    empty_run: RunFolder,
    points: list[Point],
):
    space = make_space(("trials: 4", f"trials: 4\nkeep: {keep}\nconstraints: {{speedup: 6}}"))
    stored(empty_run, points)
    keeper = Keeper(space, empty_run)
    for batch in _batches(points, at_a_time):
        keeper.add(batch)
    fastest = max(points, key=lambda point: point.speedup)
    assert left(empty_run, points) == {fastest.id}
    assert empty_run.trial(fastest.trial).weights.exists()
    found = dataclasses.replace(points[0], id="met", trial="99", macs=1)
    stored(empty_run, [found])
    keeper.add([found])
    assert left(empty_run, [*points, found]) == {"met"}
    assert not empty_run.trial(fastest.trial).weights.exists()


def _batches(points: list[Point], size: int) -> list[list[Point]]:
    return [points[start : start + size] for start in range(0, len(points), size)]


def test_the_neighbourhood_is_two_fronts_and_each_scheme_s(points: list[Point]):
    kept = neighbourhood(points, OBJECTIVE_LIST)
    first = pareto.front(points, OBJECTIVE_LIST)
    rest = [point for point in points if point not in first]
    wanted = [*first, *pareto.front(rest, OBJECTIVE_LIST)]
    for scheme in ("channel", "spatial"):
        wanted += pareto.front([p for p in points if p.scheme == scheme], OBJECTIVE_LIST)
    assert {point.id for point in kept} == {point.id for point in wanted}
    assert len(kept) < 40


def test_the_baseline_its_cuts_and_refits_stay(
    make_space: Callable[..., SearchSpace], empty_run: RunFolder, make_point: Callable[..., Point]
):
    rows = [("baseline", "baseline"), ("plain-2x", "control"), ("refit-1", "refit")]
    others = [
        dataclasses.replace(make_point(name, correct=10, speedup=1.0, role=role), trial="baseline")
        for name, role in rows
    ]
    best = make_point("0", correct=199, speedup=9.0)
    stored(empty_run, [*others, best])
    Keeper(make_space(), empty_run).add([*others, best])
    assert left(empty_run, [*others, best]) == {"baseline", "plain-2x", "refit-1", "0"}


def test_a_cut_that_somebody_asked_for_stays(trained_run: RunFolder, tmp_path: Path):
    run = RunFolder(path=shutil.copytree(trained_run.path, tmp_path / "run"))
    scored = run.point("0")
    own = dataclasses.replace(scored, score=share(1, 2))
    asked = dataclasses.replace(
        own,
        id="0-7x",
        role="derived",
        score=share(1, scored.score.images),
        cut=Cut(scheme="per-layer", keep=Speedup(7.0)),
    )
    told = dataclasses.replace(asked, id="0-2x", cut=run.trial("0").read_spec().screening[0])
    for point in (own, asked, told):
        run.weights(point).touch()
    best = dataclasses.replace(own, id="9", trial="9", score=share(1, 1), macs=1)
    Keeper(load_space(run.search), run).add([own, asked, told, best])
    assert run.weights(asked).exists()
    assert not run.weights(told).exists()
    behind = dataclasses.replace(told, role="screened_out")
    result = run.trial("0").read_result()
    points = tuple(p for p in result.points if p.cut != told.cut)
    known = dataclasses.replace(result, points=(*points, behind))
    write_whole(run.trial("0").result, to_json(known))
    run.weights(told).touch()
    Keeper(load_space(run.search), run).add([own, told, best])
    assert run.weights(told).exists(), "the search had not kept it"


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_network_in_int8_stays_with_the_float_one_that_it_was_made_of(
    one_by_one: bool,
    make_space: Callable[..., SearchSpace],
    empty_run: RunFolder,
    make_point: Callable[..., Point],
    in_int8: Callable[..., Point],
):
    space = make_space(("trials: 4", "trials: 4\nkeep: front\nobjectives: [accuracy, bytes]"))
    floats = [make_point(str(trial), correct=150, speedup=2.0 + trial) for trial in range(2)]
    floats.append(make_point("2", correct=199, speedup=1.0))
    made = [
        dataclasses.replace(in_int8(point, runtime=runtime), role="trial")
        for point, runtime in zip(floats, ("onnxruntime", "openvino", "openvino"), strict=True)
    ]
    stored(empty_run, floats)
    files = {}
    for point in made:
        weights = empty_run.weights(point)
        files[point.trial] = (
            {weights, weights.with_suffix(".bin")} if point.id != "0-int8" else {weights}
        )
        for file in files[point.trial]:
            file.touch()
    keeper = Keeper(space, empty_run)
    for pair in zip(floats, made, strict=True) if one_by_one else [(*floats, *made)]:
        keeper.add(pair)
    assert left(empty_run, floats) == {"1", "2"}
    there = {trial for trial, own in files.items() if all(file.exists() for file in own)}
    assert there == {"1", "2"}
    assert not any(file.exists() for file in files["0"])


def test_a_point_that_misses_a_constraint_does_not_stay(
    make_space: Callable[..., SearchSpace], empty_run: RunFolder, make_point: Callable[..., Point]
):
    space = make_space(("trials: 4", "trials: 4\nconstraints: {accuracy: 0.9}"))
    bad, good = (make_point(n, correct=c, speedup=3.0) for n, c in (("0", 150), ("1", 190)))
    stored(empty_run, [bad, good])
    Keeper(space, empty_run).add([bad, good])
    assert left(empty_run, [bad, good]) == {"1"}
