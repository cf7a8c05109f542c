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


def test_spectra_are_those_of_the_front_and_the_plain_network_s_cuts(sample_run: RunFolder):
    found = rows.build(contents.read(sample_run))
    spectra = encoded(found.comparable())["spectra"]
    assert set(spectra) == {row.point.id for row in (*found.front, *found.controls)}
    for row in found.front:
        assert spectra[row.point.id] == [list(layer.spectrum) for layer in row.point.layers]


def test_a_run_without_points_has_no_layers():
    assert encoded([]) == {"names": [], "dense": [], "reasons": [], "points": {}, "spectra": {}}
