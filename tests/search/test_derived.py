"""What the study hears of further cuts, through the proposer alone: no Ray, results made up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from trp_search.records import Point, TrialResult, TrialSpec, to_json
from trp_search.records.scores import share
from trp_search.search.proposer import Proposer
from trp_search.space import SearchSpace
from trp_search.store import RunFolder, write_whole

Space = Callable[..., SearchSpace]
Result = Callable[[TrialSpec], TrialResult]
MakePoint = Callable[..., Point]
CURVE = "extra_cuts: {speedups: [2, 3], energies: [0.7], tell: %s}\ntrials: 4"
TELL = ("trials: 4", CURVE % "true")
SILENT = ("trials: 4", CURVE % "false")
CONSTRAINED = ("seed: 7", "seed: 7\nconstraints: {speedup: 2.5}")
REPEATS = ("seed: 7", "seed: 7\nrepeats: 2")


@contextmanager
def opened(space: SearchSpace, folder: RunFolder, *, trials: int = 2) -> Iterator[Proposer]:
    proposer = Proposer(space, folder, trials=trials, ahead=2)
    try:
        yield proposer
    finally:
        proposer.close()


def study_of(folder: RunFolder) -> list[FrozenTrial]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder.study}")
    trials = optuna.load_study(study_name="trp_search", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    return trials


def asked(folder: RunFolder) -> list[FrozenTrial]:
    return [trial for trial in study_of(folder) if "derived" not in trial.user_attrs]


def told(folder: RunFolder) -> dict[str, FrozenTrial]:
    """The study's further cuts by their mark, each there once."""
    marked = [trial for trial in study_of(folder) if "derived" in trial.user_attrs]
    found = {trial.user_attrs["derived"]: trial for trial in marked}
    assert len(found) == len(marked)
    return found


@pytest.fixture
def result(make_point: MakePoint) -> Result:
    """A made-up end of a training with all its cuts; the fastest budget fell behind in its race."""

    def make(spec: TrialSpec) -> TrialResult:
        if spec.pruning is None:
            plain = make_point(spec.name, correct=180, speedup=1.0, role="baseline", scheme=None)
            return TrialResult(trial=spec.name, points=(plain,))
        energy = spec.pruning.energy
        own = make_point(spec.name, correct=round(180 * energy), speedup=2.5 - energy)
        further = [
            dataclasses.replace(
                make_point(
                    f"{spec.name}-{cut.name}",
                    correct=150 - 10 * place,
                    speedup=cut.speedup or 1.7,
                    role="screened_out" if cut.speedup == 3 else "derived",
                ),
                trial=spec.name,
                cut=cut,
            )
            for place, cut in enumerate(spec.screening)
        ]
        return TrialResult(trial=spec.name, points=(own, *further))

    return make


def searched(space: SearchSpace, folder: RunFolder, result: Result, *, trials: int = 2) -> None:
    with opened(space, folder, trials=trials) as proposer:
        for spec in iter(proposer.next, None):
            proposer.finish(result(spec))
        assert proposer.exhausted


def test_each_derived_point_is_one_more_complete_trial(
    make_space: Space, folder: RunFolder, result: Result
):
    searched(make_space(TELL, CONSTRAINED), folder, result, trials=1)
    (own,) = asked(folder)
    found = told(folder)
    assert set(found) == {"0-channel-0.7", "0-2x"}, "what a race left behind is not told"
    for mark, trial in found.items():
        point = folder.point(mark)
        assert trial.state == TrialState.COMPLETE
        assert trial.values == pytest.approx([point.score.value, point.speedup])
        missing = 2.5 - point.speedup
        assert trial.constraints == pytest.approx({"diverged": 0.0, "speedup": missing})
    assert found["0-channel-0.7"].params == own.params | {"derived_energy": 0.7}
    assert found["0-2x"].params == own.params | {"derived_speedup": 2.0}


def test_a_trials_own_values_are_of_its_own_point_alone(
    make_space: Space, folder: RunFolder, result: Result
):
    searched(make_space(TELL), folder, result, trials=1)
    (own,) = asked(folder)
    point = folder.point("0")
    assert own.values == pytest.approx([point.score.value, point.speedup])
    assert not any(name.startswith("derived") for name in own.params)


def test_without_tell_nothing_is_added(make_space: Space, folder: RunFolder, result: Result):
    space = make_space(SILENT)
    searched(space, folder, result)
    searched(space, folder, result)
    assert [trial.number for trial in study_of(folder)] == [0, 1]
    assert "0-2x" in [point.id for point in folder.read_points()]


def test_they_do_not_count_as_trials_and_their_numbers_are_not_handed_out(
    make_space: Space, folder: RunFolder, result: Result
):
    space = make_space(TELL)
    with opened(space, folder, trials=4) as proposer:
        handed_out = []
        for spec in iter(proposer.next, None):
            handed_out.append(spec.name)
            proposer.finish(result(spec))
        assert proposer.done == 4
    assert handed_out == ["baseline", "0", "3", "6", "9"]
    assert {trial.number for trial in told(folder).values()} == {1, 2, 4, 5, 7, 8, 10, 11}
    with opened(space, folder, trials=5) as proposer:
        assert proposer.done == 4
        assert [spec.name for spec in iter(proposer.next, None)] == ["12"]


def test_a_proposer_opened_again_adds_what_is_missing_and_nothing_twice(
    make_space: Space, folder: RunFolder, result: Result
):
    silent = make_space(SILENT)
    searched(silent, folder, result)
    for spec in (silent.trial_spec(t.params, name=str(t.number), repeat=0) for t in asked(folder)):
        write_whole(folder.trial(spec.name).result, to_json(result(spec)))
    space = make_space(TELL)
    for _ in range(2):
        with opened(space, folder) as proposer:
            assert proposer.done == 2
    assert set(told(folder)) == {f"{n}-{cut}" for n in "01" for cut in ("channel-0.7", "2x")}
    assert len(study_of(folder)) == 6


def test_a_trial_that_ended_while_no_one_listened_is_told_with_its_cuts(
    make_space: Space, folder: RunFolder, result: Result
):
    space = make_space(TELL)
    with opened(space, folder, trials=1) as proposer:
        proposer.finish(result(proposer.next()))
        spec = proposer.next()
    write_whole(folder.trial(spec.name).result, to_json(result(spec)))
    with opened(space, folder, trials=1) as proposer:
        assert proposer.done == 1
        assert proposer.exhausted
    assert set(told(folder)) == {"0-channel-0.7", "0-2x"}


def test_repeats_are_told_once_with_their_mean_where_all_have_the_cut(
    make_space: Space, folder: RunFolder, result: Result
):
    def uneven(spec: TrialSpec) -> TrialResult:
        found = result(spec)
        if not spec.name.endswith("r1"):
            return found
        better = [dataclasses.replace(point, score=share(190, 200)) for point in found.points]
        return dataclasses.replace(found, points=tuple(p for p in better if "0.7" not in p.id))

    searched(make_space(TELL, REPEATS), folder, uneven, trials=1)
    (mark,) = told(folder)
    assert mark == "0-2x"
    mean = (folder.point("0-2x").score.value + 0.95) / 2
    assert told(folder)[mark].values == pytest.approx([mean, 2.0])


def test_a_trial_that_diverged_has_no_cuts_to_tell(
    make_space: Space, folder: RunFolder, result: Result
):
    def lost(spec: TrialSpec) -> TrialResult:
        if spec.pruning is None:
            return result(spec)
        return TrialResult(trial=spec.name, points=(), diverged="not finite")

    searched(make_space(TELL), folder, lost, trials=1)
    assert len(study_of(folder)) == 1


def test_the_sampler_goes_on_drawing_what_the_space_says(
    make_space: Space, folder: RunFolder, result: Result
):
    names = "sampler: {name: tpe, startup: 2, population: 2}\nseed: 7"
    space = make_space(TELL, ("scheme: channel", "scheme: [channel, spatial]"), ("seed: 7", names))
    searched(space, folder, result, trials=4)
    drawn = [trial.params for trial in asked(folder)]
    assert [set(params) for params in drawn] == [{"scheme", "energy"}] * 4
    assert len(told(folder)) == 8


def test_as_many_trials_are_drawn_at_random_first_as_without(
    make_space: Space, tmp_path, result: Result
):
    drawn = []
    for name, told_or_not in (("one", TELL), ("other", SILENT)):
        run = RunFolder.create(tmp_path / name)
        startup = ("seed: 7", "sampler: {name: tpe, startup: 4}\nseed: 7")
        searched(make_space(told_or_not, startup), run, result, trials=4)
        drawn.append([trial.params["energy"] for trial in asked(run)])
    assert drawn[0] == drawn[1]
