"""The front as trials end."""

from __future__ import annotations

import pytest

from trp_search.search.front_history import FrontHistory
from trp_search.selection import pareto
from trp_search.space import Patience, SearchSpace, load_space


@pytest.fixture
def space(empty_run) -> SearchSpace:
    return load_space(empty_run.search)


@pytest.fixture
def plain(make_point):
    return make_point("baseline", correct=199, speedup=1.0, role="baseline", scheme=None)


def test_the_front_leaves_out_controls_dominated_points_and_missed_constraints(space, make_point):
    history = FrontHistory(space)
    history.add(
        [
            make_point("c", correct=198, speedup=5.0, role="control"),
            make_point("0", correct=190, speedup=2.0),
            make_point("1", correct=180, speedup=1.5),
        ]
    )
    history.add([make_point("2", correct=40, speedup=9.0)])
    assert space.constraints, "or nothing is missed"
    assert [point.id for point in history.front] == ["0"]


def test_after_every_trial_it_is_the_front_of_all_points(space, make_point, plain):
    history = FrontHistory(space)
    history.baseline = plain
    trials = [
        [make_point(f"{n}-{cut}", correct=199 - 7 * n * cut % 20, speedup=1.0 + n % 3 + cut)
         for cut in range(1, 4)]
        for n in range(1, 8)
    ]  # fmt: skip
    seen = []
    for points in trials:
        seen += points
        history.add(points)
        front = pareto.front([p for p in seen if space.admits(p)], space.objective_list)
        assert history.front == front
        assert history.hypervolume == pareto.covered(front, space.objective_list, baseline=plain)


def test_patience_counts_trials_that_ended_before_the_baseline(space, make_point, plain):
    history = FrontHistory(space.model_copy(update={"patience": Patience(trials=2)}))
    for number in range(3):
        history.add([make_point("0", correct=190, speedup=2.0)] if number == 0 else [])
        history.end_trial()
        assert not history.settled
    history.baseline = plain
    assert history.settled
    history.add([make_point("3", correct=190, speedup=3.0)])
    history.end_trial()
    assert not history.settled


def test_nothing_is_covered_before_there_is_a_baseline(space, make_point, plain):
    history = FrontHistory(space)
    history.add([make_point("0", correct=190, speedup=2.0)])
    assert history.hypervolume is None
    history.baseline = plain
    assert history.hypervolume > 0
