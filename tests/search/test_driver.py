"""Whole searches over one Ray: tiny trainings on 200 digits."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import ray
from optuna.trial import FrozenTrial, TrialState
from ray.tune.experiment import Trial

from tests.search.outcome import study_of, untimed
from trp_search.errors import InputError, SearchError
from trp_search.records import NetworkSpec, Point, TrialResult, TrialSpec
from trp_search.runs import trial
from trp_search.runs.predicted import predicting
from trp_search.search import cluster, joining
from trp_search.search.driver import run_search
from trp_search.search.events import Epoch, Event, Finished, Ranked, Stage, Started
from trp_search.search.ranks import RankSearcher
from trp_search.search.times import before_trials
from trp_search.selection import pareto
from trp_search.space import Resources, SearchSpace, load_space
from trp_search.store import RunFolder, exclusive

MODULES = Path(__file__).parent / "modules"
TEXT = """\
workload:
  network: {{name: "saboteur:build", options: {{troubles: {troubles}, marks: {marks}}}}}
  data: {{name: digits, subset: 200}}
training: {{epochs: 2, batch_size: 64}}
space:
  start: [baseline, scratch]
  energy: {{low: 0.6, high: 0.99}}
  training: {{epochs: 2}}
trials: 6
keep: all
extra_cuts: {{speedups: [2], energies: []}}
"""
TROUBLES = {"1": "killed", "2": "raises", "3": "diverges", "4": "killed once"}


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MODULES))
        patch.setattr("trp_search.space.cuts.CONTROL_ENERGIES", (0.8,))  # the baseline's own cuts
        with joining.connected(None, modules=()):
            yield


def sabotaged(folder: Path, troubles: dict[str, str]) -> SearchSpace:
    text = TEXT.format(troubles=json.dumps(troubles), marks=json.dumps(str(folder)))
    (folder / "space.yaml").write_text(text)
    return load_space(folder / "space.yaml")


@dataclasses.dataclass
class Search:
    space: SearchSpace
    folder: RunFolder
    events: list[Event]
    held: list[int] = dataclasses.field(default_factory=list)

    def trials(self) -> list[FrozenTrial]:
        return study_of(self.folder)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def search(one_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Six trials: one dies each time, one raises, one diverges, one dies once."""
    place = tmp_path_factory.mktemp("search")
    space = sabotaged(place, TROUBLES)
    folder = RunFolder.create(place / "run")
    found = Search(space=space, folder=folder, events=[])

    def listen(event: Event) -> None:
        found.events.append(event)
        if isinstance(event, Finished):
            gc.collect()
            found.held.append(sum(type(thing) is Trial for thing in gc.get_objects()))

    run_search(space, folder, concurrency=2, on_event=listen)
    return found


@pytest.mark.slow
def test_tune_forgets_the_trials_that_have_ended(search: Search):
    assert max(search.held) <= 2 + 2, "those that run, one to come, one that just ended"


@pytest.mark.slow
def test_each_trial_has_the_state_that_it_earned(search: Search):
    found = [optuna_trial.state for optuna_trial in search.trials()]
    good, bad = TrialState.COMPLETE, TrialState.FAIL
    assert found == [good, bad, bad, good, good, good]


@pytest.mark.slow
def test_failures_are_told_with_their_reason(search: Search):
    reasons = [optuna_trial.user_attrs.get("failure") for optuna_trial in search.trials()]
    assert reasons[1] == "the worker was killed 3 times (SIGKILL; out of memory?)"
    assert reasons[2] == "RuntimeError: the dog ate the homework"
    for number in (1, 2):
        assert search.folder.trial(str(number)).read_result().failed == reasons[number]


@pytest.mark.slow
def test_a_diverged_trial_is_no_point_and_breaks_a_constraint(search: Search):
    assert search.trials()[3].constraints["diverged"] > 0
    assert "3" not in {point.id for point in search.folder.read_points()}
    assert "not finite" in search.folder.trial("3").read_result().diverged


@pytest.mark.slow
def test_a_trial_whose_worker_was_killed_goes_on_from_its_checkpoint(search: Search):
    written = search.folder.trial("4").epochs.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in written] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["baseline", "0", "4", "5"])
def test_a_trial_through_ray_equals_the_same_trial_called_directly(
    search: Search, tmp_path: Path, name: str
):
    there = search.folder.trial(name)
    spec = there.read_spec()
    here = RunFolder.create(tmp_path / "direct")
    if spec.needs_baseline and spec.kind != "baseline":
        shutil.copytree(search.folder.trial("baseline").path, here.trial("baseline").path)
    direct = run_directly(spec, here)
    assert untimed(direct) == untimed(there.read_result())
    assert here.trial(name).weights.read_bytes() == there.weights.read_bytes()


def run_directly(spec: TrialSpec, folder: RunFolder) -> TrialResult:
    plain = dataclasses.replace(spec.workload, network=NetworkSpec(name="small_resnet"))
    *_, last = trial.run(dataclasses.replace(spec, workload=plain), folder)
    assert isinstance(last, TrialResult)
    return last


@pytest.mark.slow
def test_trials_behind_at_a_rung_stop_there_and_workers_take_the_next(tmp_path: Path):
    text = TEXT.format(troubles="{}", marks=json.dumps(str(tmp_path)))
    text = text.replace("  training: {epochs: 2}\ntrials: 6", "  training: {epochs: 3}\ntrials: 8")
    rungs = "rungs: {first: 1, factor: 2, keep_front: false}\n"
    (tmp_path / "space.yaml").write_text(text + rungs)
    folder, events = RunFolder.create(tmp_path / "run"), []
    run_search(load_space(tmp_path / "space.yaml"), folder, on_event=events.append)
    trials = Search(space=load_space(folder.search), folder=folder, events=events).trials()
    stopped = [t.number for t in trials if t.state == TrialState.PRUNED]
    assert stopped
    assert {t.state for t in trials if t.number not in stopped} == {TrialState.COMPLETE}
    for number in range(8):
        place = folder.trial(str(number))
        result, epochs = place.read_result(), place.read_epochs()
        assert not place.checkpoint.exists()
        if number in stopped:
            assert result.stopped == f"behind after epoch {len(epochs)} of 3"
            assert (len(epochs), result.points) in ((1, ()), (2, ()))
        else:
            assert (len(epochs), bool(result.points)) == (3, True)
    told = [e.result.trial for e in events if isinstance(e, Finished)]
    assert sorted(told) == sorted(["baseline", *map(str, range(8))])
    assert {p.trial for p in folder.read_points()}.isdisjoint(map(str, stopped))
    first = [told.trial for told in folder.read_judged() if told.epoch == 1]
    assert sorted(first) == sorted(map(str, range(8)))


@pytest.mark.slow
def test_the_run_folder_tells_the_whole_story(search: Search):
    folder = search.folder
    sizes = search.space.sampler.sizes(search.space.trials)
    sampler = search.space.sampler.model_copy(update=sizes)
    assert load_space(folder.search) == search.space.model_copy(update={"sampler": sampler})
    environment = json.loads(folder.environment.read_text())
    assert environment["versions"]["ray"] == ray.__version__
    assert environment["seed"] == 0
    assert folder.report.is_file()
    front = set(folder.front.read_text().splitlines()[1:])
    assert front
    assert "baseline" in folder.read_tests()
    scored = set(folder.read_tests()) - {"baseline"}
    assert {name.partition("-")[0] for name in scored} <= {"0", "4", "5"}
    assert len(scored) == len(front)
    left = {path.name for path in folder.path.iterdir()}
    assert not {name for name in left if name.endswith(".tmp") or name in (".ray", "progress.json")}


def test_a_ray_of_this_machine_has_the_processes_that_a_search_needs():
    assert set(ray._private.worker._global_node.all_processes) == {"gcs_server", "raylet"}


@pytest.mark.slow
def test_workers_are_as_nice_as_the_search():
    niceness = ray.remote(num_cpus=0)(lambda: os.nice(0))
    assert ray.get(niceness.remote()) == os.nice(0)


def test_a_training_alone_may_have_the_machines_cores_and_no_more():
    here = int(ray.cluster_resources()["CPU"])
    assert [cluster.cores(wanted) for wanted in (1, here, here + 9)] == [1, here, here]


@pytest.mark.slow
def test_whoever_watches_hears_of_everything(search: Search):
    first, *_ = search.events
    assert first == Started(
        trials=6,
        done=0,
        concurrency=cluster.slots(search.space.resources),
        metric="accuracy",
        objectives=search.space.objectives,
    )
    ends = search.of(Finished)
    assert sorted(end.result.trial for end in ends) == ["0", "1", "2", "3", "4", "5", "baseline"]
    assert {end.result.trial for end in ends} == {*"012345", "baseline"}
    assert ends[-1].done == 6
    assert ends[-1].running == 0
    known = [end.hypervolume for end in ends if end.hypervolume is not None]
    assert known == sorted(known)
    assert ends[-1].baseline == search.folder.point("baseline")
    front = [line.partition(",")[0] for line in search.folder.front.read_text().splitlines()[1:]]
    assert sorted(point.id for point in ends[-1].front) == sorted(front)
    assert {event.report.trial for event in search.of(Epoch)} == {"baseline", "0", "4", "5"}
    assert search.of(Stage)


@pytest.mark.slow
def test_more_trials_are_added_to_a_finished_search(search: Search, tmp_path: Path):
    folder = RunFolder(path=tmp_path / "copy")
    shutil.copytree(search.folder.path, folder.path)
    before = search.folder.read_points()
    events: list[Event] = []
    run_search(load_space(folder.search), folder, trials=7, concurrency=1, on_event=events.append)
    assert events[0] == Started(
        trials=7, done=6, concurrency=1, metric="accuracy", objectives=search.space.objectives
    )
    assert load_space(folder.search).trials == 7, "a later resume has the same end"
    assert load_space(folder.search).sampler == load_space(search.folder.search).sampler
    assert load_space(folder.search).sampler.startup is not None
    ends = [event.result.trial for event in events if isinstance(event, Finished)]
    assert ends == ["6"]
    points = [p for p in folder.read_points() if p.role not in ("derived", "screened_out")]
    assert [p.id for p in points] == [
        *(p.id for p in before if p.role not in ("derived", "screened_out")),
        "6",
    ]


@pytest.mark.slow
def test_what_was_not_scored_on_test_is_told_and_scored_when_the_search_goes_on(
    search: Search, tmp_path: Path
):
    folder = RunFolder(path=tmp_path / "copy")
    shutil.copytree(search.folder.path, folder.path)
    folder.tests.unlink()
    folder.report.unlink()
    weights = folder.trial("baseline").weights
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(SearchError, match=f"the points were not scored on test: {weights}: "):
        run_search(search.space, folder, concurrency=1, on_event=lambda event: None)
    assert not folder.report.exists()
    weights.write_bytes(whole)
    events: list[Event] = []
    run_search(search.space, folder, concurrency=1, on_event=events.append)
    assert not [event for event in events if isinstance(event, Finished)]
    assert folder.read_tests() == search.folder.read_tests()
    assert folder.report.exists()


@pytest.mark.slow
def test_a_search_whose_first_trials_fail_alike_stops_with_the_reason(tmp_path: Path):
    space = sabotaged(tmp_path, {str(number): "raises" for number in range(6)})
    folder = RunFolder.create(tmp_path / "run")
    with pytest.raises(SearchError, match=r"the first 3 trials failed alike: .*the dog ate"):
        run_search(space, folder, concurrency=1, on_event=lambda event: None)
    found = Search(space=space, folder=folder, events=[]).trials()
    assert {optuna_trial.state for optuna_trial in found} == {TrialState.FAIL}


@pytest.mark.slow
def test_a_driver_that_cannot_go_on_says_why_and_leaves_its_trials_to_be_resumed(
    make_space: Callable[..., SearchSpace], folder: RunFolder
):
    def fill_the_disk(event: Event) -> None:
        if isinstance(event, Finished):
            raise OSError("no space left on device")

    with pytest.raises(SearchError, match="no space left on device"):
        run_search(make_space(), folder, on_event=fill_the_disk)
    found = Search(space=make_space(), folder=folder, events=[]).trials()
    assert TrialState.FAIL not in {optuna_trial.state for optuna_trial in found}
    events: list[Event] = []
    run_search(make_space(), folder, trials=2, concurrency=1, on_event=events.append)
    assert {point.id for point in folder.read_points() if point.role == "trial"} == {"0", "1"}
    ends = [event.result.trial for event in events if isinstance(event, Finished)]
    assert len(set(ends)) == len(ends)
    # What ended while the first driver fell, trial 0 or the baseline, is not run again.
    assert {"1"} <= set(ends) <= {"baseline", "0", "1"}


@pytest.mark.slow
def test_a_full_disk_ends_the_search_and_is_no_failure_of_its_trial(tmp_path: Path):
    space = sabotaged(tmp_path, {"1": "full disk once"})
    folder = RunFolder.create(tmp_path / "run")
    search = Search(space=space, folder=folder, events=[])
    with pytest.raises(SearchError, match="trial 1: No space left on device"):
        run_search(space, folder, trials=2, concurrency=1, on_event=search.events.append)
    assert search.trials()[1].state == TrialState.RUNNING
    run_search(space, folder, trials=2, concurrency=1, on_event=search.events.append)
    assert [trial.state for trial in search.trials()] == [TrialState.COMPLETE] * 2
    written = folder.trial("1").epochs.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in written] == [1, 2]


@pytest.mark.slow
def test_a_run_folder_that_is_removed_ends_its_search(
    make_space: Callable[..., SearchSpace], folder: RunFolder
):
    def remove(event: Event) -> None:
        if isinstance(event, Epoch):
            shutil.rmtree(folder.path, ignore_errors=True)

    with pytest.raises(SearchError, match=r"run: the run folder is gone \(removed or moved"):
        run_search(make_space(), folder, concurrency=1, on_event=remove)


def test_a_second_search_in_the_same_folder_is_refused(
    make_space: Callable[..., SearchSpace], folder: RunFolder
):
    with (
        exclusive(folder.lock, wait_seconds=0.0, holder="the test"),
        pytest.raises(InputError, match="another search is at work in this folder"),
    ):
        run_search(make_space(), folder, on_event=lambda event: None)


def test_a_trial_that_fits_on_no_machine_is_refused_and_nothing_is_written(
    make_space: Callable[..., SearchSpace], folder: RunFolder
):
    space = make_space(("trials: 4", "resources: {cpus: 4096}\ntrials: 4"))
    with pytest.raises(InputError, match=r"resources\.cpus: 4096 is more than any machine has"):
        run_search(space, folder, on_event=lambda event: None)
    assert list(folder.path.iterdir()) == []


def test_as_many_trials_run_at_once_as_fit():
    cpus = int(ray.cluster_resources()["CPU"])
    assert cluster.slots(Resources(cpus=1)) == cpus
    assert cluster.slots(Resources(cpus=cpus)) == 1


def test_a_node_that_does_not_see_the_run_folder_is_named(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    cluster.check_storage(folder)
    monkeypatch.setattr(cluster, "write_whole", lambda path, data: None)
    with pytest.raises(InputError, match=r"node \S+ \(.*\) does not see this folder"):
        cluster.check_storage(folder)
    assert list(folder.path.iterdir()) == []


RANKED = """\
workload: {network: small_resnet, data: {name: digits, subset: 200}}
training: {epochs: 1, batch_size: 64}
space: {method: plain, scheme: spatial, energy: 0.9}
trials: 1
rank_search: {vectors: 14, population: 7, fine_tuning_epochs: 1, winners: 2}
extra_cuts: {speedups: [2], energies: []}
"""


@pytest.mark.slow
def test_ranks_are_searched_after_the_trainings_as_if_never_interrupted(
    one_ray: None, tmp_path: Path
):
    (tmp_path / "space.yaml").write_text(RANKED)
    space, folder = load_space(tmp_path / "space.yaml"), RunFolder.create(tmp_path / "run")
    heard: list[Event] = []

    def interrupt(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Ranked) and event.result is not None:
            raise KeyError

    with pytest.raises(KeyError):
        run_search(space, folder, concurrency=2, on_event=interrupt)
    before = {point.id for point in folder.read_points() if point.by_ranks}
    assert before
    run_search(space, folder, concurrency=2, on_event=heard.append)
    done = [event.done for event in heard if isinstance(event, Ranked)]
    assert done[-1] == 14
    assert folder.trial_names() == ["baseline", "0"]
    volumes = [event.hypervolume for event in heard if isinstance(event, Ranked)]
    assert volumes == sorted(volumes)
    found = _by_ranks(folder)
    assert found == _searched_here(space, folder, tmp_path / "here")
    assert before < set(found)
    winners = [point for point in found.values() if point.winner]
    assert len(winners) == 2
    assert all(point.batch_norm == "as fine-tuned" for point in winners)
    front = pareto.search_front(folder.read_points(), space)
    assert all(folder.weights(point).exists() for point in front)
    assert {point.id for point in front} <= set(folder.read_tests())


INT8 = """\
workload: {network: small_resnet, data: {name: digits, subset: 200}}
training: {epochs: 1, batch_size: 64}
space:
  method: plain
  precision: [float32, int8]
  layers: {include: [stages.2.0.conv2]}
objectives: [accuracy, latency_speedup]
target: {name: here, runtime: onnxruntime, seconds: 0.001}
warm_start: [{served_precision: float32}, {served_precision: int8}]
trials: 2
extra_cuts: {speedups: [], energies: []}
"""


@pytest.mark.slow
def test_a_search_proposes_int8_by_its_predicted_time(one_ray: None, tmp_path: Path):
    (tmp_path / "space.yaml").write_text(INT8)
    space, folder = load_space(tmp_path / "space.yaml"), RunFolder.create(tmp_path / "run")
    run_search(space, folder, on_event=lambda _: None)
    points = {point.id: point for point in folder.read_points()}
    assert {name: points[name].role for name in ("0", "1", "1-int8")} == {
        "0": "trial",
        "1": "derived",
        "1-int8": "trial",
    }
    assert {points["1"].score, points["1"].predicted} == {points["0"].score, points["0"].predicted}
    assert points["1-int8"].predicted == predicting(folder, "int8")(points["1"].layers)
    told = Search(space=space, folder=folder, events=[]).trials()
    for trial_, name in zip(told, ("0", "1-int8"), strict=True):
        assert trial_.values == [points[name].score.value, points[name].latency_speedup]
    assert '"1-int8"' in folder.report.read_text()
    first, second = folder.read_times(), folder.read_times("int8")
    assert [(x.layer, x.scheme) for x in first.layers] == [
        (x.layer, x.scheme) for x in second.layers
    ]
    dense = predicting(folder, "int8")(())
    assert dense.milliseconds == second.milliseconds
    assert dense.dense_milliseconds == first.milliseconds == points["baseline"].milliseconds
    assert before_trials(space, folder, tell=print) == [], "times do not change in a run"


def _searched_here(space: SearchSpace, folder: RunFolder, path: Path) -> dict[str, Point]:
    """The points of the ranks in this process alone, from the trainings of `folder`."""
    shutil.copytree(folder.path / "trials", path / "trials")
    here = RunFolder(path=path)
    here.add_points(point for point in folder.read_points() if not point.by_ranks)
    search = RankSearcher(
        space,
        here,
        optuna.storages.InMemoryStorage(),
        spec=here.trial("0").read_spec(),
        asked=space.rank_search,
        workers=1,
    )
    while (batch := search.next()) is not None:
        *_, result = trial.run(batch, here)
        here.add_points(result.points)
        search.finish(result)
    return _by_ranks(here)


def _by_ranks(folder: RunFolder) -> dict[str, Point]:
    found = (point for point in folder.read_points() if point.by_ranks)
    return {point.id: dataclasses.replace(point, seconds=0.0) for point in found}
