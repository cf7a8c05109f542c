"""The ways in which a point is smaller."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trp_search.records import Latency
from trp_search.report import contents, rows
from trp_search.report.axes import axes
from trp_search.store import RunFolder, append_record


def test_multiply_adds_and_parameters_are_known_of_every_point(sample_run: RunFolder):
    found = rows.build(contents.read(sample_run))
    macs, parameters = axes({})
    for row in found.comparable():
        point = row.point
        assert macs.read(row) == (point.speedup, point.speedup)
        times = point.dense_parameters / point.parameters
        assert parameters.read(row) == pytest.approx((times, times))


def test_time_is_known_where_it_was_measured_with_its_lower_end(
    sample_run: RunFolder, make_latency: Callable[..., Latency]
):
    append_record(sample_run.latencies, make_latency("7", target="laptop", low=1.5))
    read = contents.read(sample_run)
    *_, clock = axes(read.latencies)
    assert (clock.key, clock.name) == ("time:laptop", "time on laptop")
    known = {row.point.id: clock.read(row) for row in rows.build(read).comparable()}
    assert known.pop("7") == pytest.approx((1.65, 1.5))
    assert known.pop("baseline") == (1.0, 1.0)
    assert set(known.values()) == {None}
