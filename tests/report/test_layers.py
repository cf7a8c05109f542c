"""Layers in few bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from trp_search.records import Point
from trp_search.report import contents, rows
from trp_search.report.layers import encoded
from trp_search.store import RunFolder, append_record


def test_every_layer_of_every_cut_point_can_be_read_back(sample_run: RunFolder):
    built = rows.build(contents.read(sample_run))
    found = encoded(built)
    for row in built.comparable():
        lines = found["points"].get(row.point.id, [])
        assert len(lines) == len(row.point.layers)
        for line, layer in zip(lines, row.point.layers, strict=True):
            assert found["names"][line[0]] == layer.name
            assert found["dense"][line[0]] == layer.dense_macs
            assert line[1] == layer.macs
            if layer.rank is None:
                assert found["reasons"][line[2]] == f"dense: {layer.reason}"
            else:
                assert line[2:] == [layer.scheme, layer.rank, layer.full_rank]


def test_spectra_are_those_of_the_front_and_the_baselines_cuts(
    sample_run: RunFolder, make_point: Callable[..., Point]
):
    screened_out = [
        make_point(name, correct=150, speedup=2.0, role="screened_out") for name in ("b", "t")
    ]
    append_record(sample_run.points, dataclasses.replace(screened_out[0], trial="baseline"))
    append_record(sample_run.points, screened_out[1])
    found = rows.build(contents.read(sample_run))
    spectra = encoded(found)["spectra"]
    assert set(spectra) == {row.point.id for row in (*found.front, *found.controls)}
    assert "b" in spectra
    for row in (*found.front, *found.controls):
        assert spectra[row.point.id] == [list(layer.spectrum) for layer in row.point.layers]


def test_a_run_without_points_has_no_layers(empty_run: RunFolder):
    found = encoded(rows.build(contents.read(empty_run)))
    assert found == {"names": [], "dense": [], "reasons": [], "points": {}, "spectra": {}}
