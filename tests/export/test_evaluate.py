"""Scoring a bundle again, on another machine than its own."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trp_search.cli import main
from trp_search.errors import InputError
from trp_search.export.evaluate import check_runs, evaluate_bundle, running
from trp_search.export.opened import opened
from trp_search.records import DataSpec
from trp_search.store import FORMAT


def changed(bundle: Path, out: Path, name: str, values: dict[str, Any]) -> Path:
    path = shutil.copytree(bundle, out) / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return out


def test_a_bundle_made_on_cuda_is_scored_on_the_cpu_where_there_is_no_gpu(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    copied = changed(bundle, tmp_path / "bundle", "card.json", {"device": "cuda"})
    assert evaluate_bundle(copied) == evaluate_bundle(bundle)


def test_an_absurd_image_size_is_refused_before_memory_is_taken(bundle: Path, tmp_path: Path):
    copied = changed(bundle, tmp_path / "bundle", "architecture.json", {"height": 10**9})
    with pytest.raises(InputError, match="expects images of 1000000000 x 8 pixels; its own have 8"):
        evaluate_bundle(copied)


def test_answers_that_are_not_finite_have_no_score(bundle: Path, tmp_path: Path):
    copied = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    weights = load_file(copied / "weights.safetensors")
    save_file(weights | {"fc.bias": weights["fc.bias"] * math.nan}, copied / "weights.safetensors")
    with pytest.raises(InputError, match="its answers on validation are not finite"):
        evaluate_bundle(copied)


def test_pixels_are_normalised_as_the_weights_know_them(bundle: Path):
    own = evaluate_bundle(bundle)
    other = DataSpec(**vars(opened(bundle).card.workload.data) | {"mean": (0.9,), "std": (0.1,)})
    assert evaluate_bundle(bundle, data=other) == own


def test_a_network_that_wants_more_memory_than_its_weights_say_is_one_line(bundle: Path):
    image = torch.zeros(1, 1, 8, 8)
    with (
        pytest.raises(InputError, match=r"wants more than [\d,]+ bytes for 256 images"),
        running(opened(bundle), image, images=256),
    ):
        torch.empty(1 << 33, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shape"), running(opened(bundle), image, images=1):
        torch.zeros(3).reshape(2)


OWN_IMAGES = """\
from pathlib import Path
import torch

def images(size=8, count=40):
    Path("called").touch()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 1, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 10
    return (pixels, labels), (pixels, labels)
"""
SPACE = """\
workload:
  network: small_resnet
  data: {name: "own_images:images", options: {size: 10}}
training: {epochs: 1}
trials: 1
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module that gives images and notes that it was asked for them."""
    (tmp_path / "own_images.py").write_text(OWN_IMAGES)
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_images", raising=False)
    return tmp_path


def with_data(bundle: Path, out: Path, **data: object) -> Path:
    workload = json.loads((bundle / "card.json").read_text())["workload"]
    workload["data"] = {key: v for key, v in workload["data"].items() if v is not None} | data
    return changed(bundle, out, "card.json", {"workload": workload})


NAMED = {
    "a callable": {"name": "own_images:images"},
    "a callable's options": {"name": "own_images:images", "options": {"count": 10**12}},
    "a folder": {"name": "images", "root": "/etc"},
    "a folder here": {"name": "images", "root": "."},
    "a set to fetch": {"name": "cifar10", "root": "fetched", "download": True},
    "a set of files": {"name": "cifar100", "root": "/"},
    "an unknown name": {"name": "mnist"},
    "pixels without end": {"image_size": 10**9},
}


@pytest.mark.parametrize("command", [["evaluate"], ["cut", "--speedup", "2"]], ids=lambda c: c[0])
@pytest.mark.parametrize("data", NAMED.values(), ids=NAMED)
def test_what_a_card_names_is_neither_called_nor_read_nor_fetched(
    bundle: Path,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    data: dict[str, object],
):
    made = with_data(bundle, place / "made", **data)
    if command[0] == "cut":  # which takes no other
        path = made / "architecture.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"layers": []}))
    before = sorted(path.name for path in place.iterdir())
    assert main([command[0], str(made), *command[1:]]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "give them by --data SPACE.yaml or --data MODULE:CALLABLE" in said
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("own_images:images", 8),
        ("space.yaml", 10),
        ('{"name": "own_images:images", "options": {"size": 12}}', 12),
    ],
)
def test_the_caller_s_own_images_are_scored_at_their_own_size(
    bundle: Path, place: Path, capsys: pytest.CaptureFixture[str], given: str, size: int
):
    assert main(["evaluate", str(bundle), "--data", given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["validation"]["images"] == 4
    own = opened(bundle).card.point.macs
    assert (found["macs"] == own) == (size == 8)
    assert found["macs"] >= own


@pytest.mark.parametrize("run", ["run", "run/search.yaml"])
def test_a_run_folder_s_images_are_called_from_where_they_are_one_s_own_code(
    bundle: Path,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    run: str,
):
    (place / "run").mkdir()
    (place / "run" / "search.yaml").write_text(SPACE)
    (place / "run" / "environment.json").write_text(json.dumps({"format": FORMAT}))
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    command = ["evaluate", str(bundle), "--data", str(place / run)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "search.yaml: workload.data: 'own_images:images' " in said
    assert "; --trust " in said
    assert not Path("called").exists()
    assert main([*command, "--trust"]) == 0
    monkeypatch.chdir(place)
    assert main(["evaluate", str(bundle), "--data", run]) == 0


def test_json_that_is_no_data_section_is_one_line(bundle: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(bundle), "--data", '{"root": "/"}']) == 2
    assert "--data: name: " in capsys.readouterr().err


def test_scoring_downloads_nothing_even_where_the_caller_s_space_would(
    bundle: Path, tmp_path: Path
):
    given = DataSpec(name="cifar10", root=str(tmp_path / "data"), channels=1, download=True)
    with pytest.raises(InputError, match="holds no whole cifar10; a search with download: true"):
        evaluate_bundle(bundle, data=given)
    assert list(tmp_path.iterdir()) == []


class TooDeep(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ torch.zeros(7, 10)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (TooDeep(), "does not run on images of 1 x 8 x 8: RuntimeError: "),
        (nn.Flatten(), r"returns a tensor \(1, 64\) for 1 images of 10 classes"),
    ],
)
def test_a_network_that_its_images_do_not_fit_is_one_line(
    bundle: Path, network: nn.Module, said: str
):
    with pytest.raises(InputError, match=said) as caught:
        check_runs(opened(bundle), network, torch.zeros(1, 1, 8, 8))
    assert "\n" not in str(caught.value)
