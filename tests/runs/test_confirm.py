"""The front's trainings with other seeds."""

from __future__ import annotations

import dataclasses
import json

import pytest

from trp_search.cli import main
from trp_search.errors import InputError, NothingFoundError
from trp_search.records import EpochReport, Ranks, TrialResult, to_json
from trp_search.runs import trial
from trp_search.runs.compress import recut
from trp_search.runs.confirm import confirm, plan
from trp_search.store import RunFolder, exclusive, write_whole


def test_every_trial_of_the_front_is_planned_once_per_seed(sample_run: RunFolder, run: RunFolder):
    specs = [spec for spec, _ in plan(run, seeds=3)]
    assert [spec.name for spec in specs] == ["confirm-0-1", "confirm-0-2", "confirm-0-3"]
    assert len({spec.seed for spec in specs}) == 3
    own = run.trial("0").read_spec()
    assert own.seed not in {spec.seed for spec in specs}
    assert {(spec.training, spec.pruning, spec.split_seed) for spec in specs} == {
        (own.training, own.pruning, own.split_seed)
    }


def test_a_repeat_is_scored_at_the_front_s_cuts_and_leaves_no_weights(run: RunFolder):
    ((spec, points),) = plan(run, seeds=1)
    *epochs, result = confirm(run, spec, points)
    assert all(isinstance(item, EpochReport) for item in epochs)
    assert isinstance(result, TrialResult)
    repeats = run.read_repeats()
    assert set(repeats) == {point.id for point in points}
    for point in points:
        (found,) = repeats[point.id]
        assert found.trial == "confirm-0-1"
        assert found.score.images == point.score.images
        assert found.speedup == pytest.approx(point.speedup, rel=0.5)
    assert not list(run.trial("confirm-0-1").path.glob("*.safetensors"))
    assert plan(run, seeds=1) == []
    assert [spec.name for spec, _ in plan(run, seeds=2)] == ["confirm-0-2"]
    assert {point.id for point in run.read_points()} == {"baseline", "plain-2x", "0", "0-2x"} | {
        point.id for point in run.read_points() if point.role == "control"
    }


def test_a_repeat_that_failed_is_tried_again(run: RunFolder):
    ((spec, points),) = plan(run, seeds=1)
    failed = TrialResult(trial=spec.name, points=(), failed="the disk was not there")
    write_whole(run.trial(spec.name).result, to_json(failed))
    assert [again.name for again, _ in plan(run, seeds=1)] == [spec.name]
    *_, result = confirm(run, spec, points)
    assert result.ended_well
    assert set(run.read_repeats()) == {point.id for point in points}


def test_a_cut_and_its_fine_tuning_are_repeated_each_as_itself(run: RunFolder):
    spec = run.trial("0").read_spec()
    assert spec.training is not None
    asked = dataclasses.replace(
        spec,
        name="1",
        number=1,
        method="plain",
        start="baseline",
        training=None,
        pruning=None,
        fine_tuning=dataclasses.replace(spec.training, epochs=1, learning_rate=0.1),
    )
    *_, first = trial.run(asked, run)
    assert isinstance(first, TrialResult)
    assert [point.untuned for point in first.points[:2]] == [True, False]
    other = dataclasses.replace(asked, kind="confirm", name="confirm-1-1", seed=7)
    *_, second = confirm(run, other, list(first.points))
    assert isinstance(second, TrialResult)
    scores = {point.id.removeprefix("confirm-1-"): point.score for point in second.points}
    assert scores["1"] != scores["1-untuned"]
    repeats = run.read_repeats()
    assert {name: found[0].score for name, found in repeats.items()} == scores


def test_searched_ranks_on_the_front_are_repeated(run: RunFolder):
    spec, own = run.trial("0").read_spec(), run.point("0")
    ranks = {layer.name: max(1, layer.rank // 2) for layer in own.layers if layer.rank}
    scheme = own.layers[-1].scheme or next(x.scheme for x in own.layers if x.scheme)
    cut = dataclasses.replace(spec.cuts[0], keep=Ranks(ranks), scheme=scheme)
    point = dataclasses.replace(recut(run, "0", cut), by_ranks=True)
    ((again, _), *_) = plan(run, seeds=1)
    again = dataclasses.replace(again, screening=(cut,))
    for _ in range(2):
        *_, result = confirm(run, again, [point])
        assert result.ended_well
        assert len(run.read_repeats()[point.id]) == 1


def test_the_command_shows_what_other_seeds_came_to(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    assert main(["confirm", str(run.path), "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "Training 2 of 2: trial 0 again" in out
    (name, repeats), *_ = run.read_repeats().items()
    row = next(line for line in out.splitlines() if line.startswith(f"{name} "))
    assert f"{100 * min(repeat.score.value for repeat in repeats):.1f} %" in row
    page = run.report.read_text()
    assert '"with 2 other seeds"' in page
    assert '"meta":"repeats"' in page
    assert main(["confirm", str(run.path), "--seeds", "2"]) == 0
    assert "Training" not in capsys.readouterr().out


def test_a_confirmation_whose_trainings_all_fail_ends_with_one(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    assert main(["confirm", str(run.path), "--seeds", "1"]) == 0
    write_whole(run.split, json.dumps((run.read_split() or {}) | {"digest": "another"}))
    assert main(["confirm", str(run.path), "--seeds", "2"]) == 1
    told = capsys.readouterr()
    assert "changed since the run began" in told.out
    assert "nothing was confirmed" in told.err


def test_nothing_is_confirmed_while_a_search_is_at_work(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    with exclusive(run.lock, wait_seconds=0.0, holder=""):
        assert main(["confirm", str(run.path)]) == 2
    assert "another command is at work in this folder" in capsys.readouterr().err


def test_a_run_without_a_front_has_nothing_to_confirm(empty_run: RunFolder, run: RunFolder):
    with pytest.raises(NothingFoundError, match="has no front to confirm"):
        plan(empty_run, seeds=3)
    with pytest.raises(InputError, match="seeds: 0 is below 1"):
        plan(run, seeds=0)
