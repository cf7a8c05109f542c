"""One search, killed again and again, against the same trainings never interrupted."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest

from trp_search import trial
from trp_search.records import NetworkSpec, Point, TrialResult
from trp_search.search.halving import halving_of
from trp_search.space import load_space
from trp_search.store import RunFolder

DOOMED = Path(__file__).parent / "modules" / "doomed.py"
TEXT = """\
workload:
  network: {{name: "doomed:build", options: {{marks: {marks}}}}}
  data: {{name: digits, subset: 200}}
training: {{epochs: 2, batch_size: 64}}
space:
  start: [baseline, scratch]
  energy: {{low: 0.6, high: 0.99}}
  training: {{epochs: 2}}
trials: 12
curve: {{speedups: [2], energies: []}}
"""
MOMENTS = (
    "in the middle of writing a checkpoint",
    "between asking and drawing",
    "between recording a point and telling Optuna",
    "between a result on disk and its arrival",
    "at some time",
)
TOTAL = 12


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished search that was killed at each moment and by Ctrl-C."""
    place = tmp_path_factory.mktemp("doomed")
    (place / "space.yaml").write_text(TEXT.format(marks=place))
    folder = RunFolder.create(place / "run")
    chance = np.random.default_rng(5)
    for moment in (*MOMENTS, "at Ctrl-C"):
        asked = len(study_of(folder)) if folder.study.exists() else 0
        number = min(asked + int(chance.integers(2)), TOTAL - 1)
        code, errors = start(folder, moment, number=number, seconds=chance.uniform(0, 4))
        if moment == "at Ctrl-C":
            assert code == -signal.SIGINT, errors
            assert "RUNNING" in states(folder), "what Ctrl-C stops can be resumed"
        else:
            assert code == -signal.SIGKILL, errors
    code, errors = start(folder, "between two test scores", number=0, seconds=0.0)
    assert (code, len(folder.read_tests())) == (-signal.SIGKILL, 1), errors
    code, errors = start(folder, "never", number=0, seconds=0.0)
    assert code == 0, errors
    return folder


def start(folder: RunFolder, moment: str, *, number: int, seconds: float) -> tuple[int, str]:
    place = folder.path.parent
    arguments = [folder.path, place / "space.yaml", place, moment, number, seconds]
    done = subprocess.run(
        [sys.executable, str(DOOMED), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(DOOMED.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stderr


def study_of(folder: RunFolder) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder.study}")
    found = optuna.load_study(study_name="trp_search", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    return found


def states(folder: RunFolder) -> list[str]:
    return [optuna_trial.state.name for optuna_trial in study_of(folder)]


@pytest.mark.slow
def test_no_trial_is_lost_repeated_or_left_running(survivor: RunFolder):
    assert states(survivor) == ["COMPLETE"] * TOTAL
    names = [str(number) for number in range(TOTAL)]
    assert survivor.trial_names() == ["baseline", *names]
    written = [line.split('"')[3] for line in survivor.points.read_text().splitlines()]
    assert len(written) == len(set(written))
    assert set(names) <= set(written)


@pytest.mark.slow
def test_every_trial_equals_one_that_was_never_interrupted(survivor: RunFolder, tmp_path: Path):
    here = RunFolder.create(tmp_path / "direct")
    shutil.copytree(survivor.trial("baseline").path, here.trial("baseline").path)
    here.trial("baseline").result.unlink()
    values = {optuna_trial.number: optuna_trial.values for optuna_trial in study_of(survivor)}
    for name in survivor.trial_names():
        spec = survivor.trial(name).read_spec()
        plain = dataclasses.replace(spec.workload, network=NetworkSpec(name="small_resnet"))
        *_, direct = trial.run(dataclasses.replace(spec, workload=plain), here)
        assert untimed(direct) == untimed(survivor.trial(name).read_result())
        if name != "baseline":
            (point,) = (found for found in direct.points if found.role == "trial")
            assert values[int(name)] == [point.accuracy, point.speedup]


def untimed(result: TrialResult) -> list[Point]:
    assert result.points
    return [dataclasses.replace(point, seconds=0.0) for point in result.points]


@pytest.mark.slow
def test_the_front_is_scored_on_test_and_no_point_twice(survivor: RunFolder):
    scored = [json.loads(line)["point"] for line in survivor.tests.read_text().splitlines()]
    rows = survivor.front.read_text().splitlines()[1:]
    assert sorted(scored) == sorted(["baseline", *(row.partition(",")[0] for row in rows)])


@pytest.mark.slow
def test_nothing_half_written_is_left(survivor: RunFolder):
    assert not list(survivor.path.rglob("*.tmp"))
    assert not (survivor.path / ".ray").exists()


@pytest.mark.slow
def test_who_stops_at_a_rung_is_decided_once_whoever_was_killed(tmp_path: Path):
    text = TEXT.format(marks=tmp_path).replace("  training: {epochs: 2}", "  training: {epochs: 3}")
    rungs = "rungs: {first: 1, factor: 2, keep_front: false}\n"
    (tmp_path / "space.yaml").write_text(text.replace("trials: 12", "trials: 8") + rungs)
    folder = RunFolder.create(tmp_path / "run")
    code, errors = start(
        folder, "between recording a point and telling Optuna", number=3, seconds=0.0
    )
    assert code == -signal.SIGKILL, errors
    before = folder.read_judged()
    code, errors = start(folder, "never", number=0, seconds=0.0)
    assert code == 0, errors
    judged = folder.read_judged()
    assert before
    assert judged[: len(before)] == before
    halving = halving_of(load_space(folder.search), folder)
    behind = {report.trial for report in judged if halving.judge(report) is not None}
    assert behind
    pruned = {str(t.number) for t in study_of(folder) if t.state == optuna.trial.TrialState.PRUNED}
    assert pruned == behind
