from __future__ import annotations

import pytest

from trp_search.cli.tables import mark, point_table


def test_every_reason_has_a_mark_of_its_own_and_keeps_it():
    marks: dict[str, str] = {}
    given = [mark(marks, f"rank {number} would not save") for number in range(60)]
    assert given[:2] + given[25:28] == ["(a)", "(b)", "(z)", "(aa)", "(bb)"]
    assert len(set(given)) == 60
    assert mark(marks, "rank 0 would not save") == "(a)"


@pytest.mark.parametrize(
    ("objectives", "sizes"),
    [
        (("accuracy", "speedup"), ["parameters"]),
        (("bytes", "accuracy"), ["bytes"]),
        (("parameters", "speedup", "bytes"), ["parameters", "bytes"]),
    ],
)
def test_points_are_listed_with_the_sizes_that_were_asked_for(objectives, sizes, make_point):
    table = point_table([make_point("1", correct=190, speedup=2.0)], objectives, baseline=None)
    names = [str(column.header) for column in table.columns]
    assert names == ["point", "speedup", "validation", "vs baseline", *sizes, "scheme"]
