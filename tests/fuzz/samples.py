"""A small space, run and bundle that are sound: what the fuzzer spoils copies of."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from unittest import mock

from tests.fuzz.process import spawned
from trp_search.export.write import export_point
from trp_search.records import EpochReport, Repeat, RungScore, TrialResult, to_json
from trp_search.report import write as write_page
from trp_search.runs import clock, trial
from trp_search.runs.networks import score_test
from trp_search.runs.quantize import quantize
from trp_search.search.proposer import Proposer
from trp_search.search.times import before_trials
from trp_search.space import load_space
from trp_search.store import FORMAT, RunFolder, append_record, write_whole

SPACE = """\
workload:
  network: small_resnet
  data: {name: digits, subset: 200, heldout_subset: 100, validation: 0.25}
training: {epochs: 1, batch_size: 50, learning_rate: 0.05}
space:
  start: scratch
  scheme: [channel, spatial]
  energy: {low: 0.6, high: 0.9}
  period: [2, never]
  layers: {include: ["stages.0.*"]}
  training: {learning_rate: {low: 0.01, high: 0.1, log: true}}
constraints: {speedup: 1.0}
sampler: {name: random}
warm_start: [{energy: 0.8, scheme: spatial}]
keep: all
trials: 2
extra_cuts: {speedups: [2], energies: []}
objectives: [accuracy, speedup, latency_speedup]
target: {name: here, seconds: 0.01}
"""
FULL = """\
workload:
  network: {name: small_resnet}
  data: {name: digits, mean: [0.3], std: [0.4], augment: false}
  weights: null
training: {epochs: 2, batch_size: 64, schedule: step, milestones: [0.5], warmup: 0.1}
space:
  method: [trp, plain, decomposable, tucker]
  energy: {by_scheme: {channel: {low: 0.8, high: 0.9, step: 0.01}, spatial: 0.9}}
  scheme: [channel, spatial]
  nuclear_weight: {low: 1.0e-6, high: 1.0e-3, log: true}
  distillation: [0.0, 0.5]
  joint_alpha: 0.5
  layers: all
  training: {epochs: 2, batch_size: [32, 64]}
objectives: [accuracy, speedup, parameters]
constraints: {accuracy: 0.5, parameters: 100000}
sampler: {name: nsga2, population: 4}
trials: 8
rungs: {first: 1, factor: 2}
patience: {trials: 3, gain: 0.001}
resources: {cpus: 1, gpus: 0}
concurrency: 1
seed: 3
"""


def make_space(folder: Path) -> None:
    """Two spaces: a short one, and one with nearly every section."""
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "full.yaml").write_text(FULL)


def make_run(folder: Path) -> None:
    """A search of two trials, made without Ray, with every file that a run may hold."""
    run = RunFolder.create(folder)
    write_whole(run.search, SPACE)
    space = load_space(run.search)
    write_whole(run.search, space.dump())
    (table,) = before_trials(space, run, tell=lambda _: None)
    for made in (table, dataclasses.replace(table, precision="int8")):
        write_whole(run.times_in(made.precision), to_json(made))
    proposer = Proposer(space, run, trials=space.trials, ahead=1)
    while (spec := proposer.next()) is not None:
        *_, result = trial.run(spec, run)
        assert isinstance(result, TrialResult)
        assert result.points, result
        write_whole(run.trial(spec.name).result, to_json(result))
        proposer.finish(result)
    proposer.close()
    for name in ("baseline", "0"):
        score_test(run, run.point(name))
    _quantise_and_time(run)
    point = run.point("0")
    repeat = Repeat(point="0", trial="confirm-0-1", score=point.score, speedup=point.speedup)
    append_record(run.repeats, repeat)
    rung_score = RungScore(metric=0.5, speedup=2.0, parameters=1000, bytes=4000)
    judged = EpochReport(
        trial="0",
        epoch=1,
        epochs=1,
        loss=1.0,
        metric=0.5,
        learning_rate=0.1,
        seconds=1.0,
        rung_score=rung_score,
    )
    append_record(run.judged, judged)
    shares = {"energy": 0.9, "scheme": 0.1}
    found = {"trials": 2, "objectives": {"accuracy": shares, "speedup": shares}}
    write_whole(run.importance, json.dumps(found))
    created = {"created": "2026-03-04T09:30:00+00:00", "versions": {"torch": "2.15.0"}, "seed": 0}
    write_whole(run.environment, json.dumps({"format": FORMAT} | created))
    write_page(run)


def _quantise_and_time(run: RunFolder) -> None:
    for _ in quantize(run, [run.point("baseline"), run.point("0")], "onnxruntime"):
        pass
    (target,) = load_space(run.search).timed_on
    where = clock.target_of(run, target.name, target.model_dump(exclude={"seconds"}))
    for _ in clock.measure(run, where, [run.point("0"), run.point("1")], seconds=0.01):
        pass


def make_bundle(run: Path, point: str, folder: Path) -> None:
    """One point of that run as a bundle, with a network.py that must never run."""
    with mock.patch("subprocess.run", spawned):
        export_point(run, point, folder)
    (folder / "network.py").write_text(
        "import canary_module\n\ndef load():\n    canary_module.boom()\n"
    )


def make_all(place: Path) -> Path:
    """Every sample below `place`: `space`, `run`, `bundle` (cut) and `whole` (a bundle in full)."""
    few = mock.patch("trp_search.space.cuts.CONTROL_ENERGIES", (0.8,))  # a small run
    with warnings.catch_warnings(), few:
        warnings.simplefilter("ignore")
        make_space(place / "space")
        make_run(place / "run")
        make_bundle(place / "run", "0", place / "bundle")
        make_bundle(place / "run", "baseline", place / "whole")
    return place
