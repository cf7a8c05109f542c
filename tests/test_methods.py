"""Every method from a line of YAML to points that load, by way of the trial that a search runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from trp_search.cli import main
from trp_search.errors import InputError
from trp_search.export.bundle import read_architecture, read_card
from trp_search.export.evaluate import evaluate_bundle
from trp_search.export.load import load
from trp_search.export.write import export_point
from trp_search.methods import METHODS
from trp_search.records import Energy, Point, Speedup, TrialResult, TrialSpec
from trp_search.runs import networks, setup, trial
from trp_search.runs.confirm import confirm
from trp_search.runs.refit import refit
from trp_search.scoring.candidate import Cuts, cost_of
from trp_search.scoring.survey import check_methods
from trp_search.space import SearchSpace, load_space
from trp_search.space.warm_start import setting_of
from trp_search.store import FORMAT, RunFolder, write_whole
from trp_search.tasks import TASKS

pytestmark = pytest.mark.usefixtures("verified_here")

TASK = TASKS["classification"]

WORKLOAD = {
    "network": "small_resnet",
    "data": {"name": "digits", "subset": 400, "heldout_subset": 100, "validation": 0.25},
}
TRAINING = {"epochs": 2, "batch_size": 50, "learning_rate": 0.05}
OWN = {
    "nuclear": {"nuclear_weight": 2e-4, "period": 5},
    "plain": {"reconstruct": "relu", "calibration_images": 100},
    "decomposable": {"joint_rank_min": 2, "joint_highest": 0.5},
    "ddlr-style": {"error": 0.3, "calibration_images": 100},
    "net-trim": {"error": 0.3, "calibration_images": 100},
}


@pytest.fixture
def make_space(tmp_path: Path) -> Callable[..., SearchSpace]:
    """A space on the digits with these entries."""

    def make(trials: int = 1, **entries: object) -> SearchSpace:
        raw = {"workload": WORKLOAD, "training": TRAINING, "trials": trials, "space": entries}
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump(raw | {"extra_cuts": {"speedups": [3], "energies": []}}))
        return load_space(path)

    return make


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with the baseline trained."""
    folder = RunFolder.create(tmp_path_factory.mktemp("methods") / "run")
    write_whole(folder.environment, json.dumps({"format": FORMAT}))
    path = folder.path / "space.yaml"
    path.write_text(yaml.safe_dump({"workload": WORKLOAD, "training": TRAINING, "trials": 1}))
    spec = dataclasses.replace(load_space(path).baseline_spec(), cuts=(), screening=())
    *_, result = trial.run(spec, folder)
    assert isinstance(result, TrialResult)
    folder.add_points(result.points)
    return folder


def called(spec: TrialSpec, name: str) -> TrialSpec:
    return dataclasses.replace(spec, name=name, number=None)


def ran(space: SearchSpace, folder: RunFolder, name: str) -> TrialResult:
    """The result of the space's first trial under `name`, its points kept."""
    drawn = {p.name: (p.choices or (p.low,))[0] for p in space.parameters()}
    *_, result = trial.run(called(space.trial_spec(drawn, number=0), name), folder)
    assert isinstance(result, TrialResult)
    assert result.ended_well, result.why_not
    folder.add_points(result.points)
    return result


def assert_loads_as_scored(folder: RunFolder, point: Point) -> None:
    """Its weights fit the layers that it lists, and it classifies as many images as it says."""
    network = networks.network_of(folder, point)
    spec = folder.trial(point.trial).read_spec()
    splits = setup.splits_of(spec, folder)
    images, labels = next(iter(splits.validation.batches(point.score.images)))
    with torch.no_grad():
        correct = int((network(images).argmax(1) == labels).sum())
    assert (
        abs(correct - point.score.value * point.score.images) < 1.5
    )  # sums of other batches round otherwise
    assert cost_of(network, splits, layers=point.layers).macs == point.macs


@pytest.mark.parametrize("method", list(METHODS))
def test_a_method_is_a_line_of_the_space_and_gives_a_point_that_loads(
    method: str, make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    given = OWN.get(method, {})
    name = "cut_speedup" if method in ("elastic", "slimmable") else "speedup"
    amount = {} if "error" in given else {name: 2.0}
    space = make_space(method=method, layers="all", **given, **amount)
    result = ran(space, plain_run, method)
    own = result.own
    assert (own.id, own.role, own.settings["method"]) == (method, "trial", method)
    assert any(layer.scheme is not None for layer in own.layers)
    assert own.speedup > 1.0 if amount == {} else 1.98 <= own.speedup <= 2.2
    assert_loads_as_scored(plain_run, own)


def test_fine_tuning_adds_a_point_and_keeps_the_one_without_it(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    space = make_space(method="plain", speedup=2.5, layers="all", fine_tuning_epochs=2)
    result = ran(space, plain_run, "tuned")
    untuned, tuned = result.points
    assert (untuned.id, untuned.role) == ("tuned-untuned", "derived")
    assert (tuned.id, tuned.role) == ("tuned", "trial")
    assert (untuned.settings["fine_tuning_epochs"], tuned.settings["fine_tuning_epochs"]) == (0, 2)
    assert untuned.macs == tuned.macs
    assert tuned.loss < untuned.loss
    assert [r.epoch for r in plain_run.trial("tuned").read_epochs()] == [1, 2]
    assert not plain_run.trial("tuned").fine_tuning.exists()
    for point in result.points:
        assert_loads_as_scored(plain_run, point)


def test_fine_tuning_that_was_killed_goes_on_to_the_same_weights(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    space = make_space(method="tucker", speedup=2.0, layers="all", fine_tuning_epochs=3)
    whole = ran(space, plain_run, "whole")
    spec = called(space.trial_spec({}, number=0), "halted")
    going = trial.run(spec, plain_run)
    next(going)
    going.close()
    assert plain_run.trial("halted").fine_tuning.exists()
    *_, result = trial.run(spec, plain_run)
    assert isinstance(result, TrialResult)
    assert [p.loss for p in result.points] == [p.loss for p in whole.points]
    assert [r.epoch for r in plain_run.trial("halted").read_epochs()] == [1, 2, 3]


def test_fine_tuning_leaves_zeros_of_a_sparse_layer_zero(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    given = OWN["net-trim"] | {"fine_tuning_epochs": 1}
    result = ran(make_space(method="net-trim", **given), plain_run, "sparse")
    before, after = (networks.network_of(plain_run, point) for point in result.points)
    name = next(x.name for x in result.points[0].layers if x.scheme == "sparse")
    weights = [net.get_submodule(name).weight for net in (before, after)]
    assert (weights[0] == 0).any()
    assert torch.equal(weights[0] == 0, weights[1] == 0)
    assert not torch.equal(*weights)


def test_a_bundle_with_zeros_costs_what_its_point_does(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder, tmp_path: Path
):
    space = make_space(method="net-trim", **OWN["net-trim"])
    point = ran(space, plain_run, "zeros").own
    write_whole(plain_run.search, space.dump())
    bundle = export_point(plain_run, point.id, tmp_path / "bundle")
    path = bundle / "architecture.json"
    values = json.loads(path.read_text())
    for layer in values["layers"]:
        layer |= {"macs": 0, "parameters": 0}  # what a bundle says of itself counts for nothing
    path.write_text(json.dumps(values))
    found = evaluate_bundle(bundle)
    assert (found.macs, found.parameters) == (point.macs, point.parameters)


def test_a_bundle_of_a_pruned_network_is_built_without_torch_pruning(
    make_space: Callable[..., SearchSpace],
    plain_run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    given = {"importance": "lasso", "calibration_images": 100, "fine_tuning_epochs": 1}
    space = make_space(method="prune", speedup=2.0, **given)
    untuned, tuned = ran(space, plain_run, "lean").points
    assert untuned.widths == tuned.widths
    assert tuned.loss < untuned.loss
    write_whole(plain_run.search, space.dump())
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    bundle = export_point(plain_run, tuned.id, tmp_path / "bundle")
    found = evaluate_bundle(bundle)
    assert (found.macs, found.parameters) == (tuned.macs, tuned.parameters)
    path = bundle / "architecture.json"
    values = json.loads(path.read_text())
    name, (read, written) = next(iter(values["widths"].items()))
    for widths, line in (
        ([read - 1, written], "weights.safetensors: not this network's weights"),
        ([read, 10**9], "cannot have"),
        ([read, 0], "widths"),
    ):
        path.write_text(json.dumps(values | {"widths": values["widths"] | {name: widths}}))
        with pytest.raises(InputError, match=line):
            load(bundle)


def test_the_command_prunes_a_run_s_baseline(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    write_whole(plain_run.search, make_space().dump())
    asked = ["cut", str(plain_run.path), "--trial", "baseline", "--speedup", "1.5"]
    assert main([*asked, "--scheme", "prune", "--layers", "all"]) == 0
    assert "Point plain-prune-1.5x-magnitude: 1.5" in capsys.readouterr().out
    assert_loads_as_scored(plain_run, plain_run.point("plain-prune-1.5x-magnitude"))
    assert main([*asked, "--importance", "lasso"]) == 2
    assert "importance goes with scheme prune" in capsys.readouterr().err


def test_any_size_is_cut_later_from_one_decomposable_training(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    given = OWN["decomposable"]
    space = make_space(method="decomposable", speedup=2.0, layers="all", **given)
    result = ran(space, plain_run, "curve")
    further = {"curve-uncut", "curve-channel-3x-pooled-weights-only"}
    assert {p.id for p in result.points} == {"curve"} | further
    uncut = next(point for point in result.points if point.cut is None)
    assert (uncut.role, uncut.speedup, uncut.layers) == ("derived", 1.0, ())
    assert_loads_as_scored(plain_run, uncut)
    cut = dataclasses.replace(result.own.cut, keep=Speedup(1.5))
    again = trial.cut_again(plain_run, "curve", cut)
    assert 1.49 <= again.speedup < 1.6
    plain_run.add_points([again])
    assert_loads_as_scored(plain_run, again)


def test_the_command_cuts_a_decomposable_trial_as_it_was_trained(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    given = OWN["decomposable"]
    space = make_space(method="decomposable", scheme="spatial", energy=0.9, layers="all", **given)
    ran(space, plain_run, "sizes")
    write_whole(plain_run.search, space.dump())
    assert main(["cut", str(plain_run.path), "--trial", "sizes", "--speedup", "2.5"]) == 0
    assert "Point sizes-spatial-2.5x-pooled-weights-only: 2.5" in capsys.readouterr().out
    point = plain_run.point("sizes-spatial-2.5x-pooled-weights-only")
    assert (point.cut.allocation, point.cut.calibration_images) == ("pooled", 0)
    assert_loads_as_scored(plain_run, point)


def test_the_bundle_of_a_decomposable_network_in_full_is_cut_to_any_size(
    make_space: Callable[..., SearchSpace],
    plain_run: RunFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    given = OWN["decomposable"] | {"scheme": "spatial", "layers": "all", "energy": 0.9}
    space = make_space(method="decomposable", **given)
    ran(space, plain_run, "full")
    write_whole(plain_run.search, space.dump())
    bundle = export_point(plain_run, "full-uncut", tmp_path / "full")
    assert main(["cut", str(bundle), "--speedup", "2.5", "--data", str(plain_run.search)]) == 0
    card = read_card(tmp_path / "full-cut")
    assert 2.49 < card.point.speedup < 2.6
    assert (card.point.cut.scheme, card.point.cut.allocation) == ("spatial", "pooled")
    before, after = (read_architecture(tmp_path / name) for name in ("full", "full-cut"))
    assert (after.mean, after.std) == (before.mean, before.std)
    network, uncut = load(tmp_path / "full-cut"), load(bundle)
    factored = [x.name for x in card.point.layers if x.scheme is not None]
    pair = network.get_submodule(factored[0])
    rank = pair[0].out_channels
    kernel = uncut.get_submodule(factored[0]).weight
    matrix = kernel.permute(1, 2, 0, 3).flatten(2).flatten(0, 1)
    found = (
        pair[0].weight.squeeze(3).flatten(1).T
        @ pair[1].weight.squeeze(2).permute(1, 0, 2).flatten(1)
    ).detach()
    best = torch.linalg.svdvals(matrix.detach())[rank:].norm()
    torch.testing.assert_close((found - matrix).norm(), best, rtol=1e-3, atol=1e-4)
    capsys.readouterr()
    assert main(["cut", str(tmp_path / "full-cut"), "--speedup", "3"]) == 2
    assert "its network is cut already" in capsys.readouterr().err
    written = (bundle / "architecture.json").read_text()
    (bundle / "architecture.json").write_text(written.replace("small_resnet", "mine:network"))
    assert main(["cut", str(bundle), "--speedup", "3"]) == 2
    assert "'mine:network' is code that a bundle may not have" in capsys.readouterr().err


def test_fine_tuning_that_diverges_leaves_the_cut_before_it(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    space = make_space(
        method="plain",
        speedup=2.5,
        layers="all",
        fine_tuning_epochs=1,
        fine_tuning_learning_rate=1e30,
    )
    *_, result = trial.run(called(space.trial_spec({}, number=0), "burst"), plain_run)
    assert result.ending == "diverged"
    assert result.own is None
    assert [point.id for point in result.points] == ["burst-untuned"]
    plain_run.add_points(result.points)
    assert_loads_as_scored(plain_run, result.points[0])
    again = trial.cut_again(
        plain_run, "burst", dataclasses.replace(result.points[0].cut, keep=Speedup(2))
    )
    assert again.id == "burst-channel-2x-weights-only"


@pytest.mark.parametrize(
    ("method", "own"), [("plain", {"fine_tuning_epochs": 1}), ("decomposable", {}), ("trp", {})]
)
def test_whatever_trains_learns_from_the_baseline(
    method: str, own: dict[str, int], make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    weights = []
    for share in (0, 1):
        space = make_space(method=method, speedup=2.5, layers="all", distillation=share, **own)
        point = ran(space, plain_run, f"{method}-learned-{share}").own
        weights.append(plain_run.weights(point).read_bytes())
        assert point.settings["distillation"] == share
    assert weights[0] != weights[1]


def test_a_refit_is_fine_tuned_where_the_point_was(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    space = make_space(method="plain", speedup=2.5, layers="all", fine_tuning_epochs=1)
    ran(space, plain_run, "again")
    write_whole(plain_run.search, space.dump())
    *_, tuned = refit(plain_run, "again")
    assert tuned.own.settings["fine_tuning_epochs"] == 1
    *_, untuned = refit(plain_run, "again-untuned")
    assert [point.id for point in untuned.points] == ["refit-again-untuned"]
    assert not untuned.own.settings.get("fine_tuning_epochs")


def test_a_repeat_tells_a_cut_from_its_fine_tuning(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    space = make_space(method="plain", speedup=2.5, layers="all", fine_tuning_epochs=1)
    points = ran(space, plain_run, "seeds").points
    spec = dataclasses.replace(
        plain_run.trial("seeds").read_spec(), kind="confirm", name="confirm-seeds-1"
    )
    *_, result = confirm(plain_run, spec, list(points))
    repeats = plain_run.read_repeats()
    for point, again in zip(points, result.points, strict=True):
        assert repeats[point.id][0].score == again.score
    assert len({again.score for again in result.points}) == 2


def test_a_network_without_linear_layers_leaves_ddlr_nothing_to_do(
    make_space: Callable[..., SearchSpace], plain_run: RunFolder
):
    space = make_space(method="ddlr-style", error=0.1)
    spec = called(space.trial_spec({}, number=0), "none")
    cut = spec.cuts[0]
    convolutional = torch.nn.Sequential(
        torch.nn.Conv2d(1, 10, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    splits = setup.splits_of(spec, plain_run)
    with pytest.raises(InputError, match="no linear layer: nothing to do"):
        Cuts(convolutional, splits, TASK).score(cut)
    mixed = make_space(trials=2, method=["plain", "net-trim"], error=0.1)
    with pytest.raises(InputError, match="net-trim: the network has no linear layer: nothing"):
        check_methods(mixed, convolutional, torch.zeros(1, 1, 8, 8))


def test_what_a_method_does_not_read_is_neither_drawn_nor_shown(
    make_space: Callable[..., SearchSpace],
):
    space = make_space(
        trials=4,
        method=["trp", "tucker", "ddlr-style"],
        scheme=["channel", "spatial"],
        energy={"low": 0.8, "high": 0.95},
        error={"low": 0.05, "high": 0.3},
        period=[5, 10],
    )
    parameters = {p.name: p for p in space.parameters()}
    assert list(parameters)[:2] == ["method", "scheme"]
    assert parameters["method"].methods is None
    assert parameters["scheme"].methods == parameters["period"].methods == {"trp"}
    assert parameters["energy"].methods == {"trp", "tucker"}
    assert parameters["error"].methods == {"ddlr-style"}
    drawn = {"method": "tucker", "energy": 0.9}
    spec = space.trial_spec(drawn, number=0)
    assert (spec.training, spec.pruning, spec.start) == (None, None, "baseline")
    assert (spec.cuts[0].scheme, spec.cuts[0].keep) == ("tucker", Energy(0.9))
    shown = setting_of(space, spec)
    assert shown == {"method": "tucker", "energy": 0.9}


def test_every_method_spends_the_same_epochs_in_all(make_space: Callable[..., SearchSpace]):
    space = make_space(
        trials=4,
        method=["trp", "decomposable", "plain"],
        fine_tuning_epochs=[0, 2],
        training={"epochs": 8},
    )

    def spent(method: str, tuning: int) -> tuple[int | None, int]:
        spec = space.trial_spec({"method": method, "fine_tuning_epochs": tuning}, number=0)
        return spec.training and spec.training.epochs, spec.epochs

    assert (spent("trp", 0), spent("trp", 2)) == ((8, 8), (6, 8))
    assert (spent("decomposable", 0), spent("decomposable", 2)) == ((4, 4), (3, 5))
    assert spent("plain", 2) == (None, 2)


def test_a_trial_s_epochs_in_all_begin_another_search(make_space: Callable[..., SearchSpace]):
    space = make_space(
        trials=4, method="decomposable", fine_tuning_epochs=[0, 2], training={"epochs": [4, 8]}
    )
    drawn = {"fine_tuning_epochs": 2, "epochs": 8}
    spec = space.trial_spec(drawn, number=0)
    assert drawn.items() <= setting_of(space, spec).items()


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ({"method": "ddlr-style"}, "space.error: is missing, and method ddlr-style needs it"),
        (
            {"method": "decomposable", "scheme": "decoupled"},
            "space.scheme: method decomposable takes channel and spatial, not decoupled",
        ),
        (
            {"method": "decomposable", "joint_lowest": 0.5, "joint_highest": 0.4},
            "space.joint_lowest: can be 0.5, above joint_highest, which can be 0.4",
        ),
        (
            {"method": "decomposable", "joint_lowest": 0.5},
            "space.joint_lowest: can be 0.5, above joint_highest, which can be 0.25",
        ),
        (
            {"method": "decomposable", "joint_highest": 0.005},
            "space.joint_lowest: can be 0.01, above joint_highest, which can be 0.005",
        ),
        (
            {"method": ["trp", "nuclear"]},
            "space.nuclear_weight: is missing or 0, and method nuclear needs it",
        ),
        (
            {"method": "nuclear", "nuclear_weight": 1e-3, "period": "never"},
            "space.period: is never, when the term of method nuclear would not act",
        ),
        (
            {"method": ["plain", "trp"], "fine_tuning_epochs": [0, 3], "training": {"epochs": 3}},
            "space.fine_tuning_epochs: 3 leaves nothing of a trial's 3 epochs",
        ),
        (
            {"cut_evbmf": True, "cut_energy": 0.5},
            "space: takes one of cut_energy and cut_evbmf",
        ),
        ({"method": "trd"}, "space.method: 'trd' is not one of trp, nuclear, elastic, plain"),
    ],
)
def test_what_no_method_could_use_is_one_line(
    entries: dict, line: str, make_space: Callable[..., SearchSpace]
):
    with pytest.raises(InputError, match=line.replace(".", r"\.")):
        make_space(**entries)
