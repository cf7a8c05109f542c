"""Layers in few bytes."""

from __future__ import annotations

from trp_search.report import contents, rows
from trp_search.report.layers import encoded
from trp_search.store import RunFolder


def test_every_layer_of_every_cut_point_can_be_read_back(sample_run: RunFolder):
    shown = rows.build(contents.read(sample_run)).comparable()
    found = encoded(shown)
    for row in shown:
        lines = found["points"].get(row.point.id, [])
        assert len(lines) == len(row.point.layers)
        for line, layer in zip(lines, row.point.layers, strict=True):
            assert found["names"][line[0]] == layer.name
            assert found["dense"][line[0]] == layer.dense_macs
            assert line[1] == layer.macs
            if layer.rank is None:
                assert found["reasons"][line[2]] == layer.reason
            else:
                assert line[2:] == [layer.scheme, layer.rank, layer.full_rank]


def test_a_run_without_points_has_no_layers():
    assert encoded([]) == {"names": [], "dense": [], "reasons": [], "points": {}}
