from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from trp_search.records import Point, TrialResult, published
from trp_search.report import contents, details, drawing, figures, history, ranks, rows, settings
from trp_search.report.rows import Rows
from trp_search.store import RunFolder


@pytest.fixture
def found(sample_run: RunFolder) -> Rows:
    return rows.build(contents.read(sample_run))


def _tradeoff(found: Rows) -> dict[str, Any]:
    window = rows.window(found)
    assert window is not None
    return json.loads(figures.tradeoff(found, window))


def _named(figure: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace.get("name") == name]


def test_every_point_is_a_mark_once(found: Rows):
    figure = _tradeoff(found)
    marks = [name for trace in figure["data"] for name in trace.get("customdata", [])]
    assert sorted(marks) == sorted(row.point.id for row in found.comparable())


def test_a_scheme_has_its_own_colour_and_its_own_symbol(found: Rows):
    figure = _tradeoff(found)
    looks = {
        (trace["marker"]["color"], trace["marker"]["symbol"].removesuffix("-open"))
        for name in ("channel", "spatial")
        for trace in _named(figure, name)
    }
    colours, symbols = zip(*looks, strict=True)
    assert len(looks) == len(set(colours)) == len(set(symbols)) == 2


def test_the_front_is_larger_than_the_rest_and_joined_by_falling_steps(found: Rows):
    figure = _tradeoff(found)
    front = {row.point.id for row in found.front}
    for trace in (*_named(figure, "channel"), *_named(figure, "spatial")):
        assert trace["marker"]["size"] == (14 if set(trace["customdata"]) <= front else 7)
    (line,) = _named(figure, "front")
    assert line["line"]["shape"] == "vh"
    assert line["x"] == sorted(line["x"])
    assert line["y"] == sorted(line["y"], reverse=True)


def test_points_that_miss_a_constraint_are_hollow(found: Rows):
    (hollow,) = _named(_tradeoff(found), "misses a constraint (channel)")
    assert hollow["customdata"] == ["4"]
    assert hollow["marker"]["symbol"] == "circle-open"


def test_own_cuts_are_one_dashed_line_per_scheme(found: Rows):
    figure = _tradeoff(found)
    for scheme in ("channel", "spatial"):
        (line,) = _named(figure, f"baseline, cut ({scheme})")
        assert line["line"]["dash"] == "dash"
        assert len(line["x"]) == 7
        assert line["x"] == sorted(line["x"])


def test_the_baseline_is_a_mark_and_a_level_line_in_per_cent(found: Rows):
    figure = _tradeoff(found)
    (mark,) = _named(figure, "baseline")
    assert (mark["x"], mark["y"]) == ([1.0], [97.0])
    assert [(shape["y0"], shape["y1"]) for shape in figure["layout"]["shapes"]] == [(97.0, 97.0)]


def test_what_was_published_waits_until_it_is_asked_for(found: Rows):
    window = rows.window(found)
    assert window is not None
    known = published.rows("resnet20", "cifar10")
    data = json.loads(figures.tradeoff(found, window, known))["data"]
    (trace,) = [trace for trace in data if trace.get("meta") == "published"]
    assert trace["visible"] is False
    assert trace["x"] == [row.speedup for row in known]
    assert trace["customdata"] == [None] * len(known)
    assert all(row.source in text for row, text in zip(known, trace["text"], strict=True))


def test_hover_text_is_escaped(empty_run: RunFolder, make_point: Callable[..., Point]):
    point = make_point("7", correct=190, speedup=2.0, settings={"<b>": "a & b"})
    read = dataclasses.replace(contents.read(empty_run), points=(point,))
    text = drawing.hover(rows.build(read).trials[0], ["<b>"])
    assert text.startswith("<b>Point 7</b><br>")
    assert text.endswith("<br>&lt;b&gt;: a &amp; b")


def test_hypervolume_is_drawn_against_the_number_of_scored_trials(
    sample_run: RunFolder, found: Rows
):
    read = contents.read(sample_run)
    steps = history.volumes(found, read.objectives, read.results, read.numbers)
    (line,) = json.loads(figures.volume(steps))["data"]
    assert line["x"] == list(range(1, 17))
    assert line["y"] == [step.value for step in steps]


def test_training_curves_are_few_traces_with_gaps_between_trials(
    sample_run: RunFolder, found: Rows
):
    read = contents.read(sample_run)
    curves = history.curves(found, read.epochs, read.results, read.numbers)
    traces = json.loads(figures.training(curves, found.metric))["data"]
    assert len(curves) == 19
    assert len(traces) <= 6
    assert sum(trace["y"].count(None) for trace in traces) == len(curves)
    assert sum(len(trace["y"]) for trace in traces) == 12 + 18 * 4 + len(curves)
    assert {trace["mode"] for trace in traces} == {"lines"}


def test_a_training_of_one_epoch_is_a_mark(sample_run: RunFolder, found: Rows):
    read = contents.read(sample_run)
    epochs = {"7": read.epochs["7"][:1]}
    curves = history.curves(found, epochs, read.results, read.numbers)
    (trace,) = json.loads(figures.training(curves, found.metric))["data"]
    assert (trace["mode"], trace["x"]) == ("lines+markers", [1, None])


def test_a_cross_and_its_text_say_where_a_trial_was_stopped(sample_run: RunFolder, found: Rows):
    read = contents.read(sample_run)
    ended = read.results | {"9": TrialResult(trial="9", points=(), stopped="behind at epoch 2")}
    epochs = read.epochs | {"9": read.epochs["9"][:2]}
    traces = json.loads(
        figures.training(history.curves(found, epochs, ended, read.numbers), found.metric)
    )["data"]
    (mark,) = [trace for trace in traces if trace.get("name") == "stopped"]
    assert (mark["mode"], mark["marker"]["symbol"]) == ("markers", "x")
    assert (mark["x"], mark["y"]) == ([2], [100 * epochs["9"][1].metric])
    assert mark["customdata"] == ["9, stopped"]
    lines = [name for trace in traces if trace is not mark for name in trace["customdata"]]
    assert lines.count("9, stopped") == 2
    assert "9" not in lines


def test_ranks_are_shares_and_dense_layers_say_why(found: Rows):
    table = ranks.table(found.front)
    assert table is not None
    shares, dense = json.loads(details.rank_table(table))["data"]
    assert shares["z"][0] == [None] * len(found.front)
    assert dense["z"][0] == [1] * len(found.front)
    assert all(0 < share <= 1 for share in shares["z"][1])
    assert "dense: factoring would not save multiply-adds" in dense["hovertext"][0][0]
    assert "rank 15 of 16" in shares["hovertext"][1][0]


def test_a_setting_is_drawn_against_accuracy_and_speedup_with_no_mark_outside(found: Rows):
    window = rows.window(found)
    assert window is not None
    for panel in settings.panels(found.trials):
        figure = json.loads(details.setting(panel, window, found.metric))
        above = [trace for trace in figure["data"] if "yaxis" not in trace]
        below = [trace for trace in figure["data"] if trace.get("yaxis") == "y2"]
        accuracies = [y for trace in above for y in trace["y"]]
        assert len(accuracies) == len(found.trials) == sum(len(trace["y"]) for trace in below)
        assert min(accuracies) > 100 * window.metric[0]


def test_marks_of_a_category_stay_near_it(found: Rows):
    window = rows.window(found)
    assert window is not None
    (panel,) = (p for p in settings.panels(found.trials) if p.names == ("period",))
    figure = json.loads(details.setting(panel, window, found.metric))
    assert figure["layout"]["xaxis"]["ticktext"] == ["5", "20", "never"]
    drawn = {
        name: x for t in figure["data"] for name, x in zip(t["customdata"], t["x"], strict=True)
    }
    for row, position in zip(panel.rows, panel.positions, strict=True):
        assert abs(drawn[row.point.id] - position) <= 0.25
    assert len(set(drawn.values())) == len(drawn)
