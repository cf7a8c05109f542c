"""Trials as lines over their settings."""

from __future__ import annotations

import json

import pytest

from trp_search.records.objectives import OBJECTIVES
from trp_search.report import contents, details, rows
from trp_search.report.parallel import uprights
from trp_search.store import RunFolder


def test_every_trial_has_a_place_on_every_axis_that_it_has_a_setting_for(sample_run: RunFolder):
    trials = rows.build(contents.read(sample_run)).trials
    found = {line.name: line for line in uprights(trials)}
    assert list(found)[-2:] == ["accuracy", "speedup"]
    for line in found.values():
        assert set(line.places) == set(line.values)
        assert min(line.places.values()) >= 0
        assert max(line.places.values()) <= 1
    slowest = min(trials, key=lambda row: row.point.speedup).point
    assert found["speedup"].places[slowest.id] == 0
    assert found["speedup"].values[slowest.id] == f"{slowest.speedup:.2f}\N{MULTIPLICATION SIGN}"
    energies = {row.point.id: row.point.settings["energy"] for row in trials}
    places = found["energy"].places
    assert sorted(places, key=places.__getitem__) == sorted(energies, key=energies.__getitem__)


def test_a_further_objective_of_the_search_has_an_axis_too(sample_run: RunFolder):
    trials = rows.build(contents.read(sample_run)).trials
    lines = uprights(trials, [OBJECTIVES["parameters"], OBJECTIVES["accuracy"]])
    assert [line.name for line in lines][-3:] == ["accuracy", "speedup", "parameters"]
    assert lines[-1].values["0"] == f"{trials[0].point.parameters:,}"


def test_few_values_are_marked_by_name(sample_run: RunFolder):
    trials = rows.build(contents.read(sample_run)).trials
    scheme = next(line for line in uprights(trials) if line.name == "scheme")
    assert scheme.marks == ((0.0, "channel"), (1.0, "spatial"))


def test_without_a_setting_that_varied_there_are_none(empty_run: RunFolder):
    assert uprights(rows.build(contents.read(empty_run)).trials) == ()


def test_each_trial_is_drawn_once_with_a_gap_after_it(sample_run: RunFolder):
    trials = rows.build(contents.read(sample_run)).trials
    lines = uprights(trials)
    data = json.loads(details.parallel(lines, trials))["data"]
    ids = [name for trace in data for name in trace["customdata"]]
    assert ids.count(None) == len(trials)
    for row in trials:
        assert ids.count(row.point.id) == len(lines)
    strong = {name for trace in data if trace["opacity"] > 0.5 for name in trace["customdata"]}
    assert strong - {None} == {row.point.id for row in trials if row.on_front}
    assert all(len(t["x"]) == len(t["y"]) == len(t["text"]) for t in data)
    assert all(y is None or y == pytest.approx(min(1, max(0, y))) for t in data for y in t["y"])
