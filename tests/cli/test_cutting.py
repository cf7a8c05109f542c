"""`trp-search compress` and `trp-search cut`, on real trainings of a second each."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

import trp_search
from tests.runs.trained import SPACE
from trp_search.cli import main
from trp_search.records import KEEPS
from trp_search.runs import networks
from trp_search.store import RunFolder

pytestmark = pytest.mark.usefixtures("verified_here")

IMAGE = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a space in it."""
    (tmp_path / "small.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def run(small_run: Callable[..., RunFolder], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with a baseline, as `compress` leaves it too, and one trial."""
    text = SPACE.replace("{", "{{").replace("}", "}}")
    return small_run(tmp_path_factory.mktemp("runs") / "small", text=text)


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the shortest call that works was typed, and what it said."""
    place = tmp_path_factory.mktemp("place")
    (place / "small.yaml").write_text(SPACE)
    said = io.StringIO()
    with contextlib.chdir(place), contextlib.redirect_stdout(said):
        given = ["--speedup", "2", "--fine-tuning-epochs", "0"]
        assert main(["compress", "small.yaml", *given]) == 0
    return place, said.getvalue()


@pytest.mark.slow
def test_compress_says_what_it_made_and_what_to_type_next(compressed: tuple[Path, str]):
    place, said = compressed
    point = RunFolder.open(place / "results" / "small-baseline").point("plain-2x")
    assert 2 <= point.speedup <= 2.04
    assert f"Point plain-2x: {point.speedup:.2f}{TIMES} fewer multiply-adds" in said
    assert f"({point.score.images} images;" in said
    assert "against baseline  " in said
    for layer in point.layers:
        kept = f"{layer.rank} of {layer.full_rank}" if layer.rank else r"dense \([a-z]\)"
        assert re.search(rf"^{re.escape(layer.name)} .*{kept}", said, re.MULTILINE)
        assert layer.reason is None or f") {layer.reason}\n" in said
    bundle = "results/small-baseline/models/plain-2x"
    assert f"Exported point plain-2x: {bundle}" in said
    assert said.index("Next:") < said.index(f'network = trp_search.load("{bundle}")')
    assert f" evaluate {bundle}\n" in said


@pytest.mark.slow
def test_the_cut_of_compress_is_on_the_front_of_its_run(trp, compressed: tuple[Path, str]):
    place, said = compressed
    run = place / "results" / "small-baseline"
    assert f"report            {Path('results/small-baseline/report.html')}" in said
    status = trp("status", run).out
    assert "Front: 1 point\n" in status
    assert re.search(r"^plain-2x +2\.\d\d", status, re.MULTILINE)
    assert json.loads(trp("select", run, "--speedup", "2", "--json").out)["point"] == "plain-2x"
    page = (run / "report.html").read_text()
    assert f"At {RunFolder.open(run).point('plain-2x').speedup:.2f}{TIMES} fewer" in page
    assert "On test it reaches" in page


@pytest.mark.slow
def test_the_bundle_of_compress_loads_as_the_points_network(compressed: tuple[Path, str]):
    place, _ = compressed
    folder = RunFolder.open(place / "results" / "small-baseline")
    network = trp_search.load(folder.models / "plain-2x")
    with torch.no_grad():
        assert torch.equal(
            network(IMAGE), networks.network_of(folder, folder.point("plain-2x"))(IMAGE)
        )


@pytest.mark.slow
def test_the_same_call_again_trains_nothing_and_exports_beside(
    trp, compressed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
):
    place, first = compressed
    monkeypatch.chdir(place)
    again = trp("compress", "small.yaml", "--speedup", "2")
    assert (again.code, again.err) == (0, "")
    assert ("epoch   1 of 1" in first, "epoch" in again.out) == (True, False)
    assert "Exported point plain-2x: results/small-baseline/models/plain-2x-bundle-2" in again.out


@pytest.mark.slow
def test_compress_writes_the_formats_that_it_is_asked_for(
    trp, compressed: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(compressed[0])
    words = ["--speedup", "2", "--format", "pt2", "--out", tmp_path / "new"]
    ended = trp("compress", "small.yaml", *words)
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "new" / "network.pt2").is_file()


@pytest.mark.slow
def test_weights_of_ones_own_are_cut_to_so_many_parameters_and_exported_where_asked(
    trp, place: Path, run: RunFolder
):
    state = safetensors.torch.load_file(run.trial("baseline").weights)
    safetensors.torch.save_file(state, place / "mine.safetensors")
    words = ["--weights", "mine.safetensors", "--parameters", 90_000, "--out", "model"]
    ended = trp("compress", "small.yaml", *words)
    assert (ended.code, ended.err) == (0, "")
    assert "epoch" not in ended.out
    assert "Exported point plain-90000p: model" in ended.out
    network = trp_search.load(place / "model")
    assert 88_000 <= sum(p.numel() for p in network.parameters()) <= 90_000
    assert (place / "results" / "small-mine" / "report.html").is_file()


def test_cut_says_what_it_made_and_the_command_that_exports_it(trp, run: RunFolder):
    ended = trp("cut", run.path, "--trial", "0", "--speedup", "2.5")
    assert (ended.code, ended.err) == (0, "")
    point = run.point("0-2.5x")
    assert (point.role, point.cut.calibration_images) == ("derived", 32)
    assert 2.5 <= point.speedup <= 2.55
    assert f"Point 0-2.5x: {point.speedup:.2f}{TIMES} fewer multiply-adds" in ended.out
    assert re.search(f"multiply-adds +{point.macs:,} of {point.dense_macs:,}", ended.out)
    (command,) = re.findall("export .+", ended.out.partition("Next:")[2])
    assert command == f"export {run.path} --point 0-2.5x --out models/small-0-2.5x"


@pytest.mark.slow
def test_what_cut_tells_to_type_next_exports_the_network(trp, place: Path, run: RunFolder):
    said = trp("cut", run.path, "--trial", "0", "--speedup", "3", "--allocation", "greedy").out
    (command,) = re.findall("export .+", said.partition("Next:")[2])
    assert trp(*command.split()).code == 0
    network = trp_search.load(place / "models" / "small-0-3x-greedy")
    with torch.no_grad():
        assert torch.equal(
            network(IMAGE), networks.network_of(run, run.point("0-3x-greedy"))(IMAGE)
        )


def test_the_baselines_weights_can_be_cut_by_every_amount(trp, run: RunFolder):
    for words, name in (
        (["--speedup", "2"], "plain-2x"),
        (["--parameters", "90000"], "plain-90000p"),
        (
            ["--energy", "0.7", "--scheme", "spatial", "--multiple", "4"],
            "plain-spatial-0.7-by-4-aware",
        ),
        (["--evbmf", "--scheme", "channel"], "plain-channel-evbmf-aware"),
    ):
        ended = trp("cut", run.path, "--trial", "baseline", *words)
        assert (ended.code, ended.err) == (0, "")
        assert f"Point {name}: " in ended.out
        assert run.point(name).role == "control"


AMOUNTS = {
    "none": ([], "give one of --energy, --value"),
    "two": (["--speedup", "2", "--parameters", "9000"], "give one of --energy, --value"),
    "nothing": (["--energy", "0"], "--energy: 0.0 is not in (0, 1]"),
    "below one": (["--speedup", "0.5"], "--speedup: "),
    "no number": (["--speedup", "fast"], "'fast' is not a number"),
    "not finite": (["--speedup", "inf"], "--speedup: "),
    "no parameters": (["--parameters", "0"], "'0' is not a whole number from 1 up"),
    "unknown scheme": (["--speedup", "2", "--scheme", "spatail"], "--scheme: "),
    "unknown spread": (["--speedup", "2", "--allocation", "evenly"], "--allocation: "),
}


@pytest.mark.parametrize(("words", "part"), AMOUNTS.values(), ids=AMOUNTS)
def test_an_amount_that_makes_no_cut_is_one_line_and_nothing_is_written(
    trp, place: Path, run: RunFolder, words: list[str], part: str
):
    before = run.points.read_bytes()
    for given in (["compress", "small.yaml", "--out", "model"], ["cut", run.path, "--trial", "0"]):
        ended = trp(*given, *words)
        assert (ended.code, ended.out) == (2, "")
        assert part in ended.err
        assert ended.err.count("\n") == 1
    assert [path.name for path in place.iterdir()] == ["small.yaml"]
    assert run.points.read_bytes() == before


@pytest.mark.parametrize("words", [["--speedup", "2"], ["--parameters", "9000"]])
def test_cut_takes_one_amount(trp, run: RunFolder, words: list[str]):
    ended = trp("cut", run.path, "--trial", "0", "--energy", "0.5", *words)
    assert (ended.code, ended.out) == (2, "")
    names = (*KEEPS, "max_drop")
    options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
    assert ended.err == f"trp-search: give one of {options}\n"


def test_a_run_without_trials_has_nothing_to_cut(trp, empty_run: RunFolder):
    ended = trp("cut", empty_run.path, "--trial", "0", "--speedup", "2")
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(r"trp-search: .*: no trial '0'; .*\w\n", ended.err)


def test_a_budget_that_a_trial_cannot_reach_leaves_no_point(trp, run: RunFolder):
    before = run.points.read_bytes()
    ended = trp("cut", run.path, "--trial", "0", "--speedup", "999")
    assert ended.code == 2
    expected = r"trp-search: speedup: 999x cannot be reached; the best is \d+\.\d\dx while layers"
    assert re.fullmatch(rf"{expected} is kxk; all has more\n", ended.err)
    assert run.points.read_bytes() == before
    assert not list(run.trial("0").path.glob("*999*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["999", "--run", "kept"], r"speedup: 999x cannot be reached; the best is \S+x while .*"),
        (["2", "--run", "{run}"], r".*small: has another baseline; give another folder \(--run\)"),
        (["2", "--format", "gguf"], "format: 'gguf' is none of onnx, openvino, executorch, pt2"),
        (["2", "--weights", "lost.safetensors"], r"--weights: lost\.safetensors: no such file"),
    ],
)
def test_what_compress_refuses_is_one_line_and_nothing_is_written(
    trp, place: Path, run: RunFolder, words: list[str], said: str
):
    (place / "small.yaml").write_text(f"{SPACE}seed: 9\n")
    before = run.search.read_bytes(), run.points.read_bytes()
    given = [word.format(run=run.path) for word in words]
    ended = trp("compress", "small.yaml", "--out", "model", "--speedup", *given)
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(rf"trp-search: {said}\n", ended.err)
    assert [path.name for path in place.iterdir()] == ["small.yaml"]
    assert (run.search.read_bytes(), run.points.read_bytes()) == before


def test_weights_that_do_not_fit_are_told_of_in_one_line(trp, place: Path):
    safetensors.torch.save_file({"head": torch.zeros(3)}, place / "other.safetensors")
    ended = trp("compress", "small.yaml", "--speedup", "2", "--weights", "other.safetensors")
    assert ended.code != 0
    assert "does not fit small_resnet" in ended.err
    assert ended.err.count("\n") == 1
    assert not list(place.rglob("models"))


def test_an_occupied_folder_is_refused_before_anything_starts(trp, place: Path):
    (place / "full").mkdir()
    (place / "full" / "mine.txt").write_text("mine")
    ended = trp("compress", "small.yaml", "--speedup", "2", "--out", "full")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "trp-search: full: already holds something; give a new or empty folder\n"
    assert sorted(path.name for path in place.rglob("*")) == ["full", "mine.txt", "small.yaml"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--speedup", "2"], "--trial is missing; there are baseline, 0"),
        (["--trial", "7", "--speedup", "2"], "small: no trial '7'; there are baseline, 0"),
        (["--trial", "0", "--speedup", "2", "--out", "there"], "--out: only for bundles; "),
        (["--trial", "0", "--speedup", "2", "--format", "pt2"], "--format: only for bundles; "),
        (["--trial", "0", "--speedup", "2", "--data", "digits"], "--data: only for bundles; "),
    ],
)
def test_a_run_is_cut_by_a_trial_s_weights(
    run: RunFolder, words: list[str], part: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["cut", str(run.path), *words]) == 2
    said = capsys.readouterr()
    assert part in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
