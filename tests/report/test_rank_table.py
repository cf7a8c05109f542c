from __future__ import annotations

import dataclasses
from collections.abc import Callable

from trp_search.records import Point
from trp_search.report import contents, ranks, rows
from trp_search.store import RunFolder


def test_a_cell_holds_the_layer_of_its_line_in_the_point_of_its_column(sample_run: RunFolder):
    front = rows.build(contents.read(sample_run)).front
    table = ranks.table(front)
    assert table is not None
    assert table.rows == front
    for column, row in enumerate(front):
        own = {layer.name: layer for layer in row.point.layers}
        for line, name in enumerate(table.layers):
            assert table.cells[line][column] == own[name]


def test_a_layer_that_one_point_does_not_have_is_an_empty_cell(
    empty_run: RunFolder, make_point: Callable[..., Point]
):
    whole = make_point("1", correct=190, speedup=2.0)
    short = dataclasses.replace(make_point("2", correct=180, speedup=3.0), layers=whole.layers[:2])
    read = dataclasses.replace(contents.read(empty_run), points=(whole, short))
    table = ranks.table(rows.build(read).front)
    assert table is not None
    assert table.layers == tuple(layer.name for layer in whole.layers)
    assert [line[1] is None for line in table.cells] == [False, False] + [True] * 6


def test_the_share_kept_is_rank_over_full_rank_and_none_where_a_layer_stayed_dense(
    make_point: Callable[..., Point],
):
    stem, first, *_ = make_point("1", correct=190, speedup=2.0).layers
    assert ranks.kept(dataclasses.replace(first, rank=4, full_rank=16)) == 0.25
    assert ranks.kept(stem) is None
    assert ranks.kept(None) is None


def test_no_front_has_no_table():
    assert ranks.table(()) is None
