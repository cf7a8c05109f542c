"""`trp-search select`."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from trp_search.records import Prediction, TestScore, to_dict, to_json
from trp_search.records.scores import share
from trp_search.store import RunFolder, append_record


def test_the_choice_is_told_with_both_accuracies_named(trp, sample_run):
    ended = trp("select", sample_run.path, "--speedup", "2")
    assert (ended.code, ended.err) == (0, "")
    assert "Best accuracy on validation: point 7, 2.08\N{MULTIPLICATION SIGN}" in ended.out
    assert "validation        96.5 % (200 images; 95 % interval 93.0 to 98.3 %)" in ended.out
    assert "against baseline  \N{MINUS SIGN}0.5 points" in ended.out
    assert "test              95.0 % (200 images; 95 % interval 91.0 to 97.3 %)" in ended.out
    assert "multiply-adds     961,998 of 2,000,000" in ended.out
    assert "nuclear_weight" in ended.out
    assert "--point 7 --out models/sample-run-2.08x" in ended.out


def test_json_has_the_same_for_programs(trp, sample_run):
    ended = trp("select", sample_run.path, "--speedup", "2", "--json")
    assert ended.out.endswith("}\n")
    values = json.loads(ended.out)
    assert ended.code == 0
    assert (values["point"], values["reached"]) == ("7", True)
    assert (values["validation"]["value"], values["validation"]["images"]) == (193 / 200, 200)
    assert (values["test"]["value"], values["test"]["images"]) == (190 / 200, 200)
    assert values["settings"]["scheme"] == "spatial"
    assert values["smaller"]["times"] > values["times"]
    assert values["smaller"]["validation_drop"] > 0
    assert values["test"]["low"] < values["test"]["value"] < values["test"]["high"]


def test_json_tells_what_made_an_int8_network(trp, int8_run):
    point = int8_run.point("0-int8")
    values = json.loads(trp("select", int8_run.path, "--bytes", point.bytes, "--json").out)
    assert (values["point"], values["int8"]) == (point.id, to_dict(point.int8))


def test_json_tells_what_was_predicted(trp, run):
    told = Prediction(target="here", milliseconds=3.0, dense_milliseconds=12.0)
    points = [dataclasses.replace(point, predicted=told) for point in run.read_points()]
    run.points.unlink()
    for point in points:
        append_record(run.points, point)
    values = json.loads(trp("select", run.path, "--speedup", "2", "--json").out)
    assert values["predicted"] == to_dict(told)


def test_a_budget_out_of_reach_shows_the_nearest_and_ends_with_one(trp, sample_run):
    ended = trp("select", sample_run.path, "--speedup", "9")
    assert ended.code == 1
    assert "Nearest: point 8, 3.39\N{MULTIPLICATION SIGN}" in ended.out
    assert ended.err == (
        "trp-search: no point reaches 9x fewer multiply-adds; "
        "the nearest is '8' at 3.39x, 84.0 % on validation\n"
    )


def test_a_budget_out_of_reach_can_be_cut_from_what_is_stored_where_anything_could(trp, run):
    ended = trp("select", run.path, "--speedup", "9")
    assert ended.code == 1
    assert f"cut {run.path} --trial 0 --speedup 9" in ended.out
    assert trp("cut", run.path, "--trial", "0", "--speedup", "9").code == 0
    assert "0-9x" in trp("select", run.path, "--speedup", "9").out
    for beyond in (("--speedup", "900"), ("--speedup", "90", "--by", "parameters")):
        assert "Next" not in trp("select", run.path, *beyond).out


def test_json_of_a_budget_out_of_reach_says_so(trp, sample_run):
    ended = trp("select", sample_run.path, "--speedup", "9", "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["reached"] is False


def test_the_end_of_the_front_is_said(trp, sample_run):
    ended = trp("select", sample_run.path, "--speedup", "3.3")
    assert re.search(r"smaller +none: the front ends here", ended.out)


def test_a_speedup_below_one_is_refused(trp, sample_run):
    ended = trp("select", sample_run.path, "--speedup", "0.5")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "trp-search: --speedup: 0.5 is not at least 1\n"


def test_a_point_that_was_not_scored_on_test_is_told_with_what_does_it(trp, sample_run):
    sample_run.tests.unlink()
    ended = trp("select", sample_run.path, "--speedup", "2")
    assert ended.code == 0
    assert "not scored yet; export scores it" in ended.out
    assert not sample_run.tests.exists()


def test_a_better_cut_of_the_baseline_is_pointed_out(trp, sample_run, make_point):
    control = make_point("plain-channel-0.5", correct=199, speedup=2.5, role="control")
    append_record(sample_run.points, control)
    ended = trp("select", sample_run.path, "--speedup", "2")
    assert "own cut plain-channel-0.5 does better at this budget: 99.5 % at 2.50" in ended.out


def test_a_point_beside_the_chosen_one_that_just_misses_the_budget_is_told_exactly(
    trp, sample_run, make_point
):
    for name, correct, speedup in (("90", 199, 4.6967), ("91", 198, 5.0)):
        append_record(sample_run.points, make_point(name, correct=correct, speedup=speedup))
    ended = trp("select", sample_run.path, "--speedup", "4.7")
    assert "better accuracy   point 90: 4.696" in ended.out
    assert "90: 4.70" not in ended.out


def test_damaged_points_are_told_with_their_file(trp, sample_run):
    sample_run.points.write_text('{"id": 3}\n')
    ended = trp("select", sample_run.path, "--speedup", "2")
    assert (ended.code, ended.out) == (2, "")
    assert f"{sample_run.points}: not a list of Point records" in ended.err


def test_a_test_score_made_earlier_is_used(trp, sample_run):
    score = TestScore(point="17", score=share(185, 200))
    sample_run.tests.write_text(to_json(score) + "\n")
    ended = trp("select", sample_run.path, "--speedup", "2.3")
    assert "test              92.5 % (200 images;" in ended.out


@pytest.fixture
def slower_run(sample_run: RunFolder, make_latency) -> RunFolder:
    """The run with all of its front timed on a laptop: point 7 is slower, the others faster."""
    for point in sample_run.read_points():
        low = 0.7 if point.id == "7" else 1.3
        append_record(sample_run.latencies, make_latency(point.id, target="laptop", low=low))
    return sample_run


def test_a_point_that_is_slower_on_a_target_is_marked_whatever_is_counted(trp, slower_run):
    mark = "slower than the baseline"
    for words in (["--speedup", "2"], ["--max-drop", "0.005", "--target", "laptop"]):
        ended = trp("select", slower_run.path, *words).out
        timed = next(line for line in ended.splitlines() if "time on laptop" in line)
        assert (mark in timed) == ("point 7" in ended.splitlines()[0])
    chosen = json.loads(trp("select", slower_run.path, "--speedup", "2", "--json").out)
    found = slower_run.read_latencies()["laptop"]["7"]
    assert chosen["latencies"]["laptop"] == {
        "milliseconds": 1e3 * found.seconds,
        "speedup": found.speedup,
        "low": found.low,
        "high": found.high,
        "slower": True,
    }
    beside = trp("select", slower_run.path, "--speedup", "2.2").out.splitlines()
    (line,) = [one for one in beside if "better accuracy" in one]
    assert line.endswith(f"{mark} on laptop") == ("point 7:" in line)
    assert "point 7:" in line


def test_a_slower_point_within_a_budget_of_time_is_called_so(trp, sample_run, make_latency):
    append_record(sample_run.latencies, make_latency("7", target="laptop", low=0.7))
    ended = trp("select", sample_run.path, "--milliseconds", "10").out
    assert "point 7, slower than the baseline on laptop" in ended.splitlines()[0]
