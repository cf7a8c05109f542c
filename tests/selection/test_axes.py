"""The ways in which a point is smaller."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trp_search.records import Latency, Point
from trp_search.report import contents, rows
from trp_search.selection.axes import axes, clock, times_of
from trp_search.store import RunFolder, append_record


def test_multiply_adds_and_parameters_are_known_of_every_point(sample_run: RunFolder):
    found = rows.build(contents.read(sample_run))
    macs, parameters, weights = axes({})
    for row in found.comparable():
        point = row.point
        assert macs.times(point) == (point.speedup,) * 3
        times = point.dense_parameters / point.parameters
        assert parameters.times(point) == pytest.approx((times,) * 3)
        assert weights.times(point) == pytest.approx((point.dense_bytes / point.bytes,) * 3)


def test_time_is_known_where_it_was_measured_with_its_lower_end(
    sample_run: RunFolder, make_latency: Callable[..., Latency]
):
    append_record(sample_run.latencies, make_latency("7", target="laptop", low=1.5))
    read = contents.read(sample_run)
    *_, clock = axes(read.latencies)
    assert (clock.key, clock.name) == ("time:laptop", "time on laptop")
    known = {row.point.id: clock.times(row.point) for row in rows.build(read).comparable()}
    assert known.pop("7") == pytest.approx((1.65, 1.5, 1.8))
    assert known.pop("baseline") == (1.0, 1.0, 1.0)
    assert set(known.values()) == {None}


def test_the_leader_along_an_axis_is_the_smallest_for_sure_that_loses_at_most_a_point(
    empty_run: RunFolder, make_point: Callable[..., Point], make_latency: Callable[..., Latency]
):
    plain = make_point("baseline", correct=194, speedup=1.0, role="baseline", scheme=None)
    for point in (
        plain,
        make_point("1", correct=192, speedup=2.0),
        make_point("2", correct=195, speedup=3.0),
        make_point("3", correct=180, speedup=4.0),
        make_point("4", correct=195, speedup=5.0),
    ):
        append_record(empty_run.points, point)
    for name, low in (("1", 1.5), ("2", 1.4), ("3", 2.0)):
        append_record(empty_run.latencies, make_latency(name, target="laptop", low=low))
    read = contents.read(empty_run)
    *_, clock = axes(read.latencies)
    trials = {row.point.id: row for row in rows.build(read).trials}
    best = rows.foremost(trials.values(), clock)
    assert best is trials["1"]
    assert rows.foremost([trials["3"], trials["4"]], clock) is trials["3"]
    assert rows.foremost([trials["4"]], clock) is None


def test_what_is_slower_for_sure_is_on_no_clock_s_front(
    make_point: Callable[..., Point], make_latency: Callable[..., Latency]
):
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = [
            make_point(str(n), correct=int(c), speedup=2.0)
            for n, c in enumerate(rng.integers(100, 200, 8))
        ]
        lows = {point.id: rng.uniform(0.5, 1.5) for point in points}
        known = {name: make_latency(name, target="a", low=low) for name, low in lows.items()}
        fair = [point for point in points if known[point.id].high >= 1]
        axis = clock("a", known)
        assert axis.front(points) == axis.front(fair)
        assert {point.id for point in axis.front(points)} <= {point.id for point in fair}
        times = {point.id: times_of(point, {"a": known}) for point in points}
        assert [p for p in points if not any(time.slower for time in times[p.id])] == fair
