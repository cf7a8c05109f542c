from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from trp_search.records import Point, Scheme, TestScore
from trp_search.records.objectives import OBJECTIVES
from trp_search.records.scores import share
from trp_search.report import contents, formatting, rows
from trp_search.report.contents import Contents
from trp_search.report.frame import frame
from trp_search.store import RunFolder

PLANE = (OBJECTIVES["accuracy"], OBJECTIVES["speedup"])
Make = Callable[..., Point]


@pytest.fixture
def read(empty_run: RunFolder) -> Callable[..., Contents]:
    blank = contents.read(empty_run)

    def with_points(*points: Point, **changes: object) -> Contents:
        return dataclasses.replace(blank, points=points, objectives=PLANE, **changes)

    return with_points


def ids(found: object) -> list[str]:
    return [row.point.id for row in found]


def test_a_point_is_sorted_by_its_role(make_point: Make, read: Callable[..., Contents]):
    roles = ("baseline", "control", "trial", "refit")
    points = [make_point(f"{i}", correct=190, speedup=2.0, role=r) for i, r in enumerate(roles)]
    found = rows.build(read(*points))
    assert ids([found.baseline]) == ["0"]
    assert (ids(found.controls), ids(found.trials), ids(found.refits)) == (["1"], ["2"], ["3"])
    assert ids(found.comparable()) == ["0", "1", "2"]


def test_the_front_holds_what_nothing_dominates(make_point: Make, read: Callable[..., Contents]):
    points = [
        make_point("fast", correct=180, speedup=3.0),
        make_point("dominated", correct=179, speedup=2.9),
        make_point("accurate", correct=195, speedup=1.5),
    ]
    assert ids(rows.build(read(*points)).front) == ["accurate", "fast"]


def test_a_point_that_misses_a_constraint_is_not_on_the_front(
    make_point: Make, read: Callable[..., Contents]
):
    points = [
        make_point("kept", correct=190, speedup=2.0),
        make_point("bad", correct=191, speedup=3),
    ]
    found = rows.build(read(*points, violations={"bad": {"accuracy": 0.01}}))
    assert ids(found.front) == ["kept"]
    assert found.trials[1].violations == {"accuracy": 0.01}


def test_controls_and_refits_never_make_the_front(make_point: Make, read: Callable[..., Contents]):
    points = [
        make_point("7", correct=150, speedup=1.5),
        make_point("refit-7", correct=200, speedup=5.0, role="refit"),
        make_point("plain-channel-0.9", correct=200, speedup=5.0, role="control"),
    ]
    assert ids(rows.build(read(*points)).front) == ["7"]


def test_a_drop_is_what_validation_lost_to_the_baseline(
    make_point: Make, read: Callable[..., Contents]
):
    plain = make_point("baseline", correct=194, speedup=1.0, role="baseline")
    points = [make_point("1", correct=190, speedup=2.0), make_point("2", correct=196, speedup=1.5)]
    found = rows.build(read(plain, *points))
    assert [row.drop for row in found.trials] == pytest.approx([0.02, -0.01])
    assert rows.build(read(*points)).trials[0].drop is None


def test_a_test_score_goes_to_its_own_point_alone(make_point: Make, read: Callable[..., Contents]):
    points = [make_point("1", correct=190, speedup=2.0), make_point("2", correct=180, speedup=3.0)]
    score = TestScore(point="2", score=share(100, 200))
    found = rows.build(read(*points, tests={"2": score}))
    assert [row.test for row in found.trials] == [None, score]


def test_the_staircase_leaves_out_what_only_parameters_keep_on_the_front(
    make_point: Make, read: Callable[..., Contents]
):
    points = [
        make_point("fast", correct=180, speedup=3.0, parameters=900),
        make_point("small", correct=170, speedup=2.0, parameters=100),
    ]
    three = dataclasses.replace(read(*points), objectives=(*PLANE, OBJECTIVES["parameters"]))
    front = rows.build(three).front
    assert ids(front) == ["small", "fast"]
    assert ids(rows.staircase(front)) == ["fast"]


class TestTheLeadingPoint:
    def test_is_the_fastest_within_a_point_of_the_baseline(
        self, make_point: Make, read: Callable[..., Contents]
    ):
        plain = make_point("baseline", correct=194, speedup=1.0, role="baseline")
        points = [
            make_point("safe", correct=195, speedup=1.2),
            make_point("exactly-a-point", correct=192, speedup=2.0),
            make_point("too-far", correct=191, speedup=3.0),
        ]
        best = rows.leading(rows.build(read(plain, *points)))
        assert best is not None
        assert best.point.id == "exactly-a-point"

    def test_is_the_most_accurate_when_none_comes_that_close(
        self, make_point: Make, read: Callable[..., Contents]
    ):
        plain = make_point("baseline", correct=194, speedup=1.0, role="baseline")
        points = [make_point(f"{n}", correct=n, speedup=300 / n) for n in (150, 160, 170)]
        best = rows.leading(rows.build(read(plain, *points)))
        assert best is not None
        assert best.point.id == "170"

    def test_is_none_without_a_front(self, make_point: Make, read: Callable[..., Contents]):
        plain = make_point("baseline", correct=194, speedup=1.0, role="baseline")
        assert rows.leading(rows.build(read(plain))) is None


class TestTheWindow:
    def test_is_not_stretched_by_a_point_that_is_far_off(
        self, make_point: Make, read: Callable[..., Contents]
    ):
        good = [make_point(f"{n}", correct=n, speedup=3 - n / 100) for n in (180, 185, 190)]
        garbage = make_point("garbage", correct=20, speedup=40.0)
        found = rows.build(read(*good, garbage))
        assert "garbage" in ids(found.front)
        near, everything = rows.window(found), rows.everywhere(found)
        assert near is not None
        assert everything is not None
        assert near == dataclasses.replace(rows.window(rows.build(read(*good))), outside=1)
        assert near.metric[0] > 0.85
        assert near.speedup[1] < 2
        assert everything.metric[0] < 0.1
        assert everything.speedup[1] > 40
        assert everything.outside == 0

    def test_holds_the_whole_front_and_the_baseline(self, sample_run: RunFolder):
        found = rows.build(contents.read(sample_run))
        window = rows.window(found)
        assert window is not None
        assert found.baseline is not None
        for row in (*found.front, found.baseline):
            assert window.metric[0] < row.point.score.value < window.metric[1]
            assert window.speedup[0] < row.point.speedup < window.speedup[1]

    def test_of_a_lone_point_has_a_size(self, make_point: Make, read: Callable[..., Contents]):
        plain = make_point("baseline", correct=194, speedup=1.0, role="baseline")
        window = rows.window(rows.build(read(plain)))
        assert window is not None
        assert window.metric[1] - window.metric[0] >= 0.02

    def test_of_no_points_is_none(self, read: Callable[..., Contents]):
        assert rows.window(rows.build(read())) is None


def test_the_front_as_csv_keeps_every_digit_and_names_each_split(
    make_point: Make, read: Callable[..., Contents]
):
    points = [
        make_point("1", correct=191, speedup=2.0, settings={"energy": 0.1 + 0.2}),
        make_point("2", correct=180, speedup=4.0, settings={"period": "never"}),
    ]
    score = TestScore(point="2", score=share(175, 200))
    found = read(*points, tests={"2": score})
    text = frame(rows.build(found).front, found.latencies, found.metric).to_csv(index=False)
    header, *lines = (line.split(",") for line in text.splitlines())
    one, two = (dict(zip(header, line, strict=True)) for line in lines)
    assert (one["point"], one["validation_accuracy"], one["test_accuracy"]) == ("1", "0.955", "")
    assert one["setting.energy"] == "0.30000000000000004"
    assert one["setting.period"] == ""
    assert (two["test_accuracy"], two["setting.period"], two["speedup"]) == (
        "0.875",
        "never",
        "4.0",
    )


def test_a_derived_point_may_be_on_the_front_and_a_raced_one_never(
    make_point: Make, read: Callable[..., Contents]
):
    points = [
        make_point("7", correct=190, speedup=1.5),
        make_point("7-3x", correct=185, speedup=3.0, role="derived"),
        make_point("7-6x", correct=199, speedup=6.0, role="screened_out"),
    ]
    found = rows.build(read(*points))
    assert ids(found.front) == ["7", "7-3x"]
    assert (ids(found.trials), ids(found.derived)) == (["7"], ["7-3x", "7-6x"])
    assert [row.on_front for row in found.derived] == [True, False]


def test_a_derived_point_can_push_its_own_trial_off_the_front(
    make_point: Make, read: Callable[..., Contents]
):
    points = [
        make_point("7", correct=180, speedup=2.0),
        make_point("7-3x", correct=185, speedup=3.0, role="derived"),
    ]
    found = rows.build(read(*points))
    assert ids(found.front) == ["7-3x"]
    assert rows.leading(found) == found.derived[0]


def test_a_derived_point_that_misses_a_constraint_is_not_on_the_front(
    make_point: Make, read: Callable[..., Contents]
):
    points = [
        make_point("7", correct=190, speedup=2.0),
        make_point("7-3x", correct=150, speedup=3.0, role="derived"),
    ]
    found = rows.build(read(*points, violations={"7-3x": {"accuracy": 0.1}}))
    assert ids(found.front) == ["7"]


def test_further_cuts_are_compared_with_the_baseline(
    make_point: Make, read: Callable[..., Contents]
):
    plain = make_point("baseline", correct=194, speedup=1.0, role="baseline")
    further = make_point("7-3x", correct=190, speedup=3.0, role="derived")
    found = rows.build(read(plain, further))
    assert found.derived[0].drop == pytest.approx(0.02)
    assert ids(found.comparable()) == ["baseline", "7-3x"]


def test_a_cut_of_the_baseline_that_fell_behind_is_none_of_the_trials(
    make_point: Make, read: Callable[..., Contents]
):
    behind = make_point("plain-8x", correct=100, speedup=8.0, role="screened_out")
    found = rows.build(read(dataclasses.replace(behind, trial="baseline")))
    assert ids(found.derived) == []


@pytest.mark.parametrize(
    ("scheme", "kept", "said"),
    [
        ("channel", {"channel": 0.971}, "keeps 97.1 % of energy"),
        (
            "spatial",
            {"channel": 0.93, "spatial": 0.971, "decoupled": 0.952},
            "keeps 97.1 % of energy; at that cost decoupled 95.2 %, channel 93.0 %",
        ),
    ],
)
def test_what_a_layer_keeps_is_said_beside_what_other_schemes_would(
    make_point: Make, scheme: Scheme, kept: dict[Scheme, float], said: str
):
    layer = make_point("7", correct=190, speedup=2.0, scheme=scheme).layers[1]
    assert formatting.kept(dataclasses.replace(layer, kept=kept)) == said


def test_a_point_is_distinct_where_no_faster_one_may_be_as_accurate(
    empty_run: RunFolder, make_point: Callable[..., Point]
):
    blank = contents.read(empty_run)
    corrects = {"1": 196, "2": 195, "3": 160, "4": 120}
    points = tuple(
        make_point(name, correct=correct, speedup=float(name)) for name, correct in corrects.items()
    )
    found = rows.build(dataclasses.replace(blank, points=points))
    # Of 200 images: 196 and 195 are alike, 195 and 160 are not.
    assert rows.distinct(found.front) == {"2", "3", "4"}
