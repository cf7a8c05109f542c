from __future__ import annotations

import pytest

from trp_search.cli.console import OUT
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
    names = [" ".join(str(column.header).split()) for column in table.columns]
    assert names == ["point", "speedup", "validation", "vs baseline", *sizes, "scheme"]


@pytest.mark.parametrize("objectives", [("accuracy", "speedup"), ("bytes", "parameters")])
def test_long_ids_leave_every_other_column_whole_in_80_columns(
    objectives, make_point, monkeypatch, capsys
):
    points = [make_point(f"{'long-' * 8}{number}", correct=190, speedup=2.0) for number in "12"]
    with monkeypatch.context() as changed:
        changed.setattr(OUT, "width", 80)
        OUT.print(point_table(points, objectives, baseline=None))
    text = capsys.readouterr().out
    assert "\\" not in text
    for cell in ("validation", "95.0 %", *objectives[1:], "scheme", "channel"):
        assert cell in text, text
    assert "…" not in text
    assert "".join(line.split(" ")[0] for line in text.splitlines()).endswith(points[1].id)
    assert max(map(len, text.splitlines())) <= 80


def test_the_baseline_s_name_is_whole_in_60_columns(make_point, monkeypatch, capsys):
    baseline = make_point("baseline", correct=195, speedup=1.0, role="baseline", scheme=None)
    points = [make_point(str(number), correct=190, speedup=2.0) for number in range(3)]
    with monkeypatch.context() as changed:
        changed.setattr(OUT, "width", 60)
        OUT.print(point_table(points, ("accuracy", "speedup"), baseline=baseline))
    assert " baseline " in capsys.readouterr().out
