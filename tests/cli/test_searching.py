"""`trp-search search`, `resume` and what follows, on real trainings of a second each."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch

import trp_search
from trp_search.cli import main
from trp_search.export.bundle import CARD, read_card
from trp_search.records import TrialResult, to_json
from trp_search.records.scores import share
from trp_search.runs.clock import target_of, worth_it
from trp_search.runs.predicted import predicting
from trp_search.search import start
from trp_search.store import append_record, write_whole

pytestmark = pytest.mark.usefixtures("verified_here")

SPACE = """\
workload:
  network: small_resnet
  data: {name: digits, subset: 300, heldout_subset: 100}
training: {epochs: 1, batch_size: 50, learning_rate: 0.05}
space:
  scheme: [channel, spatial]
  energy: {low: 0.6, high: 0.9}
  training: {epochs: 1}
trials: 5
extra_cuts: {speedups: [2], energies: []}
concurrency: 1
target: {name: eager, seconds: 0.05}
targets: [{name: here, runtime: onnxruntime, seconds: 0.05}]
int8: [onnxruntime]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space and the run that two trials of it made."""
    place, said = tmp_path_factory.mktemp("place"), io.StringIO()
    (place / "space.yaml").write_text(SPACE)
    few = mock.patch("trp_search.space.cuts.CONTROL_ENERGIES", (0.8,))  # the baseline's own cuts
    with few, contextlib.chdir(place), contextlib.redirect_stdout(said):
        assert main(["search", "space.yaml", "--out", "run", "--trials", "2", "--seed", "3"]) == 0
    (place / "said.txt").write_text(said.getvalue())
    return place


@pytest.fixture(autouse=True)
def in_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if "place" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("place"))
    return


def test_an_occupied_folder_is_refused_and_left_alone(trp, tmp_path: Path):
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    out = trp("search", space, "--out", tmp_path)
    assert (out.code, out.out) == (2, "")
    assert f"{tmp_path}: already holds something" in out.err
    assert list(tmp_path.iterdir()) == [space]


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("small_resnet", "resnet21", "workload.network: 'resnet21' is not known"),
        ("{name: digits, subset: 300,", "{name: digits, subset: 3000,", "3000 is more than"),
        ("name: digits, subset", "name: images, root: nowhere, subset", "'nowhere' is not"),
        ("energy: {low: 0.6,", "energy: {low: -1,", "space.energy.low: -1"),
        pytest.param(
            *(
                "{name: here,",
                "{name: here, device: cuda,",
                "device: cuda: this machine has no GPU",
            ),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
        ),
    ],
)
def test_nothing_is_written_when_a_search_cannot_start(trp, tmp_path, before, after, part):
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.replace(before, after))
    out = trp("search", space, "--out", tmp_path / "run")
    assert (out.code, out.out) == (2, "")
    assert part in out.err
    assert out.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_search_ends_with_where_it_is_and_what_to_type_next(place: Path):
    said = (place / "said.txt").read_text()
    assert "Done: 2 scored trials" in said
    assert "report  run/report.html" in said
    assert "trp-search select run --speedup " in said
    assert "trp-search export run --speedup " in said
    assert (place / "run" / "report.html").is_file()
    space = trp_search.load_space(place / "run" / "search.yaml")
    assert (space.trials, space.seed) == (2, 3)


@pytest.mark.slow
def test_a_search_times_what_is_worth_it_on_its_targets_when_its_trials_have_ended(place: Path):
    run = trp_search.RunFolder.open(place / "run")
    timed = run.read_latencies()["here"]
    assert {point.id for point in worth_it(run, target_of(run, "here", {}))} <= set(timed)
    assert re.search(r"timing \d+ networks on here", (place / "said.txt").read_text())
    assert {"baseline-int8"} <= {point.id for point in run.read_all_points()} & set(timed)
    assert re.search(r"quantising \d+ networks for onnxruntime", (place / "said.txt").read_text())
    assert "latency_speedup.here" in trp_search.points(run).columns


@pytest.mark.slow
def test_a_search_predicts_by_the_layers_that_it_timed_before_its_trials(place: Path):
    run, said = trp_search.RunFolder.open(place / "run"), (place / "said.txt").read_text()
    assert said.index("timing layers on eager") < said.index("baseline:")
    predict, points = predicting(run), run.read_points()
    assert {point.role for point in points} >= {"baseline", "control", "trial"}
    assert all(point.predicted == predict(point.layers) for point in points)
    assert {p.latency_speedup for p in points if p.role == "baseline"} == {1.0}


@pytest.mark.slow
def test_the_choice_is_exported_and_loads_and_scores_the_same(trp, place: Path):
    chosen = json.loads(trp("select", "run", "--speedup", "1", "--json").out)
    out = trp("export", "run", "--speedup", "1", "--out", "model")
    assert (out.code, out.err) == (0, "")
    assert "Exported point" in out.out
    assert f"({chosen['validation']['images']} images;" in out.out
    scored = json.loads(trp("evaluate", "model", "--test", "--data", "run", "--json").out)
    assert scored["validation"] == chosen["validation"]
    assert scored["test"] == chosen["test"]
    assert scored["macs"] == chosen["macs"]
    network = trp_search.load(place / "model")
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert "its card says" not in trp("evaluate", "model").out
    other = trp("evaluate", "model", "--data", '{"name": "digits", "validation": 0.5}')
    assert "; divided otherwise than for its training: some may be images that it" in other.out
    told = trp("evaluate", "model", "--data", '{"name": "digits", "validation": 0.5}', "--json")
    assert json.loads(told.out)["note"].startswith("divided otherwise")
    card = read_card(place / "model")
    claim = dataclasses.replace(card.point, score=share(1, 100))
    write_whole(place / "model" / CARD, to_json(dataclasses.replace(card, point=claim)))
    assert f"; its card says {claim.score.shown}" in trp("evaluate", "model").out


@pytest.mark.slow
def test_evaluate_tells_when_other_images_do_not_fit(trp, place: Path):
    trp("export", "run", "--point", "1", "--out", "one")
    out = trp("evaluate", "one", "--data", "cifar10")
    assert out.code == 2
    assert out.err.count("\n") == 1
    assert trp("evaluate", "one", "--data", "no-such").code == 2


@pytest.mark.slow
def test_export_beyond_reach_writes_nothing(trp, place: Path):
    beyond = trp("export", "run", "--speedup", "99", "--out", "other")
    assert beyond.code == 1
    assert "no point reaches 99x fewer multiply-adds; the nearest is" in beyond.err
    assert not (place / "other").exists()


@pytest.mark.slow
def test_refit_trains_on_everything_and_exports(trp, place: Path):
    out = trp("refit", "run", "--point", "0")
    assert (out.code, out.err) == (0, "")
    assert "epoch   1 of 1" in out.out
    assert re.search(r"validation +trained on as well, so it says nothing", out.out)
    assert (place / "run" / "models" / "refit-0" / "card.json").is_file()
    again = trp("refit", "run", "--point", "0")
    assert again.code == 2
    assert "already holds something" in again.err


def test_a_search_that_finds_nothing_says_why_and_is_no_success(
    trp, empty_run: trp_search.RunFolder, monkeypatch: pytest.MonkeyPatch
):
    for number in range(3):
        why = f"the loss was not finite in epoch {number}"
        result = TrialResult(trial=str(number), points=(), diverged=why)
        write_whole(empty_run.trial(str(number)).result, to_json(result))
    monkeypatch.setattr(start, "resume_search", lambda *_, **__: empty_run)
    out = trp("resume", empty_run.path)
    assert (out.code, out.err.count("\n")) == (1, 1), out.err
    assert (
        "no trial gave a network, as the last of 3: the loss was not finite in epoch 2" in out.err
    )
    assert "Done: 0 scored trials, 0 on the front" in out.out


def test_a_search_ends_with_the_front_that_status_shows(
    trp, sample_run, in_int8, monkeypatch: pytest.MonkeyPatch
):
    best = max(sample_run.read_points(), key=lambda p: (p.role == "trial", p.score.value))
    append_record(sample_run.int8, in_int8(best))
    monkeypatch.setattr(start, "resume_search", lambda *_, **__: sample_run)
    out, told = trp("resume", sample_run.path).out, trp("status", sample_run.path).out
    number = re.search(r"Front: (\d+) points", told)[1]
    assert f"{number} on the front" in out
    assert f"{best.id}-int8" in told
