import dataclasses
import shutil

import pytest
import torch

from trp_search.errors import InputError
from trp_search.progress import heard
from trp_search.records import (
    Cut,
    DataSpec,
    Distillation,
    Energy,
    EpochReport,
    NetworkSpec,
    Pruning,
    Ranks,
    Speedup,
    Training,
    TrialResult,
    TrialSpec,
    Workload,
    to_json,
)
from trp_search.records.scores import share
from trp_search.runs import networks, trial
from trp_search.runs.refit import refit
from trp_search.store import RunFolder, append_record, write_whole
from trp_search.training.loop import train
from trp_search.workloads import data

WORKLOAD = Workload(
    network=NetworkSpec(name="small_resnet"),
    data=DataSpec(name="digits", subset=400, heldout_subset=100, validation=0.25),
)
TRAINING = Training(epochs=3, batch_size=50, learning_rate=0.05)
PRUNING = Pruning(scheme="spatial", keep=Energy(0.9), period=4, nuclear_weight=1e-3, layers="all")


def spec(name="0", **changes):
    given = {
        "kind": next((k for k in ("baseline", "confirm", "refit") if name.startswith(k)), "search"),
        "name": name,
        "seed": 3,
        "start": "scratch",
        "workload": WORKLOAD,
        "training": TRAINING,
        "pruning": PRUNING,
        "cuts": (Cut(scheme="spatial", keep=Energy(0.9), layers="all"),),
    }
    return TrialSpec(**(given | changes))


BASELINE = spec("baseline", pruning=None, cuts=(Cut(keep=Energy(0.8)),), score_uncut=True)


def run(folder, wanted):
    """The reports and the result."""
    *reports, result = trial.run(wanted, folder)
    assert isinstance(result, TrialResult)
    assert all(isinstance(report, EpochReport) for report in reports)
    return reports, result


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with its baseline and one trial that started from it."""
    folder = RunFolder.create(tmp_path_factory.mktemp("finished") / "run")
    for wanted in (BASELINE, spec("0", start="baseline")):
        _, result = run(folder, wanted)
        assert result.failed is None
        for point in result.points:
            append_record(folder.points, point)
    return folder


def without_time(result):
    points = tuple(dataclasses.replace(point, seconds=0.0) for point in result.points)
    return dataclasses.replace(result, points=points, seconds=0.0)


def test_every_image_of_every_epoch_is_told_and_changes_nothing(folder, tmp_path):
    unheard = RunFolder.create(tmp_path / "unheard")
    _, expected = run(unheard, spec())
    told = []
    with heard(told.append):
        _, found = run(folder, spec())
    assert without_time(found) == without_time(expected)
    saved, again = (place.trial("0").weights.read_bytes() for place in (folder, unheard))
    assert saved == again
    images = [(s.epoch, s.done, s.total) for s in told if s.what == "training"]
    assert images == [((e, 3), 50 * n, 300) for e in (1, 2, 3) for n in range(7)]
    assert {"validation", "calibration", "decomposition"} <= {step.what for step in told}


def test_a_standing_is_the_point_that_a_training_ended_there_would_be(folder):
    training = dataclasses.replace(TRAINING, schedule="constant")
    images = {"screening_images": 10_000}
    reports, whole = run(folder, spec("0", training=training, rungs=(1, 2), **images))
    assert [report.rung_score is not None for report in reports] == [True, True, False]
    assert folder.trial("0").read_epochs() == reports
    for epochs in (1, 2):
        ended = dataclasses.replace(training, epochs=epochs)
        (point,) = run(folder, spec(str(epochs), training=ended))[1].points
        rung_score = reports[epochs - 1].rung_score
        assert (rung_score.metric, rung_score.speedup) == (point.score.value, point.speedup)
        assert rung_score.parameters == point.parameters
    _, without = run(folder, spec("4", training=training))
    assert whole.points[0].loss == without.points[0].loss, "looking changes nothing"


def test_a_trial_reports_every_epoch_and_ends_with_a_point(folder):
    reports, result = run(folder, spec())
    assert [report.epoch for report in reports] == [1, 2, 3]
    (point,) = result.points
    assert (point.id, point.role, point.score.images) == ("0", "trial", 100)
    assert point.speedup > 1
    assert point.score == share(round(point.score.value * point.score.images), point.score.images)
    assert point.batch_norm == "re-estimated on 300 training images"
    assert not folder.trial("0").checkpoint.exists()


@pytest.mark.parametrize(
    ("epochs_before", "changes", "own"),
    [
        (1, {}, {}),
        (2, {}, {}),
        (1, {"precision": "bfloat16", "channels_last": True}, {}),
        (1, {}, {"scheme": "per-layer", "calibration_images": 40, "calibration_every": 2}),
    ],
)
def test_a_resumed_trial_gives_what_an_uninterrupted_one_gives_bit_for_bit(
    tmp_path, epochs_before, changes, own
):
    whole = RunFolder.create(tmp_path / "whole")
    parts = RunFolder.create(tmp_path / "parts")
    wanted = spec(
        training=dataclasses.replace(TRAINING, **changes),
        pruning=dataclasses.replace(PRUNING, **own),
    )
    _, expected = run(whole, wanted)
    started = trial.run(wanted, parts)
    for _ in range(epochs_before):
        next(started)
    started.close()  # as a kill would leave it: a checkpoint and no result
    reports, result = run(parts, wanted)
    again = list(range(epochs_before, 4))
    assert [report.epoch for report in reports] == again, "it says where it stood"
    assert without_time(result) == without_time(expected)
    for path in ("weights", "epochs"):
        assert getattr(whole.trial("0"), path).exists()
    assert whole.trial("0").weights.read_bytes() == parts.trial("0").weights.read_bytes()
    losses = [[r.loss for r in f.trial("0").read_epochs()] for f in (whole, parts)]
    assert losses[0] == losses[1]


def test_half_precision_is_of_passes_alone(finished, tmp_path):
    folder = RunFolder(path=shutil.copytree(finished.path, tmp_path / "run"))
    training = dataclasses.replace(TRAINING, epochs=1, precision="bfloat16")
    wanted = spec("1", start="baseline", training=training, distillation=Distillation())
    begun = trial.setup.begin(wanted, folder)
    kinds = set()
    begun.network.conv1.register_forward_hook(
        lambda module, _, found: kinds.add((module.training, found.dtype))
    )
    for _ in train(begun.network, begun.training(training)):
        assert {p.grad.dtype for p in begun.network.parameters()} == {torch.float32}
    assert kinds == {(True, torch.bfloat16), (False, torch.float32)}


@pytest.mark.parametrize("moment", ["append_record", "save_checkpoint"])
def test_no_rung_is_lost_whenever_a_trial_is_killed(folder, monkeypatch, moment):
    where = "trp_search.runs.trial" if moment == "append_record" else "trp_search.training.loop"
    with monkeypatch.context() as patch:
        patch.setattr(f"{where}.{moment}", killed)
        with pytest.raises(KeyboardInterrupt):
            run(folder, spec(rungs=(1, 2)))
    reports, _ = run(folder, spec(rungs=(1, 2)))
    assert [report.epoch for report in reports] == [1, 2, 3]
    kept = folder.trial("0").read_epochs()
    assert [report.rung_score is not None for report in kept] == [True, True, False]


def killed(*_):
    raise KeyboardInterrupt


def test_a_network_can_learn_from_the_baselines_answers_alone(finished, tmp_path):
    folder = RunFolder(path=shutil.copytree(finished.path, tmp_path / "run"))
    patient = dataclasses.replace(TRAINING, epochs=6)
    agreement = []
    for weight in (0.0, 1.0):
        asked = Distillation(weight=weight, temperature=1.0) if weight else None
        run(folder, spec(f"{weight:g}", pruning=None, distillation=asked, training=patient))
        agreement.append(agreeing(folder, f"{weight:g}"))
    assert agreement[1] > agreement[0]


def agreeing(folder, name):
    """How many validation images the trial's network and the baseline put in the same class."""
    splits = data.load(WORKLOAD.data, split_seed=0, outside_weights=False, device="cpu")
    two = [networks.trained(folder, one) for one in (name, "baseline")]
    with torch.no_grad():
        return sum(
            int((two[0](images).argmax(1) == two[1](images).argmax(1)).sum())
            for images, _ in splits.validation.batches(64)
        )


def test_a_resumed_distillation_gives_what_an_uninterrupted_one_gives(finished, tmp_path):
    wanted = spec("1", distillation=Distillation())
    weights = []
    for killed_after in (0, 1):
        folder = RunFolder(path=shutil.copytree(finished.path, tmp_path / f"{killed_after}"))
        started = trial.run(wanted, folder)
        for _ in range(killed_after):
            next(started)
        started.close()
        run(folder, wanted)
        weights.append(folder.trial("1").weights.read_bytes())
    assert weights[0] == weights[1]


def test_a_teacher_that_is_missing_is_the_trials_failure(folder):
    _, result = run(folder, spec(distillation=Distillation()))
    assert "baseline/weights.safetensors" in result.failed


def test_a_baseline_that_was_trained_again_is_read_again(finished, tmp_path):
    folder = RunFolder(path=shutil.copytree(finished.path, tmp_path / "run"))
    wanted = spec("1", start="baseline")
    first = trial.setup.start(wanted, folder).state_dict()
    other = spec("baseline", pruning=None, cuts=(), seed=9)
    shutil.rmtree(folder.trial("baseline").path)
    run(folder, other)
    second = trial.setup.start(wanted, folder).state_dict()
    assert not all(torch.equal(one, second[name]) for name, one in first.items())


def test_a_trial_leaves_the_baseline_that_others_start_from(finished, tmp_path):
    folder = RunFolder(path=shutil.copytree(finished.path, tmp_path / "run"))
    wanted = spec("1", start="baseline")
    before = {k: v.clone() for k, v in trial.setup.baseline(wanted, folder).state_dict().items()}
    run(folder, wanted)
    after = trial.setup.baseline(wanted, folder).state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_never_without_a_nuclear_term_is_plain_training_bit_for_bit(tmp_path):
    plain = RunFolder.create(tmp_path / "plain")
    never = RunFolder.create(tmp_path / "never")
    run(plain, spec(pruning=None))
    run(never, spec(pruning=Pruning(period=None)))
    assert plain.trial("0").weights.read_bytes() == never.trial("0").weights.read_bytes()


def test_a_finished_trial_is_not_trained_again(folder):
    _, first = run(folder, spec())
    written = folder.trial("0").weights.stat().st_mtime_ns
    reports, second = run(folder, spec())
    assert reports == []
    assert second == first
    assert folder.trial("0").weights.stat().st_mtime_ns == written


def test_a_loss_that_is_not_finite_is_a_diverged_trial_without_a_point(folder):
    wild = dataclasses.replace(TRAINING, learning_rate=1e8)
    _, result = run(folder, spec(training=wild))
    assert result.points == ()
    assert result.failed is None
    assert "not finite" in result.diverged


@pytest.mark.parametrize("method", ["trp", "plain"])
def test_a_budget_out_of_reach_is_told_from_other_failures(folder, method):
    keep = Speedup(5000.0)
    cuts = (Cut(scheme="spatial", keep=keep, layers="all"),)
    pruning = dataclasses.replace(PRUNING, keep=keep) if method == "trp" else None
    _, result = run(folder, spec(method=method, pruning=pruning, cuts=cuts))
    assert "5000x cannot be reached" in result.failed
    assert result.out_of_reach


def test_what_a_trial_raises_is_its_result(folder):
    lost = Workload(network=NetworkSpec(name="no_such_network"), data=WORKLOAD.data)
    _, result = run(folder, spec(workload=lost))
    assert "no_such_network" in result.failed
    assert not result.out_of_reach
    assert result.points == ()


def test_a_batch_larger_than_the_data_says_so(folder):
    _, result = run(folder, spec(training=dataclasses.replace(TRAINING, batch_size=301)))
    assert result.failed == "training.batch_size: 301 is more than the 300 training images"


def test_a_trial_starts_from_the_baseline(finished):
    reports = finished.trial("0").read_epochs()
    plain = finished.trial("baseline").read_epochs()
    assert reports[0].loss < plain[0].loss


def test_the_baseline_is_scored_uncut_and_at_its_controls(finished):
    points = {point.id: point for point in finished.read_points()}
    assert points["baseline"].role == "baseline"
    assert points["baseline"].speedup == 1
    assert points["plain-channel-0.8"].role == "control"


def of_ranks(folder, *vectors):
    origin = folder.trial("0").read_spec()
    cuts = tuple(dataclasses.replace(origin.cuts[0], keep=Ranks(vector)) for vector in vectors)
    parts = {"training": None, "pruning": None, "cuts": cuts}
    return spec("ranks-0-a", kind="ranks", weights_of="0", **parts)


def test_a_batch_of_ranks_makes_points_of_the_trial_whose_weights_it_cuts(tmp_path, finished):
    folder = RunFolder(path=shutil.copytree(finished.path, tmp_path / "run"))
    own = folder.point("0")
    ranks = {layer.name: layer.rank for layer in own.layers if layer.rank}
    first = next(iter(ranks))
    reports, result = run(folder, of_ranks(folder, ranks, {first: 1}, {"nowhere": 2}))
    assert reports == []
    same, other = result.points
    assert {(p.trial, p.role) for p in result.points} == {("0", "derived")}
    assert (same.score, same.loss, same.macs) == (own.score, own.loss, own.macs)
    assert [(x.name, x.rank) for x in other.layers if x.rank] == [(first, 1)]
    assert list(result.refused.values()) == [
        "ranks: 'nowhere' cannot be factored: there is no such convolution or linear layer"
    ]
    for point in result.points:
        network = networks.network_of(folder, point)
        assert count_of(network) == point.parameters
    _, again = run(folder, of_ranks(folder))
    assert again == result, "a batch that ended is not scored again"


def count_of(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_a_refit_trains_on_validation_too_and_is_scored_on_test(finished):
    *_, result = refit(finished, "0")
    (point,) = result.points
    assert (point.id, point.role) == ("refit-0", "refit")
    assert point.batch_norm == "re-estimated on 400 training images"
    assert finished.read_tests()["refit-0"].score.images == 100
    assert [p.id for p in finished.read_points()].count("refit-0") == 1


def test_a_refit_learns_from_the_baseline_that_was_refitted(tmp_path, finished):
    folder = RunFolder(path=shutil.copytree(finished.path, tmp_path / "run"))
    place = folder.trial("0")
    asked = dataclasses.replace(place.read_spec(), distillation=Distillation())
    write_whole(place.spec, to_json(asked))
    folder.trial("baseline").weights.unlink()
    *_, result = refit(folder, "0")
    assert [point.id for point in result.points] == ["refit-0"]


def test_a_refit_does_not_look_where_it_stands(tmp_path, finished):
    folder = RunFolder(path=shutil.copytree(finished.path, tmp_path / "run"))
    place = folder.trial("0")
    write_whole(place.spec, to_json(dataclasses.replace(place.read_spec(), rungs=(1, 2))))
    *reports, _ = refit(folder, "0")
    assert all(report.rung_score is None for report in reports)


def test_only_a_trials_point_can_be_refitted(finished):
    with pytest.raises(InputError, match="a baseline point has no setting to refit"):
        next(iter(refit(finished, "baseline")))


def test_the_number_of_threads_is_the_specifications_and_is_restored(folder):
    before = torch.get_num_threads()
    started = trial.run(spec(threads=before + 1), folder)
    next(started)
    assert torch.get_num_threads() == before + 1
    started.close()
    assert torch.get_num_threads() == before


def test_a_refit_that_failed_is_tried_again(tmp_path, finished):
    folder = RunFolder(path=tmp_path / "copy")
    shutil.copytree(finished.path, folder.path)
    shutil.rmtree(folder.trial("refit-0").path, ignore_errors=True)
    failed = TrialResult(trial="refit-0", points=(), failed="no disk")
    write_whole(folder.trial("refit-0").result, to_json(failed))
    *_, result = refit(folder, "0")
    assert result.ended_well
