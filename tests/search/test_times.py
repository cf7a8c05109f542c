"""What a search times itself, and what it is told instead of times."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from tests.search.outcome import study_of
from trp_search.cli import main
from trp_search.errors import InputError
from trp_search.records import Point, Prediction, TrialResult, TrialSpec
from trp_search.search.proposer import Proposer
from trp_search.search.times import after_trials, before_trials
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder, append_record, write_whole

Space = Callable[..., SearchSpace]
TABLE = {
    "target": {"name": "here", "height": 8, "width": 8},
    "milliseconds": 12.0,
    "macs": 100,
    "layers": [],
    "machine": "a processor",
    "versions": {},
}
TARGET = ("seed: 7", "seed: 7\ntarget: {name: here}")


def told(milliseconds: float) -> Prediction:
    return Prediction(target="here", milliseconds=milliseconds, dense_milliseconds=12.0)


@pytest.mark.parametrize("name", ["latency_speedup", "milliseconds"])
@pytest.mark.parametrize("key", ["objectives", "constraints"])
def test_a_time_is_no_objective_and_no_constraint_without_a_target(
    make_space: Space, name: str, key: str
):
    entry = f"{key}: [accuracy, {name}]" if key == "objectives" else f"{key}: {{{name}: 3}}"
    with pytest.raises(InputError, match=rf"{key}: {name} needs `target`"):
        make_space(("seed: 7", f"seed: 7\n{entry}"))
    space = make_space(("seed: 7", f"seed: 7\n{entry}\ntarget: {{name: here}}"))
    assert name in (space.objectives if key == "objectives" else space.constraints)


def test_two_targets_of_one_name_are_refused(make_space: Space):
    with pytest.raises(InputError, match="targets: duplicate name 'here'"):
        make_space(("seed: 7", "seed: 7\ntarget: {name: here}\ntargets: [{name: here}]"))


def test_nothing_is_timed_without_a_target_or_with_a_table_in_the_run(
    make_space: Space, folder: RunFolder
):
    said: list[str] = []
    assert before_trials(make_space(), folder, tell=said.append) == []
    write_whole(folder.times, json.dumps(TABLE))
    assert before_trials(make_space(TARGET), folder, tell=said.append) == []
    assert said == []
    assert not folder.cut_times.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": TABLE["target"] | {"batch": 2}}, "is of another target than"),
        ({"milliseconds": -1}, "is no table of layers' times: milliseconds: -1"),
        ({"layers": [{"layer": "a", "scheme": "channel", "step": 1, "saved": {"0": 1}}]}, "saved"),
    ],
)
def test_a_table_that_cannot_be_this_search_s_is_one_line(
    make_space: Space, folder: RunFolder, change: dict[str, object], said: str
):
    write_whole(folder.times, json.dumps(TABLE | change))
    with pytest.raises(InputError, match=said) as raised:
        before_trials(make_space(TARGET), folder, tell=print)
    assert "\n" not in str(raised.value)
    assert str(folder.times) in str(raised.value)


def test_the_study_is_told_predicted_times(
    make_space: Space, folder: RunFolder, make_point: Callable[..., Point]
):
    times = "objectives: [accuracy, milliseconds]\nconstraints: {latency_speedup: 2}"
    space = make_space(("seed: 7", f"seed: 7\ntarget: {{name: here}}\n{times}"))
    baseline = make_point("baseline", correct=190, speedup=1.0, role="baseline", scheme=None)

    def point(spec: TrialSpec) -> Point:
        made = make_point(spec.name, correct=180, speedup=9.0)
        return dataclasses.replace(made, predicted=told(4.0 + int(spec.name)), cut=spec.cuts[0])

    proposer = Proposer(space, folder, trials=4, ahead=2)
    first = dataclasses.replace(baseline, predicted=told(12.0))
    proposer.next()
    proposer.finish(TrialResult(trial="baseline", points=(first,)))
    for spec in iter(proposer.next, None):
        proposer.finish(TrialResult(trial=spec.name, points=(point(spec),)))
    front = [one.id for one in proposer.front_history.front]
    proposer.close()
    trials = study_of(folder)
    assert [trial.values for trial in trials] == [[0.9, 4.0 + n] for n in range(4)]
    assert [trial.constraints["latency_speedup"] <= 0 for trial in trials] == [True] * 3 + [False]
    assert front == ["0"]


@pytest.mark.parametrize("factor", [0.85, 1.05, 1.2])
def test_a_point_that_was_mispredicted_by_a_tenth_is_said(
    run: RunFolder, factor: float, capsys: pytest.CaptureFixture[str]
):
    with run.search.open("a") as file:
        file.write("target: {name: here, seconds: 0.001}\n")
    space = load_space(run.search)
    said: list[str] = []
    after_trials(space, run, tell=said.append)
    assert not any("mispredicted" in one for one in said)
    measured = run.read_latencies()["here"]
    assert "0" in measured
    points = run.read_points()
    run.points.unlink()
    for point in points:
        found = measured.get(point.id)
        own = told(12.0 / found.speedup / factor) if found else None
        append_record(run.points, dataclasses.replace(point, predicted=own))
    after_trials(space, run, tell=said.append)
    wrong = [one.split()[1].rstrip(":") for one in said if "mispredicted on here" in one]
    expected = [point.id for point in points if point.id in measured]
    assert wrong == ([] if abs(factor - 1) < 0.1 else expected)
    assert ("mispredicted on here" in run.report.read_text()) == bool(wrong)
    assert main(["status", str(run.path)]) == 0
    assert ("mispredicted on here" in capsys.readouterr().out) == bool(wrong)
