"""A result that cannot be is refused, and what a search writes is not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trp_search import report
from trp_search.errors import InputError
from trp_search.records import (
    Latency,
    Layer,
    Point,
    Repeat,
    TestScore,
    TrialResult,
    TrialSpec,
    from_json,
    is_name,
    to_json,
)
from trp_search.records.scores import share
from trp_search.store import RunFolder, append_record

RESULTS = Path(__file__).parents[2] / "results"
NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**40


def with_values(text: str, changes: dict[str, Any]) -> str:
    """The record's JSON with other values; `layers.1.rank` is a path."""
    found = json.loads(text)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = found
        for key in parents:
            place = place[int(key) if key.isdigit() else key]
        place[last] = value
    return json.dumps(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"score.value": 7},
        {"score.value": -0.1},
        {"score.value": NAN},
        {"score.value": 0.5},
        {"score.low": 0.96},
        {"score.high": 0.94},
        {"score.high": INFINITY},
        {"score.high": 1e300},
        {"score.images": 0},
        {"score.images": HUGE},
        {"loss": NAN},
        {"loss": INFINITY},
        {"macs": 0},
        {"dense_macs": HUGE},
        {"parameters": 0},
        {"dense_parameters": -5},
        {"seconds": -1},
        {"seconds": INFINITY},
        {"settings": {"energy": NAN}},
        {"settings": {"energy": [1]}},
        {"layers.1.rank": -1},
        {"layers.1.rank": 65},
        {"layers.1.full_rank": 0},
        {"layers.1.dense_macs": 0},
        {"layers.1.dense_parameters": 0},
        {"layers.1.macs": -1},
        {"layers.1.parameters": HUGE},
        {"layers.1.spectrum": [NAN]},
        {"layers.1.spectrum": [2.0]},
        {"layers.1.spectrum": [0.5] * 33},
        {"layers.1.kept": {"channel": INFINITY}},
        {"layers.1.kept": {"spatial": 0.5}},
        {"layers.1.rank_in": -1},
        {"id": "a/b"},
        {"trial": "a/b"},
        {"id": "\x1b[31m"},
    ],
    ids=str,
)
def test_a_point_that_cannot_be_is_named_by_its_line(
    empty_run: RunFolder, make_point: Callable[..., Point], changes: dict[str, Any]
):
    good = to_json(make_point("7", correct=190, speedup=2.0))
    assert from_json(Point, with_values(good, {})) == from_json(Point, good)
    empty_run.points.write_text(f"{good}\n{with_values(good, changes)}\n")
    with pytest.raises(InputError) as caught:
        report.write(empty_run)
    place = f"{empty_run.points}: not a list of Point records: line 2: "
    assert str(caught.value).startswith(place)
    assert "\n" not in str(caught.value)
    assert not empty_run.report.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 0},
        {"epoch": 5},
        {"epochs": HUGE},
        {"loss": NAN},
        {"metric": NAN},
        {"learning_rate": -0.1},
        {"learning_rate": INFINITY},
        {"seconds": -1},
        {"rung_score": {"metric": 1e300, "speedup": 2, "parameters": 9}},
        {"rung_score": {"metric": 1, "speedup": 0, "parameters": 9}},
        {"rung_score": {"metric": 1, "speedup": 2, "parameters": 0}},
        {"trial": "../7"},
    ],
    ids=str,
)
def test_an_epoch_that_cannot_be_is_named_by_its_line(
    sample_run: RunFolder, changes: dict[str, Any]
):
    place = sample_run.trial("7")
    first = place.epochs.read_text().splitlines()[0]
    place.epochs.write_text(f"{first}\n{with_values(first, changes)}\n")
    with pytest.raises(InputError, match=r"epochs\.jsonl: .*: line 2: [^\n]+$"):
        report.write(sample_run)


def test_a_loss_that_was_not_finite_is_none(sample_run: RunFolder):
    epoch = sample_run.trial("7").read_epochs()[0]
    append_record(sample_run.trial("7").epochs, dataclasses.replace(epoch, loss=None))
    assert sample_run.trial("7").read_epochs()[0].loss is None


@pytest.mark.parametrize(
    ("name", "record", "changes"),
    [
        ("tests", TestScore(point="7", score=share(5, 10)), {"score.value": 7}),
        ("tests", TestScore(point="7", score=share(5, 10)), {"point": "a/b"}),
        ("tests", TestScore(point="7", score=share(5, 10)), {"score.images": 0}),
        (
            "repeats",
            Repeat(point="7", trial="c", score=share(5, 10), speedup=2.0),
            {"speedup": NAN},
        ),
        (
            "repeats",
            Repeat(point="7", trial="c", score=share(5, 10), speedup=2.0),
            {"trial": "c/.."},
        ),
    ],
)
def test_a_score_that_cannot_be_is_named_by_its_line(
    sample_run: RunFolder, name: str, record: object, changes: dict[str, Any]
):
    path = getattr(sample_run, name)
    path.write_text(f"{with_values(to_json(record), changes)}\n")
    with pytest.raises(InputError, match=rf"{path.name}: .*: line 1: [^\n]+$"):
        report.write(sample_run)


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": 0},
        {"speedup": NAN},
        {"low": -1},
        {"high": 1e300},
        {"rounds": 0},
        {"target.name": "../a"},
        {"target.batch": 0},
    ],
    ids=str,
)
def test_a_time_that_cannot_be_is_named_by_its_line(
    sample_run: RunFolder, make_latency: Callable[..., Latency], changes: dict[str, Any]
):
    text = to_json(make_latency("7", target="here", low=1.5))
    sample_run.latencies.write_text(f"{with_values(text, changes)}\n")
    with pytest.raises(InputError, match=r"latency\.jsonl: .*: line 1: [^\n]+$"):
        report.write(sample_run)


@pytest.mark.parametrize("name", ["digits", "cifar10_images"])
def test_every_record_that_was_published_is_read(name: str):
    run = RunFolder.open(RESULTS / name)
    assert run.read_points()
    assert run.read_tests()
    assert run.read_split()
    assert run.read_environment()
    for trial in run.trial_names():
        assert isinstance(run.trial(trial).read_spec(), TrialSpec)
        assert isinstance(run.trial(trial).read_result(), TrialResult)
        run.trial(trial).read_epochs()
    run.read_latencies()
    run.read_repeats()
    run.read_importance()


def test_rounding_in_the_last_digits_is_no_fault(make_point: Callable[..., Point]):
    layer = make_point("7", correct=190, speedup=2.0).layers[1]
    rounded = dataclasses.replace(layer, kept={"channel": 1 + 1e-7}, spectrum=(1.0, -1e-9))
    assert from_json(Layer, to_json(rounded)) == rounded


def test_names_that_a_run_gives_are_names():
    given = "baseline 7 7r1 plain-channel-0.9 confirm-7-1 refit-7-3x refit-7-3x-plain 7-untuned"
    further = "7-2.5x-greedy-by-4-weights-only plain-value-1e+06 7-uncut 7-1e-05 test küche"
    assert all(map(is_name, [*given.split(), *further.split()]))


@pytest.mark.parametrize(
    ("name", "fields", "fits"),
    [
        ("baseline", {"kind": "baseline"}, True),
        ("7", {"kind": "baseline"}, False),
        ("7", {"kind": "search", "number": 7}, True),
        ("7r12", {"kind": "search", "number": 7, "repeat": 12}, True),
        ("7r12", {"kind": "search", "number": 7}, False),
        ("8", {"kind": "search", "number": 7}, False),
        ("by hand", {"kind": "search"}, False),
        ("by-hand", {"kind": "search"}, True),
        ("confirm-7-1", {"kind": "confirm", "number": 7}, True),
        ("7", {"kind": "confirm", "number": 7}, False),
        ("refit-7-3x", {"kind": "refit", "number": 7}, True),
        ("7", {"kind": "refit"}, False),
    ],
)
def test_a_trial_is_named_for_its_kind_number_and_repeat(sample_run: RunFolder, name, fields, fits):
    given = json.loads(sample_run.trial("3").spec.read_text()) | {"number": None} | fields
    text = json.dumps(given | {"name": name})
    if fits:
        assert from_json(TrialSpec, text).name == name
    else:
        with pytest.raises(ValueError, match="name"):
            from_json(TrialSpec, text)
