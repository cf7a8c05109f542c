"""What is refused before a search starts, and that nothing is left of it. No Ray."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from tests.runs.trained import begun
from trp_search.errors import InputError
from trp_search.records import Point, to_json
from trp_search.runs import setup
from trp_search.search import driver, start
from trp_search.search.readiness import check_ready
from trp_search.search.start import begun_with, new_search, resume_search
from trp_search.space import SearchSpace
from trp_search.store import RunFolder, append_record, write_whole

Space = Callable[..., SearchSpace]
NETWORK = "network: small_resnet"


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise InputError("address: refused")

    monkeypatch.setattr(driver.joining, "connected", refuse)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ([(NETWORK, f"weights: none.safetensors, {NETWORK}")], "workload.weights: 'none.safe"),
        ([(NETWORK, f"weights: torchvision, {NETWORK}")], "workload.weights: 'torchvision' has"),
        ([("batch_size: 64", "batch_size: 500")], "training.batch_size: 500 is more than the"),
        (
            [("training: {epochs: 1}", "training: {batch_size: {low: 8, high: 300}}")],
            "space.training.batch_size: 300 is more than the",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_folder_is_made(
    make_space: Space, tmp_path: Path, changes: list[tuple[str, str]], problem: str
):
    with pytest.raises(InputError) as caught:
        new_search(make_space(*changes), tmp_path / "new")
    assert str(caught.value).startswith(problem)
    assert not (tmp_path / "new").exists()


def test_weights_of_another_network_are_refused(make_space: Space, tmp_path: Path):
    weights = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"other": torch.zeros(1)}, weights)
    space = make_space((NETWORK, f"weights: {weights}, {NETWORK}"))
    with pytest.raises(InputError, match=r"workload\.weights: .* does not fit small_resnet"):
        new_search(space, tmp_path / "new")


@pytest.mark.parametrize("given", [{"trials": -1}, {"trials": 0}, {"concurrency": 0}])
def test_a_number_that_is_not_allowed_is_refused(make_space: Space, tmp_path: Path, given):
    with pytest.raises(InputError, match=r"is not (at least 1|above 0)"):
        new_search(make_space(), tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_a_resumed_search_is_checked_first(make_space: Space, folder: RunFolder, tmp_path: Path):
    text = make_space().dump().replace("name: digits", f"name: cifar10\n    root: {tmp_path}/none")
    write_whole(folder.search, text)
    with pytest.raises(InputError, match=r"workload\.data"):
        resume_search(folder)
    assert [path.name for path in folder.path.iterdir()] == ["search.yaml"]


@pytest.mark.parametrize("end", [InputError, KeyboardInterrupt])
def test_a_folder_in_which_no_search_could_start_is_removed(
    make_space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
):
    def stop(*_: object, **__: object) -> None:
        raise end("refused")

    monkeypatch.setattr(driver.joining, "connected", stop)
    with pytest.raises(end):
        new_search(make_space(), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    given = tmp_path / "given"
    given.mkdir()
    with pytest.raises(end):
        new_search(make_space(), given)
    assert list(given.iterdir()) == []


def test_a_trained_baseline_needs_no_first_weights(make_space: Space, tmp_path: Path):
    weights = tmp_path / "first.safetensors"
    space = make_space((NETWORK, f"weights: {weights}, {NETWORK}"))
    safetensors.torch.save_file(setup.untrained(make_space().baseline_spec()).state_dict(), weights)
    run = begun(space, tmp_path / "run")
    weights.unlink()
    assert check_ready(space, run=run).startswith("layers: ")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (("subset: 200", "subset: 199"), "the images, or their split, changed since the run began"),
        ((NETWORK, "network: resnet20"), "weights.safetensors: not this network's weights"),
    ],
)
def test_a_resumed_search_has_the_images_and_the_network_that_it_began_with(
    make_space: Space, tmp_path: Path, changes: tuple[str, str], problem: str
):
    run = begun(make_space(), tmp_path / "run")
    with pytest.raises(InputError, match=problem):
        check_ready(make_space(changes), run=run)


class Live(nn.Sequential):
    """A network that a person has."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))


def test_a_live_networks_weights_go_into_the_run_and_are_where_trials_start(
    make_space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    live, started = Live(), []

    def begins(space: SearchSpace, folder: RunFolder, **_: object) -> None:
        network = setup.start(space.baseline_spec(), folder)
        started.append(network.state_dict())
        raise InputError("enough")

    monkeypatch.setattr(start, "run_search", begins)
    with pytest.raises(InputError, match="enough"):
        new_search(
            make_space(("start: scratch", "start: baseline")), tmp_path / "new", network=live
        )
    assert all(torch.equal(value, started[0][key]) for key, value in live.state_dict().items())
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_a_lock_alone_is_empty(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    assert RunFolder.create(tmp_path / "run").path == tmp_path / "run"
    (tmp_path / "run" / "other").touch()
    with pytest.raises(InputError, match="already holds something"):
        RunFolder.create(tmp_path / "run")


def test_a_run_that_compress_made_is_not_taken_for_a_search(make_space: Space, folder: RunFolder):
    write_whole(folder.search, make_space().dump())
    write_whole(folder.trial("baseline").result, "{}")
    with pytest.raises(InputError, match="is missing, or the run was made by compress"):
        resume_search(folder)


def test_a_search_whose_study_is_gone_is_not_taken_for_what_compress_made(
    make_space: Space, folder: RunFolder
):
    space = make_space()
    write_whole(folder.search, space.dump())
    write_whole(folder.trial("baseline").result, "{}")
    spec = space.trial_spec({"energy": 0.8}, number=3)
    write_whole(folder.trial("3").spec, to_json(spec))
    with pytest.raises(InputError, match=r"study\.db: is missing"):
        resume_search(folder)
    assert not folder.study.exists()


def run_with(space: SearchSpace, folder: RunFolder, *points: Point) -> RunFolder:
    """A run whose trial N had an energy of 0.7 + N / 10."""
    write_whole(folder.search, space.dump())
    for point in points:
        number = int(point.trial)
        spec = space.trial_spec({"energy": 0.7 + number / 10}, number=number)
        write_whole(folder.trial(point.trial).spec, to_json(spec))
        append_record(folder.points, point)
    return folder


def test_the_front_of_another_run_is_tried_first(
    make_space: Space, folder: RunFolder, make_point: Callable[..., Point]
):
    points = [
        make_point("0", correct=150, speedup=3.0),
        make_point("1", correct=140, speedup=2.0),
        make_point("2", correct=180, speedup=1.2),
    ]
    run = run_with(make_space(), folder, *points)
    found = [setting["energy"] for setting in begun_with(make_space(), run).warm_start]
    assert found == [pytest.approx(0.9), pytest.approx(0.7)]


def test_the_front_is_that_of_the_other_run_s_own_objectives(
    make_space: Space, folder: RunFolder, make_point: Callable[..., Point]
):
    points = [make_point(f"{n}", correct=190 - 10 * n, speedup=n + 1.0) for n in range(3)]
    run = run_with(make_space(), folder, *points)
    timed = "objectives: [accuracy, latency_speedup]\ntarget: {name: here}"
    space = make_space(("trials: 4", f"trials: 4\n{timed}"))
    assert len(begun_with(space, run).warm_start) == len(begun_with(make_space(), run).warm_start)


def test_a_front_outside_the_space_is_refused_by_the_trials_name(
    make_space: Space, folder: RunFolder, make_point: Callable[..., Point]
):
    run = run_with(make_space(), folder, make_point("0", correct=150, speedup=3.0))
    narrow = make_space(("low: 0.6", "low: 0.8"))
    with pytest.raises(InputError, match=r"trial 0: energy: 0\.7 is not in \[0\.8, 0\.99\]$"):
        begun_with(narrow, run)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("space:\n", "space:\n  period: 50\n"), "period: 20 there, 50 here"),
        (("start: scratch", "start: baseline"), "start: scratch there, baseline here"),
        (("energy: {low: 0.6, high: 0.99}", "energy: 0.8"), "energy: 0.7 there, 0.8 here"),
        (("energy: {low: 0.6, high: 0.99}", "speedup: 1.6"), "energy: 0.7 there, none here"),
        (("space:\n", "space:\n  fine_tuning_epochs: 1\n"), "fine-tuned: False there, True here"),
        (
            ("  start: scratch\n", "  method: nuclear\n  nuclear_weight: 1.0e-4\n"),
            "method: trp there, nuclear here",
        ),
    ],
)
def test_a_front_whose_method_the_space_lacks_is_refused(
    make_space: Space, folder: RunFolder, make_point: Callable[..., Point], change, why
):
    run = run_with(make_space(), folder, make_point("0", correct=150, speedup=3.0))
    varies = ("training: {epochs: 1}", "training: {batch_size: [32, 64]}")
    with pytest.raises(InputError, match=f"trial 0: {re.escape(why)}$"):
        begun_with(make_space(change, varies), run)


@pytest.mark.parametrize(
    ("varies", "drawn"),
    [
        ("method: tucker\n  cut_evbmf: [true, false]", {"cut_evbmf": True}),
        ("method: plain\n  energy: 0.8\n  layers: [kxk, all]", {"layers": "all"}),
        ("method: plain\n  energy: 0.8\n  fine_tuning_epochs: [2, 0]", {"fine_tuning_epochs": 0}),
        (
            "method: [trp, decomposable]\n  energy: 0.8\n  allocation: [energy, uniform]",
            {"method": "decomposable"},
        ),
        (
            "method: [trp, ddlr-style]\n  error: 0.1\n  energy: 0.8\n  multiple: [2, 4]",
            {"method": "ddlr-style"},
        ),
        (
            "method: [trp, tucker]\n  scheme: [channel, spatial]\n"
            "  energy: {by_scheme: {channel: [0.7, 0.8], spatial: [0.8, 0.9]}}",
            {"method": "tucker"},
        ),
        ("nuclear_weight: [1.0e-5, 1.0e-4]\n  period: [5, never]", {"period": "never"}),
    ],
)
def test_a_space_takes_what_it_proposed_itself(
    make_space: Space, folder: RunFolder, make_point: Callable[..., Point], varies: str, drawn: dict
):
    changes = [("start: scratch\n  scheme: channel\n  energy: {low: 0.6, high: 0.99}", varies)]
    if "trp" not in varies and "nuclear" not in varies:  # such methods train nothing
        changes.append(("  training: {epochs: 1}\n", ""))
    space = make_space(*changes)
    first = {p.name: p.choices[0] if p.choices else p.low for p in space.parameters()}
    spec = space.trial_spec(first | drawn, number=0)
    write_whole(folder.search, space.dump())
    write_whole(folder.trial("0").spec, to_json(spec))
    append_record(folder.points, make_point("0", correct=150, speedup=3.0))
    (setting,) = begun_with(space, folder).warm_start
    assert {name: setting.get(name) for name in drawn} == drawn


def test_a_front_is_tried_by_another_recipe(
    make_space: Space, folder: RunFolder, make_point: Callable[..., Point]
):
    run = run_with(make_space(), folder, make_point("0", correct=150, speedup=3.0))
    longer = begun_with(make_space(("epochs: 2", "epochs: 7")), run)
    assert [setting["energy"] for setting in longer.warm_start] == [pytest.approx(0.7)]


def test_a_run_without_a_front_cannot_be_begun_with(make_space: Space, folder: RunFolder):
    with pytest.raises(InputError, match="its front is empty"):
        begun_with(make_space(), run_with(make_space(), folder))
