import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trp_search.records import Point
from trp_search.records.objectives import OBJECTIVES
from trp_search.records.scores import share
from trp_search.selection.pareto import (
    best_at,
    covered,
    front,
    hypervolume,
    nondominated,
    order,
    ranks,
)

# Few distinct values, so that ties are common.
tables = st.integers(1, 3).flatmap(
    lambda m: arrays(
        np.float64, st.tuples(st.integers(0, 12), st.just(m)), elements=st.integers(0, 4)
    )
)
BOTH = [OBJECTIVES["accuracy"], OBJECTIVES["speedup"]]


def point_at(name, *, accuracy, speedup):
    return Point(
        id=name,
        trial=name,
        role="baseline" if name == "baseline" else "trial",
        score=share(round(accuracy * 1000), 1000),
        loss=1.0,
        macs=round(6e6 / speedup),
        dense_macs=6_000_000,
        parameters=round(1e5 / speedup),
        dense_parameters=100_000,
        bytes=round(4e5 / speedup),
        dense_bytes=400_000,
        scheme=None,
        cut=None,
        settings={},
        layers=(),
        batch_norm="as trained",
        seconds=1.0,
    )


def dominates(a, b):
    return bool((a >= b).all() and (a > b).any())


def by_brute_force(values):
    return [not any(dominates(other, row) for other in values) for row in values]


@given(values=tables)
def test_the_front_agrees_with_brute_force(values):
    assert nondominated(values).tolist() == by_brute_force(values)


@given(values=tables, seed=st.integers(0, 99))
def test_the_front_does_not_depend_on_the_order(values, seed):
    order = np.random.default_rng(seed).permutation(len(values))
    assert nondominated(values[order]).tolist() == nondominated(values)[order].tolist()


@given(values=tables)
def test_ranks_peel_one_front_after_another(values):
    left = np.arange(len(values))
    expected = np.zeros(len(values), dtype=int)
    level = 0
    while len(left):
        on_front = np.array(by_brute_force(values[left]))
        expected[left[on_front]] = level
        left, level = left[~on_front], level + 1
    assert ranks(values).tolist() == expected.tolist()


def test_the_hypervolume_of_a_staircase_is_its_area():
    stairs = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert hypervolume(stairs, np.zeros(2)) == pytest.approx(3 + 2 + 1)
    assert hypervolume(stairs, np.array([1.0, 1.0])) == pytest.approx(1.0)
    assert hypervolume(stairs, np.array([3.0, 3.0])) == 0.0
    assert hypervolume(np.zeros((0, 2)), np.zeros(2)) == 0.0


def test_points_on_the_front_run_from_slow_to_fast():
    points = [
        point_at("a", accuracy=0.90, speedup=1.5),
        point_at("b", accuracy=0.85, speedup=3.0),
        point_at("c", accuracy=0.84, speedup=2.0),
        point_at("d", accuracy=0.92, speedup=1.2),
    ]
    assert [point.id for point in front(points, BOTH)] == ["d", "a", "b"]


def test_one_network_twice_is_on_the_front_once_and_equal_scores_of_two_both():
    point = point_at("a", accuracy=0.90, speedup=2.0)
    again = dataclasses.replace(point, id="again", trial="again", seconds=2.0)
    other = dataclasses.replace(point, id="other", loss=0.5)
    assert [point.id for point in front([point, again, other], BOTH)] == ["a", "other"]


def test_the_most_accurate_point_at_a_speedup_is_at_least_that_fast():
    points = [
        point_at("a", accuracy=0.9, speedup=1.5),
        point_at("b", accuracy=0.8, speedup=3.0),
    ]
    assert best_at(points, speedup=1.5).id == "a"
    assert best_at(points, speedup=1.51).id == "b"
    assert best_at(points, speedup=3.1) is None


def test_what_is_covered_starts_at_1x_and_10_points_below_the_baseline():
    baseline = point_at("baseline", accuracy=0.9, speedup=1.0)
    points = [
        point_at("a", accuracy=0.9, speedup=2.0),
        point_at("b", accuracy=0.5, speedup=9.0),
    ]
    assert covered(points, BOTH, baseline=baseline) == pytest.approx(0.1 * 1.0)
    fewer = [*BOTH, OBJECTIVES["parameters"]]
    assert covered(points, fewer, baseline=baseline) > 0


@given(values=tables)
def test_order_goes_front_by_front(values):
    found = order(values)
    assert sorted(found) == list(range(len(values)))
    assert list(ranks(values)[found]) == sorted(ranks(values))


def test_within_a_front_the_most_accurate_leads_and_the_farthest_follows():
    line = np.array([[0.9, 1.0], [0.85, 2.0], [0.8, 3.0], [0.4, 11.0]])
    # In units of the ranges: 0.1 + 0.1, 0.2 + 0.2 and 1 + 1 from the first, then 1.6 from the last.
    assert list(order(line)) == [0, 3, 2, 1]


def test_order_of_rows_that_are_all_alike_is_their_own():
    assert list(order(np.ones((3, 2)))) == [0, 1, 2]
