"""Choosing a point at a budget."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable

import pytest

from trp_search.errors import InputError, NothingFoundError
from trp_search.records import Latency, Point, Repeat, to_json
from trp_search.records.scores import share
from trp_search.selection.budgets import LIMITS, Budget
from trp_search.selection.select import choose, out_of_reach, select
from trp_search.selection.snapshot import Snapshot
from trp_search.space import load_space
from trp_search.store import RunFolder, append_record, write_whole

MakePoint = Callable[..., Point]


@pytest.fixture
def run_of(empty_run: RunFolder, make_point: MakePoint) -> Callable[..., RunFolder]:
    """A run with points given as (name, correct of 200, speedup, role)."""

    def build(*rows: tuple[str, int, float, str]) -> RunFolder:
        for name, correct, speedup, role in rows:
            point = make_point(name, correct=correct, speedup=speedup, role=role)
            append_record(empty_run.points, point)
        return empty_run

    return build


def test_the_most_accurate_point_at_or_above_the_budget_is_taken(run_of):
    run = run_of(("1", 198, 1.9, "trial"), ("2", 190, 2.1, "trial"), ("3", 180, 4.0, "trial"))
    assert select(run, speedup=2.0).point.id == "2"
    assert select(run, speedup=1.0).point.id == "1"
    assert select(run.path, speedup=2.2).point.id == "3"


def test_of_equally_accurate_points_the_faster_is_taken(run_of):
    run = run_of(("1", 190, 2.1, "trial"), ("2", 190, 3.0, "trial"))
    assert select(run, speedup=2.0).point.id == "2"


def test_of_equal_points_the_one_in_int8_is_taken(run_of, in_int8):
    run = run_of(("1", 190, 2.1, "trial"), ("2", 180, 3.0, "trial"))
    append_record(run.int8, in_int8(run.point("1")))
    assert select(run, speedup=2.0).point.id == "1-int8"
    assert select(str(run.path), speedup=2.5).point.id == "2"
    assert RunFolder.open(str(run.path)) == RunFolder.open(run.path)


def test_the_drop_is_counted_from_the_baseline(run_of):
    run = run_of(("baseline", 194, 1.0, "baseline"), ("1", 190, 2.1, "trial"))
    assert select(run, speedup=2.0).drop == pytest.approx(4 / 200)


def test_without_a_baseline_there_is_no_drop(run_of):
    assert select(run_of(("1", 190, 2.1, "trial")), speedup=2.0).drop is None


def test_cuts_of_the_baseline_are_never_chosen_but_a_better_one_is_told(run_of):
    rows = [("1", 190, 2.5, "trial"), ("2", 195, 1.5, "trial")]
    run = run_of(*rows, ("c", 192, 2.2, "control"), ("d", 193, 1.2, "control"))
    choice = select(run, speedup=2.0)
    assert choice.point.id == "1"
    assert choice.control is not None
    assert choice.control.id == "c"
    assert select(run, speedup=1.0).control is None


def test_a_smaller_cut_of_the_baseline_at_equal_accuracy_is_told(run_of):
    run = run_of(("1", 190, 2.1, "trial"), ("c", 190, 2.5, "control"), ("d", 190, 2.1, "control"))
    assert select(run, speedup=2.0).control.id == "c"


def test_a_cut_of_the_baseline_that_misses_a_constraint_is_not_told(run_of):
    run = run_of(("1", 190, 2.5, "trial"), ("c", 195, 2.2, "control"))
    assert select(run, speedup=2.0).control.id == "c"
    text = run.search.read_text().replace("{accuracy: 0.5}", "{parameters: 30000}")
    write_whole(run.search, text)
    assert select(run, speedup=2.0).control is None


def test_refits_are_never_chosen(run_of):
    run = run_of(("1", 190, 2.5, "trial"), ("refit-1", 200, 2.5, "refit"))
    assert select(run, speedup=2.0).point.id == "1"


def test_points_that_miss_a_constraint_are_left_out(run_of):
    # The run's space asks for an accuracy of at least 0.5.
    run = run_of(("1", 190, 2.0, "trial"), ("2", 99, 9.0, "trial"))
    with pytest.raises(NothingFoundError, match=r"nearest is '1' at 2\.00x, 95\.0 % on"):
        select(run, speedup=5.0)


def test_the_nearest_is_the_fastest_and_said_not_to_reach(run_of):
    choice = choose(run_of(("1", 190, 2.0, "trial"), ("2", 180, 3.0, "trial")), Budget(speedup=5.0))
    assert (choice.point.id, choice.reached) == ("2", False)


def test_of_a_run_without_trials_a_cut_of_the_baseline_is_chosen(run_of):
    cuts = (("plain-2x", 180, 2.0, "control"), ("plain-3x", 170, 3.0, "control"))
    choice = select(run_of(("baseline", 194, 1.0, "baseline"), *cuts), speedup=2.5)
    assert (choice.point.id, choice.larger.id) == ("plain-3x", "plain-2x")
    assert (choice.smaller, choice.control) == (None, None)


def test_of_a_search_whose_first_trial_is_under_way_nothing_is_chosen_yet(run_of, make_spec):
    run = run_of(("baseline", 194, 1.0, "baseline"), ("plain-2x", 180, 2.0, "control"))
    write_whole(run.trial("0").spec, to_json(make_spec("0")))
    with pytest.raises(NothingFoundError, match="no trial and no cut has been scored yet"):
        select(run, speedup=1.0)


def test_a_run_without_trials_and_cuts_has_nothing_to_choose(run_of):
    with pytest.raises(NothingFoundError, match="no trial and no cut has been scored yet"):
        select(run_of(("baseline", 194, 1.0, "baseline")), speedup=2.0)


def test_a_run_whose_points_all_miss_the_constraints_says_so(run_of):
    nearest = r"2 comes nearest, with accuracy 15\.0 % \(constraint: \d+\.0 %\)$"
    with pytest.raises(NothingFoundError, match=f"none of the 2 scored points meets .*; {nearest}"):
        select(run_of(("1", 20, 3.0, "trial"), ("2", 30, 2.0, "trial")), speedup=2.0)


def test_of_points_that_miss_a_constraint_by_as_much_the_best_is_the_nearest(run_of):
    run = run_of(("1", 150, 3.0, "trial"), ("2", 160, 3.0, "trial"))
    space = load_space(run.search)
    asked = space.model_copy(update={"constraints": {"speedup": 4.0}})
    points = run.read_points()
    assert "2 comes nearest, with speedup 3.00\N{MULTIPLICATION SIGN}" in out_of_reach(
        points, asked
    )
    timed = space.model_copy(update={"constraints": {"milliseconds": 0.1}})
    assert "2 comes nearest, with milliseconds not predicted" in out_of_reach(points, timed)


@pytest.mark.parametrize("speedup", [0.99, 0.0, -2.0, float("nan"), float("inf")])
def test_a_speedup_below_one_or_without_bound_is_refused(run_of, speedup: float):
    with pytest.raises(InputError, match=r"speedup: .* is not (at least 1|a finite number)"):
        select(run_of(("1", 190, 2.0, "trial")), speedup=speedup)


@pytest.fixture
def timed(make_latency: Callable[..., Latency]) -> Callable[..., RunFolder]:
    """Adds times on `target`: by point the speedup for sure and the seconds of a batch."""

    def add(run: RunFolder, target: str, **clock: tuple[float, float]) -> RunFolder:
        for name, (low, seconds) in clock.items():
            found = make_latency(name.removeprefix("p"), target=target, low=low, seconds=seconds)
            append_record(run.latencies, found)
        return run

    return add


ROWS = (
    ("baseline", 194, 1.0, "baseline"),
    ("1", 192, 1.5, "trial"),
    ("2", 190, 2.0, "trial"),
    ("3", 185, 2.6, "trial"),
    ("4", 191, 1.2, "trial"),
)


def test_the_smallest_is_taken_that_loses_no_more_than_allowed(run_of):
    assert select(run_of(*ROWS), max_drop=0.02).point.id == "2"
    assert select(run_of(), max_drop=0.019).point.id == "1"
    with pytest.raises(NothingFoundError, match=r"within 0\.5 points of .*; the nearest is '1'"):
        select(run_of(), max_drop=0.005)


def test_what_just_misses_a_budget_is_told_with_the_digits_that_show_it(run_of):
    run = run_of(("baseline", 194, 1.0, "baseline"), ("1", 190, 2.0966, "trial"))
    with pytest.raises(NothingFoundError, match=r"reaches 2\.1x fewer.*nearest is '1' at 2\.0966"):
        select(run, speedup=2.1)
    with pytest.raises(NothingFoundError, match=r"on validation \(2 points away\)$"):
        select(run, max_drop=0.0199)


def test_by_the_clock_the_lower_end_of_the_interval_counts(run_of, timed):
    run = timed(run_of(*ROWS), "laptop", p1=(1.9, 0.005), p2=(1.2, 0.006), p3=(2.0, 0.004))
    choice = select(run, speedup=2.0, target="laptop")
    assert (choice.point.id, choice.axis.by, choice.axis.target) == ("3", "latency", "laptop")
    assert select(run, speedup=1.9, by="latency").point.id == "1"
    with pytest.raises(
        NothingFoundError, match=r"reaches 2\.1x less time on laptop, for sure; .* '3'"
    ):
        select(run, speedup=2.1, by="latency")


def test_milliseconds_are_kept_for_sure(run_of, timed):
    # The dense network's median over the lower end of the ratio: 10 % above a point's own median.
    run = timed(run_of(*ROWS), "laptop", p1=(1.9, 0.005), p3=(2.0, 0.004))
    assert select(run, milliseconds=5.6).point.id == "1"
    assert select(run, milliseconds=5.4).point.id == "3"
    with pytest.raises(NothingFoundError, match="no point takes at most 4 ms for sure"):
        select(run, milliseconds=4.0)


def test_a_target_must_have_been_timed_and_be_named_among_several(run_of, timed):
    run = run_of(*ROWS)
    with pytest.raises(InputError, match="nothing was timed yet; trp-search latency does it"):
        select(run, speedup=2.0, by="latency")
    timed(run, "laptop", p1=(1.9, 0.005))
    with pytest.raises(InputError, match="'phone' was not timed; there are laptop"):
        select(run, speedup=2.0, target="phone")
    timed(run, "phone", pbaseline=(1.0, 0.02))
    with pytest.raises(InputError, match="several were timed; name one of laptop, phone"):
        select(run, speedup=1.0, by="latency")
    with pytest.raises(NothingFoundError, match="no trial's point was timed on 'phone'"):
        select(run, speedup=1.0, target="phone")


def test_parameters_and_bytes_limit_what_is_stored(run_of, make_point):
    run = run_of(*ROWS)
    two = run.point("2")
    choice = select(run, parameters=two.parameters)
    assert (choice.point.id, choice.axis.by) == ("2", "parameters")
    choice = select(run, bytes=two.bytes)
    assert (choice.point.id, choice.axis.by) == ("2", "bytes")
    assert select(run, bytes=two.bytes - 1).point.id == "3"
    with pytest.raises(NothingFoundError, match="no point has at most 999 bytes"):
        select(run, bytes=999)


@pytest.mark.parametrize("name", ["speedup", "parameters", "bytes"])
def test_a_constraint_and_a_budget_admit_the_same_points(name: str, run_of):
    run = run_of(*ROWS)
    space = load_space(run.search)
    for point in run.read_points():
        bound = getattr(point, name)
        constrained = space.model_copy(update={"constraints": {name: float(bound)}})
        budget = Budget(**{name: bound})
        snapshot = Snapshot.of(run)
        fits = budget.keeps(snapshot, budget.axis(snapshot))
        assert {p.id for p in run.read_points() if fits(p) and p.searched} == {
            p.id for p in run.read_points() if constrained.admits(p)
        }


def test_what_other_seeds_came_to_stands_with_the_choice(run_of):
    run = run_of(*ROWS)
    assert select(run, speedup=2.0).repeats == ()
    point = select(run, speedup=2.0).point
    again = Repeat(point=point.id, trial="c", score=share(90, 100), speedup=point.speedup)
    append_record(run.repeats, again)
    assert list(select(run, speedup=2.0).repeats) == [again]


def test_neighbours_and_half_a_step_are_those_of_the_front(run_of):
    choice = select(run_of(*ROWS), speedup=2.0)
    assert choice.larger is not None
    assert choice.smaller is not None
    assert (choice.larger.id, choice.smaller.id) == ("1", "3")
    assert choice.half_step == choice.smaller
    fastest = select(run_of(), speedup=2.5)
    assert (fastest.smaller, fastest.half_step) == (None, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no budget: give one of speedup, max_drop"),
        ({"speedup": 2.0, "bytes": 10}, "speedup, bytes: give one of"),
        ({"max_drop": -0.1}, "max_drop: -0.1 is not at least 0"),
        ({"milliseconds": float("nan")}, "milliseconds: nan is not a finite number"),
        ({"speedup": 2.0, "by": "size"}, "by: 'size' is none of macs, parameters, bytes, latency"),
        ({"speedup": 2.0, "by": "macs", "target": "a"}, "'a' applies to latency only"),
        ({"milliseconds": 2.0, "by": "macs"}, "time is not measured by macs"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(given: dict[str, object], said: str):
    with pytest.raises(InputError, match=said):
        Budget(**given)


def test_every_field_of_a_budget_is_an_argument_of_select():
    fields = {field.name: field.default for field in dataclasses.fields(Budget)}
    _, *arguments = inspect.signature(select).parameters.values()
    assert {one.name: one.default for one in arguments} == fields
    assert fields.keys() == {*LIMITS, "by", "target"}


def test_a_drop_as_large_as_the_metric_is_no_budget(run_of):
    with pytest.raises(InputError, match=r"max_drop: 1 is not in \[0, 1\)"):
        select(run_of(*ROWS), max_drop=1.0)
