from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from trp_search.records import EpochReport, Point, TrialResult, to_json
from trp_search.records.objectives import OBJECTIVES
from trp_search.report import contents, formatting, history, rows, sections
from trp_search.report.history import Curve
from trp_search.report.styles import UNCUT
from trp_search.selection import pareto
from trp_search.store import RunFolder, write_whole

NUMBERS = {str(number): number for number in range(18)}
PLANE = (OBJECTIVES["accuracy"], OBJECTIVES["speedup"])


def test_hypervolume_is_counted_trial_by_trial_in_order_of_completion(
    empty_run: RunFolder, make_point: Callable[..., Point]
):
    plain = make_point("baseline", correct=180, speedup=1.0, role="baseline")
    points = (
        make_point("5", correct=180, speedup=2.0),
        make_point("3", correct=170, speedup=1.5),
        make_point("4", correct=190, speedup=1.5),
    )
    read = dataclasses.replace(contents.read(empty_run), points=(plain, *points))
    steps = history.volumes(rows.build(read), PLANE, {}, NUMBERS)
    # The corner is 1x and 80 %: 1 x 0.1, nothing new, then 0.5 x 0.05 above the first.
    assert [(step.finished, step.trial) for step in steps] == [(1, "5"), (2, "3"), (3, "4")]
    assert [step.value for step in steps] == pytest.approx([0.1, 0.1, 0.125], rel=1e-4)


def test_hypervolume_of_a_whole_run_is_that_of_all_its_eligible_points(sample_run: RunFolder):
    read = contents.read(sample_run)
    found = rows.build(read)
    assert found.baseline is not None
    steps = history.volumes(found, read.objectives, {}, NUMBERS)
    eligible = [row.point for row in found.trials if not row.violations]
    whole = pareto.covered(eligible, read.objectives, baseline=found.baseline.point)
    assert len(steps) == len(found.trials)
    assert steps[-1].value == pytest.approx(whole)


@pytest.mark.parametrize(
    ("names", "corner"),
    [
        (["accuracy"], "10.0 points below the baseline's accuracy"),
        (["accuracy", "bytes"], "at the baseline's bytes and 10.0 points below the baseline's"),
        (["speedup", "bytes"], "at the baseline's speedup and bytes"),
    ],
)
def test_the_page_says_where_the_hypervolume_begins(
    sample_run: RunFolder, names: list[str], corner: str
):
    objectives = tuple(OBJECTIVES[name] for name in names)
    read = dataclasses.replace(contents.read(sample_run), objectives=objectives)
    drawn = sections.course(read, rows.build(read))
    assert drawn is not None
    assert f"from a corner {corner}" in drawn.html


def test_a_point_that_misses_a_constraint_adds_no_hypervolume(
    empty_run: RunFolder, make_point: Callable[..., Point]
):
    plain = make_point("baseline", correct=180, speedup=1.0, role="baseline")
    read = dataclasses.replace(
        contents.read(empty_run),
        points=(plain, make_point("5", correct=180, speedup=2.0)),
        violations={"5": {"speedup": 1.0}},
    )
    assert [step.value for step in history.volumes(rows.build(read), PLANE, {}, NUMBERS)] == [0.0]


def test_there_is_no_hypervolume_before_the_baseline_is_scored(
    empty_run: RunFolder, make_point: Callable[..., Point]
):
    points = (make_point("5", correct=180, speedup=2.0),)
    read = dataclasses.replace(contents.read(empty_run), points=points)
    assert history.volumes(rows.build(read), PLANE, {}, NUMBERS) == ()


def test_ends_count_trials_and_group_the_reasons():
    results = {
        "baseline": TrialResult(trial="baseline", points=()),
        "0": TrialResult(trial="0", points=()),
        "1": TrialResult(trial="1", points=(), failed="out of memory"),
        "2": TrialResult(trial="2", points=(), diverged="not finite"),
        "3r1": TrialResult(trial="3r1", points=(), failed="out of memory"),
        "4": None,
        "5": TrialResult(trial="5", points=(), stopped="behind"),
        "refit-0": TrialResult(trial="refit-0", points=()),
    }
    ends = history.ends(results, {"0": 0, "1": 1, "2": 2, "3r1": 3, "4": 4, "5": 5})
    assert ends.counts == {"finished": 1, "diverged": 1, "failed": 2, "stopped": 1}
    assert (ends.unfinished, ends.fruitless) == (1, 4)
    assert [(reason.ending, reason.text, reason.trials) for reason in ends.reasons] == [
        ("failed", "out of memory", ("1", "3r1")),
        ("diverged", "not finite", ("2",)),
        ("stopped", "behind", ("5",)),
    ]


@pytest.mark.parametrize(
    ("second", "counted"),
    [
        (TrialResult(trial="0r1", points=()), ("finished", 0)),
        (TrialResult(trial="0r1", points=(), failed="out of memory"), ("failed", 0)),
        (None, (None, 1)),
    ],
)
def test_a_trial_ends_once_however_often_it_is_trained(second, counted):
    first = TrialResult(trial="0", points=())
    ends = history.ends({"0": first, "0r1": second}, {"0": 0, "0r1": 0})
    kind, unfinished = counted
    assert {name: number for name, number in ends.counts.items() if number} == (
        {kind: 1} if kind else {}
    )
    assert ends.unfinished == unfinished


def test_a_failed_baseline_is_listed_and_is_no_failed_trial():
    ends = history.ends(
        {"baseline": TrialResult(trial="baseline", points=(), failed="no disk")}, {}
    )
    assert ends.counts["failed"] == 0
    assert [reason.trials for reason in ends.reasons] == [("baseline",)]


def test_curves_are_of_trials_and_the_baseline_with_the_front_drawn_last(
    empty_run: RunFolder, make_point: Callable[..., Point], make_report: Callable[..., EpochReport]
):
    epochs = {
        name: (make_report(name, 1), make_report(name, 2, metric=0.9))
        for name in ("7", "baseline", "refit-7", "refit-7-plain", "8")
    }
    points = (make_point("7", correct=180, speedup=2.0, scheme="spatial"),)
    found = rows.build(dataclasses.replace(contents.read(empty_run), points=points))
    drawn = history.curves(found, epochs | {"9": ()}, {}, {"7": 7, "8": 8, "9": 9})
    assert [(curve.trial, curve.style.label, curve.on_front) for curve in drawn] == [
        ("baseline", "uncut", False),
        ("8", "uncut", False),
        ("7", "spatial", True),
    ]
    assert (drawn[0].epochs, drawn[0].values) == ((1, 2), (0.5, 0.9))
    assert [curve.is_baseline for curve in drawn] == [True, False, False]


def test_a_curve_knows_whether_its_trial_was_stopped(
    empty_run: RunFolder, make_report: Callable[..., EpochReport]
):
    epochs = {name: (make_report(name, 1),) for name in ("5", "6", "7")}
    results = {
        "5": TrialResult(trial="5", points=(), stopped="behind"),
        "6": TrialResult(trial="6", points=(), failed="no memory"),
        "7": None,
    }
    drawn = history.curves(rows.build(contents.read(empty_run)), epochs, results, NUMBERS)
    assert [(curve.trial, curve.is_stopped) for curve in drawn] == [
        ("5", True),
        ("6", False),
        ("7", False),
    ]


def test_the_reach_of_curves_leaves_out_early_epochs_and_a_training_far_below():
    good = [
        Curve(
            trial=f"{n}",
            style=UNCUT,
            on_front=False,
            epochs=(1, 2, 3, 4),
            values=(0.2, 0.6, 0.90 + 0.01 * n, 0.92 + 0.01 * n),
        )
        for n in range(5)
    ]
    lost = dataclasses.replace(good[0], trial="lost", values=(0.1, 0.1, 0.1, 0.1))
    low, high = history.reach([*good, lost], OBJECTIVES["accuracy"])
    assert 0.8 < low < 0.9
    assert 0.96 < high < 1


def test_hours_count_what_trials_without_a_point_took(sample_run: RunFolder):
    lost = TrialResult(trial="9", points=(), diverged="the loss was not finite", seconds=36.0)
    write_whole(sample_run.trial("9").result, to_json(lost))
    read = contents.read(sample_run)
    found = rows.build(read)
    alone = history.volumes(found, read.objectives, {}, NUMBERS)
    every = history.volumes(found, read.objectives, read.results, read.numbers)
    assert every[-1].hours == pytest.approx(alone[-1].hours + 0.01)
    assert every[0].hours == alone[0].hours


def test_hours_count_the_fine_tuning(empty_run: RunFolder, make_point: Callable[..., Point]):
    plain = make_point("baseline", correct=190, speedup=1.0, role="baseline", scheme=None)
    own = dataclasses.replace(make_point("0", correct=180, speedup=2.0), seconds=72.0)
    before = make_point("0-untuned", correct=170, speedup=2.0, role="derived")
    before = dataclasses.replace(before, trial="0", untuned=True, seconds=0.0)
    read = dataclasses.replace(contents.read(empty_run), points=(plain, own, before))
    (step,) = history.volumes(rows.build(read), read.objectives, {}, {"0": 0})
    assert step.hours == pytest.approx((plain.seconds + 72.0) / 3600)


def test_networks_that_a_search_found_in_int8_count_and_those_quantised_later_do_not(
    empty_run: RunFolder, make_point: Callable[..., Point], in_int8: Callable[..., Point]
):
    plain = make_point("baseline", correct=190, speedup=1.0, role="baseline", scheme=None)
    own = make_point("0", correct=180, speedup=2.0)
    ranked = make_point("0-ranks", correct=185, speedup=3.0, role="derived")
    ranked = dataclasses.replace(ranked, trial="0", by_ranks=True)
    served = dataclasses.replace(in_int8(own), role="trial")
    read = dataclasses.replace(contents.read(empty_run))
    objectives = [OBJECTIVES["accuracy"], OBJECTIVES["bytes"]]

    def last(*points: Point) -> float:
        found = dataclasses.replace(read, points=(plain, *points))
        return history.volumes(rows.build(found), objectives, {}, {"0": 0})[-1].value

    assert last(own, ranked, in_int8(ranked)) == last(own, ranked)
    assert last(own, served, ranked, in_int8(ranked)) > last(own, served, ranked)
    later = in_int8(ranked, runtime="openvino")
    assert last(own, served, ranked, later) == last(own, served, ranked)


def test_a_cut_that_a_user_made_later_is_no_gain_of_the_search(
    empty_run: RunFolder, make_point: Callable[..., Point]
):
    plain = make_point("baseline", correct=190, speedup=1.0, role="baseline", scheme=None)
    own = make_point("0", correct=180, speedup=2.0)
    derived, by_hand = (
        dataclasses.replace(
            make_point(name, correct=179, speedup=speedup, role="derived"), trial="0"
        )
        for name, speedup in (("0-3x", 3.0), ("0-6x", 6.0))
    )
    results = {"0": TrialResult(trial="0", points=(own, derived))}
    read = contents.read(empty_run)

    def last(*points: Point) -> float:
        found = dataclasses.replace(read, points=(plain, *points))
        return history.volumes(rows.build(found), read.objectives, results, {"0": 0})[-1].value

    assert last(own, derived, by_hand) == last(own, derived) > last(own)


def test_a_search_over_ranks_adds_its_volume_after_the_last_trial_and_no_hours(
    empty_run: RunFolder, make_point: Callable[..., Point]
):
    plain = make_point("baseline", correct=190, speedup=1.0, role="baseline", scheme=None)
    trials = [make_point(name, correct=180, speedup=2.0) for name in ("0", "1")]
    ranked = make_point("0-ranks", correct=185, speedup=3.0, role="derived")
    ranked = dataclasses.replace(ranked, trial="0", by_ranks=True)
    read = dataclasses.replace(contents.read(empty_run), points=(plain, *trials, ranked))
    first, second, last = history.volumes(rows.build(read), read.objectives, {}, {"0": 0, "1": 1})
    assert first.value == second.value < last.value
    assert (last.trial, last.by_ranks, last.hours) == ("0", True, second.hours)
    assert formatting.searched_ranks(read.points) == "1 network of trial 0, without training"
