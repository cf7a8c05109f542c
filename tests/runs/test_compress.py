import dataclasses
import json
import shutil

import pytest
import safetensors.torch
import torch
import yaml

from tests.runs import trained
from trp_search.errors import InputError
from trp_search.records import Cut, EpochReport, Pairs, Point, Speedup, TrialResult, to_json
from trp_search.runs import networks as stored
from trp_search.runs import trial
from trp_search.runs.compress import compress, fine_tuned, recut
from trp_search.space import Resources, changed
from trp_search.store import RunFolder, append_record, exclusive, write_whole
from trp_search.tasks import TASKS
from trp_search.tasks.task import threads
from trp_search.workloads import data

TASK = TASKS["classification"]
SPACE = yaml.safe_load(trained.SPACE)


def budget(speedup, **options):
    return Cut(scheme="per-layer", keep=Speedup(speedup), calibration_images=32, **options)


def kinds(items):
    return [type(item) for item in items]


@pytest.fixture(scope="module")
def first(space, tmp_path_factory):
    """A run that `compress` made, and what it yielded."""
    folder = RunFolder(path=tmp_path_factory.mktemp("compressed") / "run")
    return folder, list(compress(space, folder, budget(2.0)))


@pytest.fixture(scope="module")
def folder(first):
    return first[0]


@pytest.fixture(scope="module")
def searched(space, folder):
    """The same run with a trial, as a search leaves it."""
    *_, result = trial.run(space.trial_spec({}, number=0), folder)
    (point,) = result.points
    append_record(folder.points, point)
    return folder


def written(folder):
    """The ids on the lines of the run's list of points."""
    return [json.loads(line)["id"] for line in folder.points.read_text().splitlines()]


def test_the_baseline_is_trained_cut_and_kept_as_a_run(first):
    folder, items = first
    assert kinds(items) == [EpochReport, TrialResult, Point]
    point = items[-1]
    assert (point.id, point.role, point.trial) == ("plain-2x", "control", "baseline")
    assert 2 <= point.speedup <= 2.04
    assert [p.id for p in folder.read_points()][:2] == ["baseline", "plain-2x"]
    assert folder.report.is_file()
    assert RunFolder.open(folder.path) == dataclasses.replace(folder, path=folder.path.resolve())


def test_the_baseline_is_trained_on_all_cores(space, tmp_path):
    assert space.resources.cpus == 1
    folder = RunFolder(path=tmp_path / "run")
    training = compress(space, folder, budget(2.0))
    with threads(2):
        next(training)
        training.close()
    assert folder.trial("baseline").read_spec().threads == 2


def test_another_budget_trains_nothing_again(space, folder):
    before = folder.trial("baseline").weights.stat().st_mtime_ns
    items = list(compress(space, folder, budget(3.0)))
    assert kinds(items) == [TrialResult, Point]
    assert items[-1].id == "plain-3x"
    assert folder.trial("baseline").weights.stat().st_mtime_ns == before
    assert len(folder.trial("baseline").read_epochs()) == 1


def test_the_same_budget_is_listed_once_however_often_it_is_asked_for(space, folder):
    *_, again = compress(space, folder, budget(2.0))
    assert again == folder.point("plain-2x")
    assert written(folder).count("plain-2x") == 1
    assert written(folder).count("baseline") == 1


def test_its_network_loads_and_scores_the_same_again(first):
    folder, (*_, point) = first
    network = stored.network_of(folder, point)
    spec = folder.trial("baseline").read_spec()
    splits = data.load(spec.workload.data, split_seed=0, outside_weights=False, device="cpu")
    with threads(spec.threads):
        found = TASK.evaluate(network, splits.validation.batches(256))
    assert (found.score, found.loss) == (point.score, point.loss)
    assert sum(p.numel() for p in network.parameters()) == point.parameters


def test_a_folder_with_another_baseline_is_refused_and_left_alone(space, folder):
    other, before = changed(space, seed=5), folder.search.read_text()
    with pytest.raises(InputError) as caught:
        list(compress(other, folder, budget(2.0)))
    assert str(caught.value) == (
        f"{folder.path}: has another baseline; give another folder (--run)"
    )
    assert folder.search.read_text() == before


def test_what_does_not_touch_the_baseline_may_change(space, folder):
    other, before = space.model_copy(update={"trials": 7}), folder.search.read_text()
    assert kinds(compress(other, folder, budget(2.0))) == [TrialResult, Point]
    assert folder.search.read_text() == before


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(space, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already holds something"):
        list(compress(space, RunFolder(path=tmp_path), budget(2.0)))
    assert {path.name for path in tmp_path.iterdir()} <= {"notes.txt", ".lock"}


def test_a_budget_out_of_reach_is_told_before_anything_is_trained(space, tmp_path):
    folder = RunFolder(path=tmp_path / "run")
    best = r"the best is \d+\.\d+x while layers is kxk; all has more$"
    with pytest.raises(InputError, match=f"^speedup: 999x cannot be reached; {best}"):
        next(compress(space, folder, budget(999.0)))
    assert not folder.path.exists()


def test_a_budget_out_of_reach_of_some_layers_says_that_all_have_more(space, folder):
    with pytest.raises(InputError, match=r"x while layers is kxk; all has more$"):
        list(compress(space, folder, budget(90.0, layers="kxk")))
    assert "plain-90x" not in written(folder)


def test_a_space_for_a_gpu_is_compressed_where_there_is_none(space, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    training = dataclasses.replace(space.training, precision="bfloat16")
    own = {"resources": Resources(gpus=1), "training": training}
    folder = RunFolder(path=tmp_path / "run")
    items = list(compress(space.model_copy(update=own), folder, budget(2.0)))
    assert kinds(items) == [EpochReport, TrialResult, Point]
    found = folder.trial("baseline").read_spec()
    assert (found.device, found.training.precision) == ("cpu", "bfloat16")


def test_a_further_cut_of_a_trial_is_a_derived_point_that_is_listed_once(searched):
    weights = searched.trial("0").weights.read_bytes()
    point = recut(searched, "0", budget(3.0))
    assert (point.id, point.role, point.trial) == ("0-3x", "derived", "0")
    assert 3 <= point.speedup <= 3.06
    assert recut(searched, "0", budget(3.0)) == point == searched.point("0-3x")
    assert written(searched).count("0-3x") == 1
    assert searched.trial("0").weights.read_bytes() == weights
    network = stored.network_of(searched, searched.point("0-3x"))
    assert sum(p.numel() for p in network.parameters()) == point.parameters


def test_a_cut_whose_weights_a_search_removed_is_made_again(searched):
    point = recut(searched, "0", budget(3.5))
    kept = searched.weights(point).read_bytes()
    searched.weights(point).unlink()
    assert recut(searched, "0", budget(3.5)) == point
    assert searched.weights(point).read_bytes() == kept
    assert written(searched).count(point.id) == 1


def test_cuts_of_one_name_have_points_of_their_own(searched):
    usual, other = budget(2.5), dataclasses.replace(budget(2.5), layers="all")
    third = dataclasses.replace(other, batch_norm_images=7)
    found = [recut(searched, "0", cut) for cut in (usual, other, third, other)]
    assert [point.id for point in found] == ["0-2.5x", "0-2.5x-2", "0-2.5x-3", "0-2.5x-2"]
    assert [searched.point(point.id).cut for point in found] == [usual, other, third, other]
    for point in found:
        network = stored.network_of(searched, point)
        assert sum(p.numel() for p in network.parameters()) == point.parameters


def test_a_trials_own_cut_made_again_is_its_own_point(searched):
    own = searched.point("0")
    assert recut(searched, "0", own.cut) == own
    assert written(searched).count("0") == 1


def test_a_trial_that_trained_nothing_is_cut_by_its_own_scheme_alone(searched, tmp_path):
    run = RunFolder(path=shutil.copytree(searched.path, tmp_path / "run"))
    place = run.trial("0")
    spec = place.read_spec()
    own = dataclasses.replace(spec.cuts[0], scheme="tucker")
    as_if = dataclasses.replace(spec, method="tucker", training=None, cuts=(own,))
    write_whole(place.spec, to_json(as_if))
    why = "trial '0': its method, tucker, trains nothing before its cut; cut .* --trial baseline"
    with pytest.raises(InputError, match=why):
        recut(run, "0", budget(2.7))


def test_a_trial_that_is_not_there_is_named(folder):
    with pytest.raises(InputError, match="no trial '99' that ended well; ended: baseline"):
        recut(folder, "99", budget(2.0))


def test_a_run_in_use_is_refused(folder):
    with (
        exclusive(folder.lock, wait_seconds=0.0, holder=""),
        pytest.raises(InputError, match="another command is at work in this folder"),
    ):
        recut(folder, "baseline", budget(2.0))


def exported(folder, place):
    """The baseline's weights as a file of their own, and what it holds."""
    state = safetensors.torch.load_file(folder.trial("baseline").weights)
    safetensors.torch.save_file(state, place / "plain.safetensors")
    return place / "plain.safetensors", state


def brings(space, weights):
    """The space with a baseline that is brought along."""
    workload = dataclasses.replace(space.workload, weights=str(weights))
    return changed(space, workload=workload)


def test_weights_from_a_file_are_not_trained(space, folder, tmp_path):
    outside, state = exported(folder, tmp_path)
    brought = RunFolder(path=tmp_path / "run")
    items = list(compress(brings(space, outside), brought, budget(2.0)))
    assert items[0].failed is None
    assert kinds(items) == [TrialResult, Point]
    assert brought.trial("baseline").read_epochs() == []
    kept = safetensors.torch.load_file(brought.trial("baseline").weights)
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name], state[name]) for name in state)


def test_weights_that_changed_since_are_refused(space, folder, tmp_path):
    outside, state = exported(folder, tmp_path)
    brought, own = RunFolder(path=tmp_path / "run"), brings(space, outside)
    assert kinds(compress(own, brought, budget(2.0))) == [TrialResult, Point]
    assert kinds(compress(own, brought, budget(2.5))) == [TrialResult, Point]
    state["fc.weight"] += 1
    safetensors.torch.save_file(state, outside)
    with pytest.raises(InputError) as caught:
        list(compress(own, brought, budget(2.0)))
    assert str(caught.value) == (
        f"{brought.path}: has the network that {outside} held before; give another folder (--run)"
    )


def test_weights_that_are_missing_are_refused_before_anything_is_written(space, tmp_path):
    folder, without = RunFolder(path=tmp_path / "run"), brings(space, tmp_path / "none")
    with pytest.raises(InputError, match="is no file, and not torchvision or timm"):
        list(compress(without, folder, budget(2.0)))
    assert not folder.path.exists()


def test_a_baseline_that_diverged_is_tried_again(space, tmp_path):
    folder = RunFolder(path=tmp_path / "run")
    steep = dataclasses.replace(space.training, learning_rate=1e9)
    diverging = space.model_copy(update={"training": steep})
    for _ in range(2):
        *_, result = compress(diverging, folder, budget(2.0))
        assert result.ending == "diverged"
        assert folder.read_points() == []
        assert not folder.trial("baseline").result.exists()


def test_ranks_are_chosen_once_the_baseline_is_stored(space, folder):
    def chosen(cut):
        assert cut == asked
        assert folder.point("baseline")
        return found

    asked = budget(2.0)
    layer = folder.point("plain-2x").layers[-1].name
    found = dataclasses.replace(asked, keep=Pairs({layer: ("channel", 2)}), layers="all")
    *_, point = compress(space, folder, asked, chosen=chosen)
    assert point.cut == found
    assert [(x.name, x.scheme, x.rank) for x in point.layers if x.rank] == [(layer, "channel", 2)]


def test_a_cut_is_fine_tuned_as_a_trial_and_told_after_it(space, folder):
    cut = folder.point("plain-2x").cut
    items = list(fine_tuned(space, folder, cut, epochs=1))
    assert kinds(items) == [EpochReport, TrialResult, Point]
    point = items[-1]
    assert point.batch_norm == "as fine-tuned"
    ranks = [layer.ranks for layer in point.layers]
    assert ranks == [layer.ranks for layer in folder.point("plain-2x").layers]
    assert {p.id for p in items[-2].points} <= set(written(folder))
    assert stored.network_of(folder, point)
    assert list(fine_tuned(space, folder, cut, epochs=1)) == items[1:]


def test_cuts_of_one_name_are_fine_tuned_each(space, folder):
    one, other = budget(1.5), dataclasses.replace(budget(1.5), layers="all")
    found = [list(fine_tuned(space, folder, cut, epochs=1)) for cut in (one, other, one)]
    assert [kinds(items)[-1] for items in found] == [Point] * 3
    assert [items[-1].cut for items in found] == [one, other, one]
    assert [items[-1].trial for items in found] == [
        "tuned-1-1.5x",
        "tuned-1-1.5x-2",
        "tuned-1-1.5x",
    ]
