"""A run as it was read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trp_search.errors import InputError
from trp_search.records import Point
from trp_search.selection.snapshot import Snapshot
from trp_search.store import RunFolder, append_record


def test_a_snapshot_stays_as_it_was_read_while_its_run_grows(
    sample_run: RunFolder, make_point: Callable[..., Point]
):
    found = Snapshot.of(sample_run)
    before = found.points
    append_record(sample_run.points, make_point("99", correct=190, speedup=2.0))
    assert found.points is before
    assert Snapshot.of(found) is found
    again = Snapshot.of(sample_run.path)
    assert [point.id for point in again.points] == [*(point.id for point in before), "99"]


def test_its_baseline_and_points_are_the_runs(sample_run: RunFolder):
    found = Snapshot.of(str(sample_run.path))
    assert found.baseline == sample_run.point("baseline") == found.point("baseline")
    assert found.kept == frozenset()
    weights = sample_run.weights(found.point("7"))
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.touch()
    assert Snapshot.of(sample_run).kept == {"7"}


def test_a_point_that_is_not_there_is_named_with_those_that_are(empty_run: RunFolder):
    with pytest.raises(InputError, match="no point '3'; there are none"):
        Snapshot.of(empty_run).point("3")
    assert Snapshot.of(empty_run).baseline is None
