"""Exporting: a bundle is there whole and proven, or it is not there."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trp_search.cli import main
from trp_search.errors import InputError, TrpSearchError
from trp_search.export.bundle import read_architecture, read_card
from trp_search.export.load import load
from trp_search.export.write import export_point
from trp_search.records import to_json
from trp_search.records.scores import share
from trp_search.runs import networks
from trp_search.store import RunFolder, building


def test_a_bundle_holds_weights_architecture_source_and_both_cards(bundle: Path):
    names = {path.name for path in bundle.iterdir()}
    files = {"weights.safetensors", "architecture.json", "card.json", "card.md", "network.py"}
    assert names == files


def test_the_loaded_network_gives_the_outputs_of_the_scored_one(
    trained_run: RunFolder, bundle: Path
):
    images = torch.rand(4, 1, 8, 8)
    scored = networks.network_of(trained_run, trained_run.point("0"))
    with torch.no_grad():
        assert torch.equal(load(bundle)(images), scored(images))


def test_the_card_says_what_was_measured_and_where_it_comes_from(
    trained_run: RunFolder, bundle: Path
):
    card = read_card(bundle)
    assert card.point == trained_run.point("0")
    assert card.run == "small"
    assert card.test == trained_run.read_tests()["0"]
    assert card.baseline == trained_run.point("baseline").score.value
    assert card.versions["torch"] == torch.__version__.partition("+")[0]
    assert card.input.classes == tuple("0123456789")
    assert (card.input.channels, card.input.height, card.input.width) == (1, 8, 8)
    assert card.load["trp_search"][1] == 'network = trp_search.load("THIS FOLDER")'
    readable = (bundle / "card.md").read_text()
    assert "| classes | 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |" in readable
    assert f"{100 * card.point.score.value:.2f} % of {card.point.score.images} images" in readable
    assert f"{100 * card.test.score.value:.2f} % of 100 images" in readable


def test_the_architecture_tells_how_pixels_were_normalised(bundle: Path):
    architecture = read_architecture(bundle)
    assert (architecture.channels, architecture.height, architecture.width) == (1, 8, 8)
    assert len(architecture.mean) == len(architecture.std) == 1
    assert 0.2 < architecture.mean[0] < 0.4


def test_weights_are_plain_tensors_that_others_may_read(bundle: Path):
    weights = bundle / "weights.safetensors"
    assert all(
        tensor.dtype in (torch.float32, torch.int64) for tensor in load_file(weights).values()
    )
    assert weights.stat().st_mode == (bundle / "card.json").stat().st_mode


@pytest.mark.slow
def test_an_uncut_network_can_be_exported_too(trained_run: RunFolder, tmp_path: Path):
    out = export_point(trained_run, "baseline", tmp_path / "plain")
    assert all(layer.rank is None for layer in read_architecture(out).layers)


def test_an_occupied_folder_is_refused_and_left_alone(trained_run: RunFolder, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="already holds something"):
        export_point(trained_run, "0", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_what_a_killed_export_left_goes_with_the_next_to_that_place(
    trained_run: RunFolder, tmp_path: Path
):
    dead, other, link = (tmp_path / f".{name}.tmp" for name in ("out.1", "outer.1", "out.2"))
    for folder in (dead, other):
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"half")
    link.symlink_to(other)
    with building(tmp_path / "out") as alive:
        export_point(trained_run, "0", tmp_path / "out")
        assert {path.name for path in tmp_path.iterdir()} == {
            *("out", alive.name, other.name, link.name)
        }
    assert (other / "weights.safetensors").exists()


def test_an_unknown_point_is_named_with_those_there_are(trained_run: RunFolder, tmp_path: Path):
    with pytest.raises(InputError, match="no point '99'; there are 0, "):
        export_point(trained_run, "99", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_bundle_that_scores_otherwise_than_its_point_is_removed(
    trained_run: RunFolder, tmp_path: Path
):
    run = RunFolder(path=shutil.copytree(trained_run.path, tmp_path / "run"))
    honest = run.point("0")
    images = honest.score.images
    off = honest.score.value + (1 if honest.score.value == 0 else -1) / images
    wrong = dataclasses.replace(honest, score=share(round(off * images), images))
    run.points.write_text(to_json(wrong) + "\n")
    found = f"reached {honest.score.value:.6g} on {images} .* the point {wrong.score.value:.6g}"
    with pytest.raises(TrpSearchError, match=found):
        export_point(run, "0", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_bundle_that_a_fresh_process_cannot_load_is_removed_with_the_reason(
    trained_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TrpSearchError, match="did not load in a fresh process and was removed"):
        export_point(trained_run, "0", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_network_of_ones_own_is_exported_and_never_imported_by_loading(
    own_run: RunFolder, tmp_path: Path
):
    out = export_point(own_run, "0", tmp_path / "own")
    module = sys.modules.pop("own_network")
    with pytest.raises(InputError, match="pass it as network="):
        load(out)
    assert "own_network" not in sys.modules
    plain = module.make(width=8)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    network = load(out, network=plain)
    images = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(
            network(images), networks.network_of(own_run, own_run.point("0"))(images)
        )
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


@pytest.mark.slow
def test_a_network_of_a_module_that_this_process_finds_elsewhere_is_exported(
    own_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert (
        export_point(own_run, "0", tmp_path / "own", trust=True) / "weights.safetensors"
    ).exists()


OWN_IMAGES = """\
import torch

def images(size):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (80, 1, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.arange(80) % 4
    return (pixels, labels), (pixels, labels)
"""
OWN_SPACE = """\
workload:
  network: small_resnet
  data: {name: "own_pictures:images", options: {size: 8}, subset: 60}
training: {epochs: 1, batch_size: 20}
trials: 1
"""


@pytest.mark.slow
def test_images_of_ones_own_are_named_again_by_what_export_says_to_type_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "own_pictures.py").write_text(OWN_IMAGES)
    (tmp_path / "own.yaml").write_text(OWN_SPACE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["compress", "own.yaml", "--speedup", "2", "--out", "model"]) == 0
    (words,) = re.findall("evaluate .+", capsys.readouterr().out.partition("Next:")[2])
    assert words == "evaluate model --data results/own-baseline"
    assert main(words.split()) == 0
    point = read_card(tmp_path / "model").point
    assert f"({point.score.images} images;" in capsys.readouterr().out
    assert main(["evaluate", "model"]) == 2
    assert "its images are 'own_pictures:images'" in capsys.readouterr().err
