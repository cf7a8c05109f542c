"""The proposer alone: no Ray, results made up."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from tests.search.outcome import states, study_of
from trp_search.errors import InputError
from trp_search.records import EpochReport, Point, TrialResult, TrialSpec, to_json
from trp_search.scoring.points import settings_of
from trp_search.search.proposer import Proposer
from trp_search.space import SearchSpace, load_space
from trp_search.store import RunFolder, TrialFolder, append_record, write_whole

Space = Callable[..., SearchSpace]
MakePoint = Callable[..., Point]
BOTH_STARTS = ("start: scratch", "start: [baseline, scratch]")
THREE_REPEATS = ("seed: 7", "seed: 7\nrepeats: 3")


@contextmanager
def opened(
    space: SearchSpace, folder: RunFolder, *, trials: int = 4, ahead: int = 2, cores: int = 1
) -> Iterator[Proposer]:
    proposer = Proposer(space, folder, trials=trials, ahead=ahead, cores=cores)
    try:
        yield proposer
    finally:
        proposer.close()


@pytest.fixture
def result(make_point: MakePoint) -> Callable[[TrialSpec], TrialResult]:
    """A made-up end of a training: the less energy kept, the faster and the worse."""

    def make(spec: TrialSpec) -> TrialResult:
        if spec.pruning is None:
            point = make_point(spec.name, correct=180, speedup=1.0, role="baseline", scheme=None)
        else:
            energy = spec.pruning.keep.energy
            made = make_point(spec.name, correct=round(180 * energy), speedup=2.5 - energy)
            point = dataclasses.replace(made, cut=spec.cuts[0])
        return TrialResult(trial=spec.name, points=(point,))

    return make


def failed(spec: TrialSpec, reason: str = "ValueError: no") -> TrialResult:
    return TrialResult(trial=spec.name, points=(), failed=reason)


def diverged(spec: TrialSpec) -> TrialResult:
    return TrialResult(trial=spec.name, points=(), diverged="the loss was not finite in epoch 1")


def test_the_baseline_comes_first_and_is_no_trial(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder) as proposer:
        first = proposer.next()
        assert first == make_space().baseline_spec()
        assert states(folder) == ""
        proposer.finish(result(first))
        assert [point.id for point in folder.read_points()] == ["baseline"]
        assert proposer.done == 0
    with opened(make_space(), folder) as proposer:
        assert proposer.next().name == "0"


def test_of_a_trial_in_int8_the_study_is_told_that_point_and_the_run_has_both(
    make_space: Space, folder: RunFolder, make_point: MakePoint, in_int8: MakePoint
):
    space = make_space(
        ("scheme: channel", "scheme: channel\n  precision: [float32, int8]"),
        ("seed: 7", "seed: 7\nobjectives: [accuracy, bytes]\nkeep: all"),
    )

    def ended(spec: TrialSpec) -> TrialResult:
        point = make_point(spec.name, correct=150 - int(spec.name), speedup=2.0)
        own = settings_of(dataclasses.replace(spec, int8=None), spec.cuts[0], tuned=True)
        point = dataclasses.replace(point, cut=spec.cuts[0], settings=own)
        if spec.int8 is None:
            return TrialResult(trial=spec.name, points=(point,))
        point = dataclasses.replace(point, role="derived")
        settings = settings_of(spec, spec.cuts[0], tuned=True)
        made = dataclasses.replace(in_int8(point, lost=3), role="trial", settings=settings)
        return TrialResult(trial=spec.name, points=(point, made))

    results = {}
    with opened(space, folder, trials=6) as proposer:
        baseline = make_point("baseline", correct=180, speedup=1.0, role="baseline", scheme=None)
        proposer.next()
        proposer.finish(TrialResult(trial="baseline", points=(baseline,)))
        for spec in iter(proposer.next, None):
            results[spec.name] = ended(spec)
            write_whole(folder.trial(spec.name).result, to_json(results[spec.name]))
            proposer.finish(results[spec.name])
        front = proposer.front_history.front
    assert {len(result.points) for result in results.values()} == {1, 2}
    told = {str(trial.number): trial.values for trial in study_of(folder)}
    for name, result in results.items():
        own = result.points[-1]
        assert told[name] == [own.score.value, own.bytes]
    scored = [point for result in results.values() for point in result.points]
    assert folder.read_points() == [baseline, *scored]
    with opened(space, folder, trials=6) as proposer:
        assert proposer.exhausted
        assert proposer.front_history.front == front
    assert {point.int8 is None for point in front} == {True, False}


def test_the_baseline_has_the_cores_of_the_trials_that_wait_for_it(
    make_space: Space, folder: RunFolder, tmp_path: Path
):
    waiting = make_space(("start: scratch", "start: baseline"))
    with opened(waiting, folder, cores=3) as proposer:
        begun = proposer.next()
        assert begun.threads == 3
    write_whole(folder.trial("baseline").spec, to_json(begun))
    with opened(waiting, folder, cores=2) as proposer:
        assert proposer.next() == begun, "a training goes on as it began"
    beside = RunFolder.create(tmp_path / "beside")
    with opened(make_space(BOTH_STARTS), beside, cores=3) as proposer:
        assert proposer.next().threads == 1, "others run beside it"


def test_only_trials_that_start_from_the_baseline_wait_for_it(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    space = make_space(BOTH_STARTS)
    with opened(space, folder, trials=12, ahead=3) as proposer:
        baseline = proposer.next()
        beside = list(iter(proposer.next, None))
        assert beside
        assert all(spec.start == "scratch" for spec in beside)
        assert not proposer.exhausted
        held = len(study_of(folder)) - len(beside)
        assert held == 3, "as many are asked for ahead as may wait"
        proposer.finish(result(baseline))
        after = list(iter(proposer.next, None))
        assert [spec.start for spec in after[:3]] == ["baseline"] * 3
        names = {spec.name for spec in beside + after}
        assert names == {str(number) for number in range(12)}
        assert proposer.exhausted


def test_trials_that_learn_from_the_baseline_wait_for_it_wherever_they_start(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(("distillation: 0", "distillation: 0.5")), folder, cores=3) as proposer:
        baseline = proposer.next()
        assert baseline.threads == 3
        assert proposer.next() is None
        proposer.finish(result(baseline))
        assert proposer.next().start == "scratch"


def test_a_finished_trial_is_complete_with_all_its_values(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    space = make_space(("trials: 4", "objectives: [accuracy, speedup, parameters]\ntrials: 4"))
    with opened(space, folder, trials=1) as proposer:
        for spec in iter(proposer.next, None):
            proposer.finish(result(spec))
        assert proposer.exhausted
    (trial,) = study_of(folder)
    point = folder.point("0")
    assert trial.state == TrialState.COMPLETE
    assert trial.values == pytest.approx([point.score.value, point.speedup, point.parameters])
    assert trial.params == {"energy": point.cut.keep.energy} | trial.params
    assert folder.trial("0").read_result() == result(space.trial_spec(trial.params, number=0))


def test_repeats_are_told_once_with_their_mean(
    make_space: Space, folder: RunFolder, make_point: MakePoint, result: Callable[..., TrialResult]
):
    with opened(make_space(THREE_REPEATS), folder, trials=1) as proposer:
        baseline, *repeats = iter(proposer.next, None)
        proposer.finish(result(baseline))
        assert [spec.name for spec in repeats] == ["0", "0r1", "0r2"]
        assert len({spec.seed for spec in repeats}) == 3
        for spec, correct, speedup in zip(repeats, (100, 120, 170), (1.0, 2.0, 3.0), strict=True):
            assert states(folder) == "RUNNING"
            point = make_point(spec.name, correct=correct, speedup=speedup)
            proposer.finish(TrialResult(trial=spec.name, points=(point,)))
    (trial,) = study_of(folder)
    assert trial.values == pytest.approx([0.65, 2.0], rel=1e-4)
    assert [point.id for point in folder.read_points()] == ["baseline", "0", "0r1", "0r2"]


def test_one_failed_repeat_fails_the_trial(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(THREE_REPEATS), folder, trials=1) as proposer:
        baseline, first, second, third = iter(proposer.next, None)
        for item in (result(baseline), result(first), failed(second), result(third)):
            proposer.finish(item)
    assert states(folder) == "FAIL"


def test_a_crash_is_told_with_its_text_and_kept_on_disk(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder, trials=1) as proposer:
        proposer.finish(result(proposer.next()))
        spec = proposer.next()
        proposer.finish(failed(spec, "the worker was killed 3 times"))
    (trial,) = study_of(folder)
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["failure"] == "the worker was killed 3 times"
    assert folder.trial("0").read_result().failed == "the worker was killed 3 times"


def test_a_diverged_trial_gets_the_worst_values_and_breaks_a_constraint(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    space = make_space(("trials: 4", "constraints: {speedup: 1.7}\ntrials: 4"))
    with opened(space, folder, trials=2) as proposer:
        baseline, first, second = iter(proposer.next, None)
        for item in (result(baseline), diverged(first), result(second)):
            proposer.finish(item)
    bad, good = study_of(folder)
    assert bad.state == TrialState.COMPLETE
    assert bad.values == [0.0, 0.0]
    missing = (1.7 - folder.point("1").speedup) / 1.7
    assert good.constraints == pytest.approx({"diverged": 0.0, "speedup": missing})


@pytest.mark.parametrize("bound", ["speedup: 1.0e+3", "parameters: 1", "accuracy: 0.99"])
def test_no_scored_trial_misses_its_constraints_by_as_much_as_a_diverged_one(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult], bound: str
):
    space = make_space(("trials: 4", f"constraints: {{{bound}}}\ntrials: 4"))
    with opened(space, folder, trials=2) as proposer:
        baseline, first, second = iter(proposer.next, None)
        for item in (result(baseline), diverged(first), result(second)):
            proposer.finish(item)
    bad, good = study_of(folder)
    assert 0 < sum(good.constraints.values()) < sum(bad.constraints.values())


def test_budgets_out_of_reach_are_told_as_such_and_do_not_end_the_search(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    reason = "speedup: 9x cannot be reached; the best is 4.87x"
    with opened(make_space(), folder, trials=6) as proposer:
        proposer.finish(result(proposer.next()))
        for _ in range(5):
            spec = proposer.next()
            proposer.finish(dataclasses.replace(failed(spec, reason), out_of_reach=True))
        assert proposer.stop_reason is None
        proposer.finish(result(proposer.next()))
    *beyond, last = study_of(folder)
    assert {trial.state for trial in (*beyond, last)} == {TrialState.COMPLETE}
    assert last.constraints["diverged"] == 0
    assert {trial.user_attrs["unusable"] for trial in beyond} == {reason}
    assert {trial.constraints["diverged"] > 0 for trial in beyond} == {True}


TWO = ("{low: 0.6, high: 0.99}", "[0.7, 0.8]")


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_settings_that_were_tried_are_not_trained_again(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult], sampler: str
):
    space = make_space(TWO, ("trials: 4", f"sampler: {sampler}\ntrials: 4"))
    for begun in range(2):  # the second time it is resumed
        with opened(space, folder, trials=4, ahead=1) as proposer:
            for spec in iter(proposer.next, None):
                proposer.finish(result(spec))
            assert proposer.done == 2
            assert proposer.exhausted
            assert proposer.nothing_new
            assert len(study_of(folder)) >= 20 * (begun + 1)
    energies = {place: place.read_spec().pruning.keep.energy for place in trials_of(folder)}
    assert sorted(energies.values()) == [0.7, 0.8]
    told = {trial.params["energy"]: set() for trial in study_of(folder)}
    for trial in study_of(folder):
        told[trial.params["energy"]].add((*trial.values, *trial.constraints.items()))
    assert {len(ends) for ends in told.values()} == {1}


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("kills", [False, True])
def test_settings_that_are_being_tried_are_not_trained_beside(
    make_space: Space,
    folder: RunFolder,
    result: Callable[..., TrialResult],
    sampler: str,
    kills: bool,
):
    many = ("{low: 0.6, high: 0.99}", f"[{', '.join(f'0.{n}' for n in range(60, 72))}]")
    space = make_space(many, ("trials: 4", f"sampler: {sampler}\ntrials: 18"), BOTH_STARTS)
    running: list[TrialSpec] = []
    with ExitStack() as stack:
        proposer = stack.enter_context(opened(space, folder, trials=18, ahead=4))
        while True:
            while len(running) < 4 and (spec := proposer.next()) is not None:
                running.append(spec)
            if not running:
                break
            done = running.pop(0)
            write_whole(folder.trial(done.name).result, to_json(result(done)))
            proposer.finish(result(done))
            if kills and done.name in ("3", "7"):
                stack.close()
                running.clear()
                proposer = stack.enter_context(opened(space, folder, trials=18, ahead=4))
        assert proposer.exhausted
    specs = [place.read_spec() for place in trials_of(folder)]
    settings = {(spec.pruning.keep.energy, spec.start) for spec in specs}
    assert len(specs) == len(settings)
    assert len(specs) > 12, "what is proposed while others run does not end the search"
    assert set(states(folder).split()) == {"COMPLETE"}


def test_settings_whose_trial_failed_are_tried_again(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(TWO), folder) as proposer:
        for spec in iter(proposer.next, None):
            first = spec.name == "0"
            proposer.finish(failed(spec, "out of memory") if first else result(spec))
    energies = [place.read_spec().pruning.keep.energy for place in trials_of(folder)]
    assert sorted(energies) in ([0.7, 0.7, 0.8], [0.7, 0.8, 0.8])
    assert energies.count(energies[0]) == 2


def test_settings_that_were_stopped_are_stopped_again(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(TWO), folder) as proposer:
        for spec in iter(proposer.next, None):
            proposer.finish(result(spec) if spec.name == "baseline" else stopped(spec))
    assert len(trials_of(folder)) == 2
    assert set(states(folder).split()) == {"PRUNED"}


def test_a_search_in_which_no_budget_is_within_reach_stops(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder, trials=40) as proposer:
        proposer.finish(result(proposer.next()))
        proposer.finish(diverged(proposer.next()))
    with opened(make_space(), folder, trials=40) as proposer:
        for number in range(10):
            assert proposer.stop_reason is None
            where = "TrainedRankPruning: " if number % 2 else ""
            reason = f"{where}speedup: {50 + number}x cannot be reached; the best is 4.87x"
            proposer.finish(dataclasses.replace(failed(proposer.next(), reason), out_of_reach=True))
        assert proposer.stop_reason == f"the last 10 trials failed alike: {reason}"


def test_a_setting_that_always_fails_is_tried_twice_and_ends_no_search(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    six = ("{low: 0.6, high: 0.99}", "[0.6, 0.65, 0.7, 0.75, 0.8, 0.9]")
    with opened(make_space(six), folder, trials=16, ahead=1) as proposer:
        for spec in iter(proposer.next, None):
            bad = spec.pruning is not None and spec.pruning.keep.energy == 0.9
            proposer.finish(failed(spec, "out of memory") if bad else result(spec))
        assert proposer.stop_reason is None
        assert proposer.exhausted
    energies = [place.read_spec().pruning.keep.energy for place in trials_of(folder)]
    assert sorted(energies) == [0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 0.9]


def trials_of(folder: RunFolder) -> list[TrialFolder]:
    return [folder.trial(name) for name in folder.trial_names() if name != "baseline"]


def test_given_settings_are_parents_of_nsga2(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    given = "warm_start: [{energy: 0.7}, {energy: 0.8}]\nsampler: {name: nsga2, population: 2}"
    with opened(make_space(("trials: 4", f"trials: 4\n{given}")), folder) as proposer:
        for spec in iter(proposer.next, None):
            proposer.finish(result(spec))
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in study_of(folder)]
    assert generations[:4] == [0, 0, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["diverged", "too slow"])
def test_the_sampler_stays_away_from_what_diverges_or_breaks_a_constraint(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult], end: str
):
    changes = [("trials: 4", "constraints: {speedup: 1.8}\ntrials: 4")] if end == "too slow" else []
    with opened(make_space(*changes), folder, trials=30) as proposer:
        for spec in iter(proposer.next, None):
            bad = spec.pruning is not None and spec.pruning.keep.energy > 0.7
            proposer.finish(diverged(spec) if bad and end == "diverged" else result(spec))
    late = [trial.params["energy"] for trial in study_of(folder)[15:]]
    # Uniform draws would be there 11 times of 15; with FAIL in place of the constraint, 14 times.
    assert sum(energy > 0.7 for energy in late) <= 8


def test_a_killed_search_hands_out_its_running_trials_again(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    space = make_space(BOTH_STARTS)
    with opened(space, folder) as proposer:
        before = [spec for spec in iter(proposer.next, None) if spec.name != "baseline"]
        asked = study_of(folder)
    with opened(space, folder) as proposer:
        baseline = proposer.next()
        assert baseline.name == "baseline"
        proposer.finish(result(baseline))
        again = {spec.name: spec for spec in iter(proposer.next, None)}
        assert proposer.exhausted
    assert {spec.name: spec for spec in before}.items() <= again.items()
    for trial in asked:
        assert again[str(trial.number)] == space.trial_spec(trial.params, number=trial.number)
    assert set(again) == {"0", "1", "2", "3"}


def test_a_search_killed_between_asking_and_drawing_keeps_the_number(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder) as proposer:
        proposer.finish(result(proposer.next()))
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder.study}")
    optuna.load_study(study_name="trp_search", storage=storage).ask()
    storage.engine.dispose()
    with opened(make_space(), folder, trials=1) as proposer:
        spec = proposer.next()
        assert spec.name == "0"
        proposer.finish(result(spec))
        assert proposer.exhausted
    assert states(folder) == "COMPLETE"


def test_what_had_finished_on_disk_is_told_and_not_trained_again(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder, trials=3) as proposer:
        baseline, first, second, third = iter(proposer.next, None)
        proposer.finish(result(baseline))
    for spec, item in ((first, result(first)), (second, failed(second))):
        write_whole(folder.trial(spec.name).result, to_json(item))
    append_record(folder.points, result(first).points[0])
    with opened(make_space(), folder, trials=3) as proposer:
        assert proposer.done == 2
        assert [spec.name for spec in iter(proposer.next, None)] == [third.name]
    assert states(folder) == "COMPLETE FAIL RUNNING"
    written = folder.points.read_text().splitlines()
    assert [line.split(",")[0] for line in written] == ['{"id":"baseline"', '{"id":"0"']


def test_a_finished_search_can_be_given_more_trials(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    space = make_space(("trials: 4", "sampler: random\ntrials: 4"))
    for total in (3, 3, 6, 2):
        with opened(space, folder, trials=total) as proposer:
            for spec in iter(proposer.next, None):
                proposer.finish(result(spec))
            assert proposer.exhausted
    drawn = [trial.params["energy"] for trial in study_of(folder)]
    assert len(set(drawn)) == len(drawn) == 6, "a resumed sampler does not repeat itself"


def test_equal_seeds_draw_equal_trials(make_space: Space, tmp_path: Path):
    drawn = []
    for name in ("one", "other"):
        run = RunFolder.create(tmp_path / name)
        with opened(make_space(), run) as proposer:
            drawn.append([spec.pruning for spec in iter(proposer.next, None)])
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_every_sampler_draws_what_depends_on_the_scheme(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult], sampler: str
):
    space = make_space(
        ("scheme: channel", "scheme: [channel, spatial]"),
        (
            "{low: 0.6, high: 0.99}",
            "{by_scheme: {channel: {low: 0.9, high: 0.99}, spatial: {low: 0.6, high: 0.8}}}",
        ),
        ("epochs: 1", "epochs: {low: 1, high: 5}, learning_rate: {low: 0.01, high: 1, log: true}"),
        ("trials: 4", f"sampler: {{name: {sampler}, startup: 3, population: 3}}\ntrials: 8"),
    )
    with opened(space, folder, trials=8) as proposer:
        for spec in iter(proposer.next, None):
            proposer.finish(result(spec))
            if spec.pruning is not None:
                assert (spec.pruning.keep.energy >= 0.9) == (spec.pruning.scheme == "channel")
                assert 1 <= spec.training.epochs <= 5
    assert states(folder).split() == ["COMPLETE"] * 8


def test_the_first_three_failing_alike_stop_the_search(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder, trials=9) as proposer:
        proposer.finish(result(proposer.next()))
        for number in range(3):
            assert proposer.stop_reason is None
            proposer.finish(failed(proposer.next(), f"OSError: disk full at byte {number}"))
        assert "disk full" in proposer.stop_reason
        open_trial = proposer.next()
        proposer.give_up(proposer.stop_reason)
    assert states(folder) == "FAIL FAIL FAIL FAIL"
    assert "disk full" in folder.trial(open_trial.name).read_result().failed
    with opened(make_space(), folder, trials=9) as proposer:
        assert proposer.done == 0, "neither those nor one that was given up count"
        assert proposer.stop_reason is None


def test_a_success_or_another_reason_keeps_the_search_going(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder, trials=9) as proposer:
        proposer.finish(result(proposer.next()))
        proposer.finish(failed(proposer.next(), "ValueError: one"))
        proposer.finish(failed(proposer.next(), "ValueError: another"))
        proposer.finish(failed(proposer.next(), "ValueError: one"))
        proposer.finish(result(proposer.next()))
        for _ in range(2):
            proposer.finish(failed(proposer.next()))
        assert proposer.stop_reason is None


def test_the_last_three_failing_alike_stop_the_search_and_are_tried_again_later(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder, trials=9) as proposer:
        for _ in range(2):
            proposer.finish(result(proposer.next()))
        proposer.finish(failed(proposer.next(), "ValueError: another"))
        for number in range(3):
            assert proposer.stop_reason is None
            proposer.finish(failed(proposer.next(), f"OSError: disk full at byte {number}"))
        assert proposer.stop_reason.startswith("the last 3 trials failed alike: OSError: disk")
    with opened(make_space(), folder, trials=9) as proposer:
        assert proposer.done == 2
        left = [spec.name for spec in iter(proposer.next, None)]
    assert left == [str(number) for number in range(5, 12)]


@pytest.mark.parametrize(
    ("before", "after"),
    [("[0.7, 0.9]", "[0.7, 0.8]"), ("[0.7, 0.9]", "{low: 0.6, high: 0.99}")],
)
def test_a_parameter_that_changed_since_the_study_began_is_named(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult], before, after
):
    old = "{low: 0.6, high: 0.99}"
    with opened(make_space((old, before)), folder) as proposer:
        for _ in range(2):
            proposer.finish(result(proposer.next()))
    with (
        opened(make_space((old, after)), folder) as proposer,
        pytest.raises(InputError, match=r"search\.yaml: space\.energy: .* changed since"),
    ):
        proposer.next()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_study_that_was_cut_short_is_named(make_space: Space, folder: RunFolder, share: float):
    with opened(make_space(), folder):
        pass
    whole = folder.study.read_bytes()
    folder.study.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"study\.db: cannot be read, or is damaged: [^\n]+$"):
        Proposer(make_space(), folder, trials=4, ahead=2)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trial_values SET value_type = 'x'",
        "UPDATE trial_params SET distribution_json = '{}'",
        "UPDATE study_user_attributes SET value_json = '[1, null]'",
    ],
)
def test_a_study_of_rows_that_optuna_does_not_write_is_named(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult], statement: str
):
    with opened(make_space(), folder) as proposer:
        for _ in range(2):
            proposer.finish(result(proposer.next()))
    with closing(sqlite3.connect(folder.study)) as study:
        study.execute(statement)
        study.commit()
    with pytest.raises(InputError, match=r"study\.db: cannot be read, or is damaged: [^\n]+$"):
        Proposer(make_space(), folder, trials=4, ahead=2)


@pytest.mark.parametrize("end", [failed, diverged])
def test_without_the_baseline_there_is_no_search_until_it_is_tried_again(
    make_space: Space, folder: RunFolder, end: Callable[[TrialSpec], TrialResult]
):
    with opened(make_space(), folder) as proposer:
        proposer.finish(end(proposer.next()))
        assert "the baseline" in proposer.stop_reason
    with opened(make_space(), folder) as proposer:
        assert proposer.stop_reason is None
        assert proposer.next().name == "baseline"


def test_a_study_of_other_objectives_is_refused(make_space: Space, folder: RunFolder):
    with opened(make_space(), folder):
        pass
    other = make_space(("trials: 4", "objectives: [accuracy, parameters]\ntrials: 4"))
    with pytest.raises(InputError, match=r"study\.db: holds a study of other objectives"):
        Proposer(other, folder, trials=4, ahead=2)


def test_a_file_that_is_no_study_is_refused(make_space: Space, folder: RunFolder):
    folder.study.write_text("this is not a database")
    with pytest.raises(InputError, match=r"study\.db: not an SQLite database"):
        Proposer(make_space(), folder, trials=4, ahead=2)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_killed_when_every_trial_ends_once(
    tmp_path: Path, result: Callable[..., TrialResult], seed: int
):
    chance = np.random.default_rng(seed)
    (tmp_path / "space.yaml").write_text(
        "workload: {network: small_resnet, data: digits}\n"
        "training: {epochs: 2}\n"
        "space: {start: [baseline, scratch], energy: {low: 0.6, high: 0.99}}\n"
        "repeats: 2\ntrials: 4\n"
    )
    space, folder = load_space(tmp_path / "space.yaml"), RunFolder.create(tmp_path / "run")
    handed_out: dict[str, TrialSpec] = {}
    for _ in range(60):
        with opened(space, folder) as proposer:
            working: list[TrialSpec] = []
            while not (proposer.exhausted and not working) and chance.random() > 0.1:
                spec = proposer.next() if len(working) < 2 else None
                if spec is not None:
                    working.append(spec)
                    assert handed_out.setdefault(spec.name, spec) == spec
                elif working:
                    ended = working.pop(int(chance.integers(len(working))))
                    write_whole(folder.trial(ended.name).result, to_json(result(ended)))
                    if chance.random() < 0.2:
                        break  # killed after the worker wrote its result
                    proposer.finish(result(ended))
            if proposer.exhausted and not proposer.running:
                break
    assert states(folder) == "COMPLETE COMPLETE COMPLETE COMPLETE"
    written = [line.split('"')[3] for line in folder.points.read_text().splitlines()]
    assert sorted(written) == sorted(handed_out)
    assert len(handed_out) == 9


def stopped(spec: TrialSpec) -> TrialResult:
    return TrialResult(trial=spec.name, points=(), stopped="behind after epoch 1 of 3")


def test_a_stopped_trial_is_pruned_without_values_and_counts(
    make_space: Space,
    folder: RunFolder,
    result: Callable[..., TrialResult],
    make_report: Callable[..., EpochReport],
):
    with opened(make_space(), folder) as proposer:
        for spec in iter(proposer.next, None):
            place = folder.trial(spec.name)
            write_whole(place.checkpoint, b"half-trained")
            append_record(place.epochs, make_report(spec.name, seconds=2.5))
            proposer.finish(stopped(spec) if spec.name in "12" else result(spec))
        assert proposer.done == 4
    assert states(folder) == "COMPLETE PRUNED PRUNED COMPLETE"
    for number in (1, 2):
        trial = study_of(folder)[number]
        assert trial.values is None
        assert trial.user_attrs["stopped"] == "behind after epoch 1 of 3"
        kept = folder.trial(str(number))
        assert kept.read_result() == TrialResult(
            trial=str(number), points=(), stopped="behind after epoch 1 of 3", seconds=2.5
        )
        assert not kept.checkpoint.exists()
    with opened(make_space(), folder, trials=5) as proposer:
        assert proposer.done == 4
        assert [spec.name for spec in iter(proposer.next, None)] == ["4"]


def test_a_trial_whose_stop_was_not_told_is_pruned_by_the_next_process(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(), folder, trials=1) as proposer:
        baseline, trial = proposer.next(), proposer.next()
        proposer.finish(result(baseline))
        write_whole(folder.trial(trial.name).result, to_json(stopped(trial)))
    assert states(folder) == "RUNNING"
    with opened(make_space(), folder, trials=1) as proposer:
        assert proposer.exhausted
        assert proposer.done == 1
    assert states(folder) == "PRUNED"


def test_stopped_trials_do_not_hide_that_others_fail_alike(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    with opened(make_space(("trials: 4", "trials: 20")), folder, trials=20) as proposer:
        proposer.finish(result(proposer.next()))
        for ends in (stopped, failed, failed, stopped, failed, failed):
            proposer.finish(ends(proposer.next()))
            assert proposer.stop_reason is None
        proposer.finish(failed(proposer.next()))
        assert "failed alike" in proposer.stop_reason


FIRST = ("trials: 4", "trials: 4\nwarm_start: [{energy: 0.7}, {energy: 0.8}]")


def test_given_settings_come_first_and_once_whatever_is_killed(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    space = make_space(FIRST)
    with opened(space, folder):
        pass
    with opened(space, folder) as proposer:
        baseline, one = proposer.next(), proposer.next()
        proposer.finish(result(baseline))
    with opened(space, folder) as proposer:
        specs = list(iter(proposer.next, None))
        assert one == specs[0]
        assert [spec.pruning.keep.energy for spec in specs[:2]] == [0.7, 0.8]
        assert [spec.name for spec in specs] == ["0", "1", "2", "3"]
        for spec in specs:
            proposer.finish(result(spec))
    assert states(folder) == "COMPLETE COMPLETE COMPLETE COMPLETE"


def test_given_settings_whose_trial_does_not_count_are_tried_again(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    space = make_space(FIRST, BOTH_STARTS)
    with opened(space, folder) as proposer:
        baseline = proposer.next()
        proposer.next()
        proposer.finish(failed(baseline, "no space left on device"))
        proposer.give_up(f"the search stopped: {proposer.stop_reason}")
    with opened(space, folder) as proposer:
        proposer.finish(result(proposer.next()))
        for number in range(3):
            proposer.finish(failed(proposer.next(), f"no file {number}"))
        assert "failed alike" in proposer.stop_reason
        proposer.give_up(f"the search stopped: {proposer.stop_reason}")
    with opened(space, folder) as proposer:
        specs = list(iter(proposer.next, None))
        assert {spec.pruning.keep.energy for spec in specs} > {0.7, 0.8}
        assert len(specs) == 4


PATIENT = ("trials: 4", "trials: 30\npatience: {trials: 3, gain: 0.01}")


def test_a_search_whose_front_stands_still_asks_for_no_more(
    make_space: Space, folder: RunFolder, make_point: MakePoint, result: Callable[..., TrialResult]
):
    def scored(spec: TrialSpec, speedup: float) -> TrialResult:
        made = make_point(spec.name, correct=180, speedup=speedup)
        point = dataclasses.replace(made, cut=spec.cuts[0])
        return TrialResult(trial=spec.name, points=(point,))

    space = make_space(PATIENT)
    with opened(space, folder, trials=30) as proposer:
        proposer.finish(result(proposer.next()))
        for number, speedup in enumerate([1.5, 2.0, 3.0, 4.0, 4.0, 4.01]):
            assert not proposer.front_history.settled
            assert not proposer.exhausted, number
            proposer.finish(scored(proposer.next(), speedup))
        # From 3x to 4.01x in the last three: a third of what is covered.
        assert not proposer.front_history.settled
        running = proposer.next()
        proposer.finish(stopped(proposer.next()))
        assert proposer.front_history.settled
        assert proposer.exhausted
        assert proposer.next() is None
        assert proposer.running == 1
        before = proposer.done
    with opened(space, folder, trials=30) as proposer:
        assert proposer.done == before
        assert proposer.front_history.settled
        assert proposer.next() == running, "what was under way is still brought to its end"
        proposer.finish(scored(running, 6.0))
        assert not proposer.front_history.settled
        assert proposer.next().name == "8"


def test_points_of_a_trial_that_has_not_ended_are_on_the_front_too(
    make_space: Space, folder: RunFolder, result: Callable[..., TrialResult]
):
    space = make_space(THREE_REPEATS)
    with opened(space, folder) as proposer:
        proposer.finish(result(proposer.next()))
        proposer.finish(result(proposer.next()))
        front = proposer.front_history.front
        assert [point.trial for point in front] == ["0"]
    with opened(space, folder) as proposer:
        assert proposer.front_history.front == front
        assert proposer.front_history.hypervolume is not None


def test_the_database_is_let_go(make_space: Space, folder: RunFolder):
    with opened(make_space(), folder) as proposer:
        proposer.next()
        proposer.next()
    connection = sqlite3.connect(folder.study, timeout=0)
    connection.execute("BEGIN EXCLUSIVE")
    connection.close()


def test_objectives_in_another_order_are_refused(make_space: Space, folder: RunFolder):
    with opened(make_space(), folder):
        pass
    turned = make_space(("trials: 4", "objectives: [speedup, accuracy]\ntrials: 4"))
    with (
        pytest.raises(InputError, match="holds a study of accuracy, speedup, in this order"),
        opened(turned, folder),
    ):
        pass


def trained(
    space: SearchSpace,
    folder: RunFolder,
    result: Callable[[TrialSpec], TrialResult],
    *,
    trials: int,
) -> None:
    """A search of so many trials, its specifications on disk as a driver keeps them."""
    with opened(space, folder, trials=trials) as proposer:
        for spec in iter(proposer.next, None):
            write_whole(folder.trial(spec.name).spec, to_json(spec))
            found = as_told(result(spec), spec)
            write_whole(folder.trial(spec.name).result, to_json(found))
            proposer.finish(found)


def as_told(found: TrialResult, spec: TrialSpec) -> TrialResult:
    """Points are cut as their trial was told to be."""
    if not spec.cuts:
        return found
    settings = settings_of(spec, spec.cuts[0], tuned=True)
    told = {"cut": spec.cuts[0], "settings": settings}
    return dataclasses.replace(
        found, points=tuple(dataclasses.replace(point, **told) for point in found.points)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"seed": 99}}, r"0/result\.json: seed: is not what spec\.json asks for"),
        ({"cut": None}, r"0/result\.json: cut: is not what spec\.json asks for"),
        ({"loss": 7.0}, r"0/result\.json: point '0' is another in the run's list of points"),
    ],
)
def test_a_result_that_is_no_answer_to_its_specification_is_refused(
    make_space: Space,
    folder: RunFolder,
    result: Callable[[TrialSpec], TrialResult],
    change: dict[str, Any],
    said: str,
):
    trained(make_space(), folder, result, trials=2)
    place = folder.trial("0")
    found = place.read_result()
    assert found is not None
    (point,) = found.points
    if "settings" in change:
        change = {"settings": point.settings | change["settings"]}
    points = (dataclasses.replace(point, **change),)
    write_whole(place.result, to_json(dataclasses.replace(found, points=points)))
    before = on_disk(folder)
    with pytest.raises(InputError, match=said), opened(make_space(), folder, trials=3):
        pass
    assert on_disk(folder) == before


def on_disk(folder: RunFolder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "study", ["empty", "of nothing", "without end", "foreign", "shorter", "missing"]
)
def test_results_are_told_to_no_study_but_their_own(
    make_space: Space,
    folder: RunFolder,
    tmp_path: Path,
    result: Callable[[TrialSpec], TrialResult],
    study: str,
):
    space = make_space(("scheme: channel", "scheme: [channel, spatial]"))
    trained(space, folder, result, trials=3)
    with opened(space, folder, trials=3) as proposer:
        assert proposer.done == 3, "its own is taken"
    other = RunFolder.create(tmp_path / "other")
    changed = make_space(
        ("scheme: channel", "scheme: [channel, spatial]"),
        *([("seed: 7", "seed: 8")] if study == "foreign" else []),
    )
    trained(changed, other, result, trials={"foreign": 3}.get(study, 2))
    folder.study.unlink()
    if study in ("empty", "of nothing", "without end"):
        folder.study.touch()
    if study == "of nothing":
        sqlite3.connect(folder.study).execute("CREATE TABLE other (name)").connection.close()
    elif study == "without end":
        more = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c)"
        view = f"CREATE VIEW studies AS {more} SELECT x, x AS study_name FROM c"  # noqa: S608  our own
        sqlite3.connect(folder.study).execute(view).connection.close()
    elif study in ("foreign", "shorter"):
        other.study.rename(folder.study)
    before = on_disk(folder)
    told = {
        "empty": r"study\.db: holds no study of this search, and what trial 0 was",
        "of nothing": r"study\.db: holds no study of this search, and what trial 0 was",
        "without end": r"study\.db: holds no study of this search, and what trial 0 was",
        "missing": r"study\.db: is missing, and what trial 0 was",
        "shorter": r"trials/2: study\.db has no trial 2; put",
        "foreign": r"trials/0/spec\.json: is not what study\.db has of trial 0: \w+: .* there, ",
    }
    with pytest.raises(InputError, match=told[study]), opened(space, folder, trials=6):
        pass
    assert on_disk(folder) == before


@pytest.mark.parametrize("name", ["a?b", "x%20y", "h#i", "{x}", "%2F"])
def test_a_study_stays_in_its_folder_whatever_that_is_called(
    make_space: Space, tmp_path: Path, name: str
):
    run = RunFolder.create(tmp_path / "runs" / name)
    for _ in range(2):
        with opened(make_space(), run, trials=1) as proposer:
            proposer.next()
            proposer.next()
    assert {entry.name for entry in run.path.iterdir()} == {"study.db", "trials"}
    assert [entry.name for entry in (tmp_path / "runs").iterdir()] == [name]
