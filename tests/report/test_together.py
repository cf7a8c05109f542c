from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pytest

from trp_search.records import Latency, Point
from trp_search.report import contents, history, rows
from trp_search.report.rows import Rows
from trp_search.report.together import on_targets
from trp_search.store import RunFolder, append_record

X = "\N{MULTIPLICATION SIGN}"


@pytest.fixture
def build(
    empty_run: RunFolder,
    make_point: Callable[..., Point],
    in_int8: Callable[..., Point],
    make_latency: Callable[..., Latency],
) -> Callable[..., Rows]:
    """Rows of a baseline and a cut, both in int8 too, with the lower end of their speedups."""
    plain = make_point("baseline", correct=194, speedup=1.0, role="baseline", scheme=None)
    cut = make_point("1", correct=193, speedup=2.0)
    points = (plain, cut, in_int8(plain), in_int8(cut, lost=1))

    def from_speedups(lows: Mapping[str, float]) -> Rows:
        blank = contents.read(empty_run)
        times = {name: make_latency(name, target="here", low=low) for name, low in lows.items()}
        every = {point.id for point in points}
        held = dataclasses.replace(blank, points=points, latencies={"here": times})
        vars(held)["contenders"] = frozenset(every)
        return rows.build(held)

    return from_speedups


def test_a_sentence_says_what_low_rank_int8_and_both_give(build: Callable[..., Rows]):
    (said,) = on_targets(build({"1": 1.5, "baseline-int8": 2.0, "1-int8": 2.5}))
    assert said == (
        f"On here: low rank 1.65{X} at 96.5 % (point 1), int8 2.20{X} at 97.0 % (baseline, int8), "
        f"both 2.75{X} at 96.0 % (point 1-int8)."
    )


@pytest.mark.parametrize(
    ("lows", "said"),
    [
        (
            {"1": 1.5, "baseline-int8": 0.5, "1-int8": 1.1},
            "Of 2 networks timed there in float32 and in int8, int8 makes 2 slower on this",
        ),
        ({"1": 1.5, "baseline-int8": 1.2, "1-int8": 1.1}, "in int8, int8 makes 1 slower on this"),
        ({"baseline-int8": 0.5}, "On here: int8 is slower than the baseline. Of 1"),
    ],
)
def test_where_int8_is_slower_than_float_it_says_so(
    build: Callable[..., Rows], lows: dict[str, float], said: str
):
    (found,) = on_targets(build(lows))
    assert said in found


def test_without_a_time_in_int8_nothing_is_said(build: Callable[..., Rows]):
    assert on_targets(build({})) == on_targets(build({"1": 1.5})) == []


def test_what_the_search_gained_is_counted_without_int8(
    sample_run: RunFolder, in_int8: Callable[..., Point]
):
    def volumes() -> object:
        found = contents.read(sample_run)
        return history.volumes(rows.build(found), found.objectives, found.results, found.numbers)

    before = volumes()
    assert before
    for point in sample_run.read_points():
        if point.role in ("baseline", "trial"):
            append_record(sample_run.int8, in_int8(point, lost=-1))
    assert len(contents.read(sample_run).points) > len(sample_run.read_points())
    assert volumes() == before
