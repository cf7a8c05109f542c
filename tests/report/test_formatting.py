from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable

import pytest

from trp_search.records import Point, Repeat, TestScore
from trp_search.records.objectives import OBJECTIVES
from trp_search.records.scores import share
from trp_search.report import contents, formatting, history, rows
from trp_search.report.rows import Rows
from trp_search.report.times import milliseconds, value
from trp_search.store import RunFolder

SIGN = "\N{MULTIPLICATION SIGN}"
NO_TRIALS = history.ends({}, {})


@pytest.fixture
def build(empty_run: RunFolder, make_point: Callable[..., Point]) -> Callable[..., Rows]:
    blank = contents.read(empty_run)
    plain = make_point("baseline", correct=194, speedup=1.0, role="baseline", scheme=None)

    def from_points(*points: Point, **changes: object) -> Rows:
        return rows.build(dataclasses.replace(blank, points=(plain, *points), **changes))

    return from_points


def test_the_headline_says_speedup_validation_and_drop(
    build: Callable[..., Rows], make_point: Callable[..., Point]
):
    found = build(make_point("1", correct=193, speedup=2.0))
    assert formatting.headline(found, NO_TRIALS) == (
        f"At 2.00{SIGN} fewer multiply-adds: 96.5 % on validation, 0.5 points below the baseline."
    )


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        (0.004, "0.4 points below the baseline"),
        (0.01, "1.0 points below the baseline"),
        (-0.02, "2.0 points above the baseline"),
        (0.0001, "level with the baseline"),
    ],
)
def test_a_drop_is_put_in_words(drop: float, said: str):
    assert formatting.distance(drop, OBJECTIVES["accuracy"]) == said


def test_a_run_without_points_says_so(empty_run: RunFolder):
    found = rows.build(contents.read(empty_run))
    assert formatting.headline(found, NO_TRIALS) == "Nothing has been scored yet."
    counts = {"finished": 0, "diverged": 1, "failed": 2, "stopped": 0}
    lost = dataclasses.replace(NO_TRIALS, counts=counts)
    assert formatting.headline(found, lost).endswith("yet: 3 trials ended without a point.")


def test_a_run_with_the_baseline_alone_says_so(build: Callable[..., Rows]):
    assert formatting.headline(build(), NO_TRIALS) == (
        "The baseline reaches 97.0 % on validation; no trial has been scored yet."
    )


def test_a_run_where_every_trial_misses_a_constraint_says_so(
    build: Callable[..., Rows], make_point: Callable[..., Point]
):
    point = make_point("1", correct=193, speedup=2.0)
    found = build(point, violations={"1": {"speedup": 1.0}})
    assert formatting.headline(found, NO_TRIALS).startswith("No trial meets every constraint")


def test_the_rival_is_the_best_own_cut_at_least_as_fast(
    build: Callable[..., Rows], make_point: Callable[..., Point]
):
    cuts = [
        make_point(f"plain-{n}", correct=n, speedup=s, role="control")
        for n, s in ((190, 1.9), (150, 2.1), (120, 2.5))
    ]
    found = build(make_point("1", correct=193, speedup=2.0), *cuts)
    assert "reaches 75.0 % at 2.10" in formatting.against_control(found)
    slow = build(make_point("1", correct=193, speedup=2.0), cuts[0])
    assert "only tried up to 1.90" in formatting.against_control(slow)
    assert formatting.against_control(build(make_point("1", correct=193, speedup=2.0))) == ""


def test_test_accuracy_is_named_as_such_everywhere_it_appears(
    build: Callable[..., Rows], make_point: Callable[..., Point]
):
    score = TestScore(point="1", score=share(190, 200))
    point = make_point("1", correct=193, speedup=2.0)
    found = build(point, tests={"1": score})
    assert formatting.on_test(found) == "On test it reaches 95.0 %."
    facts = dict(formatting.facts(found.front[0]))
    assert facts["test accuracy"] == "95.0 % (200 images)"
    assert facts["95 % interval, test"] == "91.0 to 97.3 %"
    assert facts["validation accuracy"] == "96.5 % (200 images)"
    assert "test accuracy" not in dict(formatting.facts(build(point).front[0]))


def test_a_refit_has_no_validation_accuracy(
    build: Callable[..., Rows], make_point: Callable[..., Point]
):
    (refit,) = build(make_point("refit-1", correct=200, speedup=2.0, role="refit")).refits
    assert not {"validation accuracy", "against baseline"} & dict(formatting.facts(refit)).keys()


def test_missed_constraints_say_by_how_much_each_under_its_name(make_point: Callable[..., Point]):
    missed = {"accuracy": 0.012, "speedup": 0.5, "parameters": 1200.0, "milliseconds": 1e9}
    point = make_point("1", correct=193, speedup=2.0)
    assert [formatting.missed(name, by, point) for name, by in missed.items()] == [
        ("constraint on accuracy", "missed by 1.2 points"),
        ("constraint on speedup", f"missed by 0.50{SIGN}"),
        ("constraint on parameters", "missed by 1,200"),
        ("constraint on predicted milliseconds", "not predicted"),
    ]


@pytest.mark.parametrize("name", ["milliseconds", "latency_speedup"])
def test_a_time_that_was_not_predicted_is_no_number(name: str, make_point: Callable[..., Point]):
    assert value(OBJECTIVES[name], make_point("1", correct=193, speedup=2.0)) == "not predicted"


def test_the_export_command_survives_a_shell(
    build: Callable[..., Rows], make_point: Callable[..., Point]
):
    (row,) = build(make_point("1", correct=193, speedup=2.0)).front
    command = shlex.split(formatting.export(row, "my runs/$(x)"))
    assert command == [
        *["trp-search", "export", "my runs/$(x)", "--point", "1"],
        *["--out", "my runs/$(x)/models/1"],
    ]


@pytest.mark.parametrize(
    ("number", "text"), [(999, "999"), (41_551, "41.6 k"), (2_000_000, "2 M"), (1.81e9, "1.81 G")]
)
def test_sizes_have_three_digits(number: float, text: str):
    assert formatting.size(int(number)) == text


def test_a_long_list_of_names_is_cut_short():
    names = [str(number) for number in range(30)]
    assert formatting.some(names).endswith("22, 23 and 6 more")
    assert formatting.some(names[:24]).endswith("22, 23")


@pytest.mark.parametrize(
    ("number", "said"), [(999_499, "999 k"), (999_500, "1 M"), (1e9 - 1, "1 G"), (999, "999")]
)
def test_a_size_has_a_unit_and_no_exponent(number: float, said: str):
    assert formatting.size(int(number)) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.00061, "0.610 ms"), (0.9994, "999 ms"), (1.1432, "1,143 ms")]
)
def test_a_time_has_no_exponent(seconds: float, said: str):
    assert milliseconds(seconds) == said


@pytest.mark.parametrize(
    ("speedups", "at"),
    [((2.0, 2.0), ""), ((1.9, 1.9), f" at 1.90{SIGN}"), ((1.9, 2.1), f" at 1.90 to 2.10{SIGN}")],
)
def test_other_seeds_are_told_with_their_speedup_where_it_differs(
    make_point: Callable[..., Point], speedups: tuple[float, float], at: str
):
    first, second = speedups
    found = [
        Repeat(point="1", trial="a", score=share(180, 200), speedup=first),
        Repeat(point="1", trial="b", score=share(184, 200), speedup=second),
    ]
    said = formatting.repeated(make_point("1", correct=180, speedup=2.0), found)
    assert said == ("with 2 other seeds", f"91.0 % (90.0 to 92.0 %){at}")
