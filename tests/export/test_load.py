"""Loading a bundle: no code of its own is run, and what is wrong with it is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trp_search.errors import InputError
from trp_search.export.load import load


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle, tmp_path / "bundle")


COLOUR = {"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}


def changed(copied: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = copied / "architecture.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return copied


def assert_refused(bundle: Path, expected: str, **given: nn.Module):
    with pytest.raises(InputError) as caught:
        load(bundle, **given)
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_loaded_network_is_ready_for_use(bundle: Path):
    network = load(str(bundle))
    assert not network.training
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_folder_that_is_not_there_is_no_bundle(tmp_path: Path):
    assert_refused(tmp_path / "none", "none: no such bundle")


@pytest.mark.parametrize("name", ["architecture.json", "weights.safetensors"])
def test_a_missing_file_is_named(copied: Path, name: str):
    (copied / name).unlink()
    assert_refused(copied, f"{name}: missing; a bundle holds")


def test_truncated_weights_are_refused(copied: Path):
    weights = copied / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert_refused(copied, "weights.safetensors: not a whole safetensors file")


def test_a_pickle_is_not_opened(copied: Path):
    torch.save({"fc.weight": torch.zeros(1)}, copied / "weights.safetensors")
    assert_refused(copied, "weights.safetensors: not a whole safetensors file")


def test_weights_of_another_network_are_refused(copied: Path):
    save_file({"head.weight": torch.zeros(10, 1)}, copied / "weights.safetensors")
    assert_refused(copied, "weights.safetensors: not this network's weights")


def test_weights_of_another_shape_are_refused(copied: Path):
    weights = load_file(copied / "weights.safetensors")
    save_file(weights | {"fc.bias": torch.zeros(11)}, copied / "weights.safetensors")
    assert_refused(copied, "weights.safetensors: not this network's weights")


def test_an_unreadable_architecture_is_refused(copied: Path):
    (copied / "architecture.json").write_text('{"format": 1,')
    assert_refused(copied, "architecture.json: not JSON")


def test_json_of_something_else_is_refused(copied: Path):
    (copied / "architecture.json").write_text("[1, 2]")
    assert_refused(copied, "architecture.json: not a file of a bundle")


def test_a_later_format_is_refused_before_anything_else_is_read(copied: Path):
    (copied / "architecture.json").write_text('{"format": 2, "everything": "new"}')
    assert_refused(copied, "architecture.json: format 2; this version reads 1")


def test_a_missing_or_foreign_key_is_named(copied: Path):
    assert_refused(changed(copied, lambda v: v.pop("classes")), "architecture.json: classes: ")
    assert_refused(changed(copied, lambda v: v.update(classes=10, more=1)), "json: more: ")


def test_a_layer_that_the_network_does_not_have_is_named(copied: Path):
    def rename(values: dict[str, Any]):
        next(layer for layer in values["layers"] if layer["rank"])["name"] = "stages.9.conv"

    assert_refused(changed(copied, rename), "'stages.9.conv'")


def test_a_layer_that_cannot_be_factored_is_named(copied: Path):
    def rename(values: dict[str, Any]):
        next(layer for layer in values["layers"] if layer["rank"])["name"] = "bn1"

    network = nn.Sequential()
    network.add_module("bn1", nn.BatchNorm2d(3))
    assert_refused(changed(copied, rename), "'bn1': BatchNorm2d cannot be", network=network)


def test_an_unknown_network_is_named(copied: Path):
    def rename(values: dict[str, Any]):
        values["network"]["name"] = "resnet21"

    assert_refused(changed(copied, rename), "'resnet21' is not known")


def test_code_that_a_bundle_names_is_not_imported(copied: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)

    def rename(values: dict[str, Any]):
        values["network"] = {"name": "trap:make", "options": {}}

    assert_refused(changed(copied, rename), "'trap:make' is code that a bundle may not have")


def test_a_bundle_cannot_have_weights_fetched(copied: Path, monkeypatch: pytest.MonkeyPatch):
    def fetch(*_: object, **__: object):
        raise AssertionError("fetched")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)

    def rename(values: dict[str, Any]):
        values |= COLOUR
        values["network"] = {"name": "squeezenet1_1", "options": {"weights": "DEFAULT"}}

    assert_refused(changed(copied, rename), "architecture.json: layer ")


@pytest.mark.parametrize("rank", [-1, 0, 10**9])
def test_a_rank_that_the_layer_does_not_have_is_refused(copied: Path, rank: int):
    def change(values: dict[str, Any]):
        next(layer for layer in values["layers"] if layer["rank"])["rank"] = rank

    assert_refused(changed(copied, change), f"rank {rank} is not in 1..")


def test_a_scheme_that_the_layer_refuses_is_named(copied: Path):
    def change(values: dict[str, Any]):
        layer = next(layer for layer in values["layers"] if layer["name"] == "fc")
        layer |= {"rank": 1, "scheme": "decoupled"}

    assert_refused(changed(copied, change), "layer 'fc': decoupled is refused: 1x1")


@pytest.mark.parametrize("classes", [11, 10**12])
def test_classes_that_the_weights_do_not_have_are_refused(copied: Path, classes: int):
    expected = f"fc.weight is (10, 128) there and ({classes}, 128) here"
    assert_refused(changed(copied, lambda v: v.update(classes=classes)), expected)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "resnet50",
            {"width_per_group": 10**7},
            "not this network's weights: it has no layer1.0.conv1.weight and ",
        ),
        ("resnet50", {"replace_stride_with_dilation": [1]}, "resnet50 raised ValueError"),
        ("vit_b_16", {"image_size": 17}, "vit_b_16 raised AssertionError"),
        ("regnet_y_400mf", {"stem_width": -1}, "regnet_y_400mf raised RuntimeError"),
    ],
)
def test_options_that_make_no_network_are_refused(
    copied: Path, name: str, options: dict[str, Any], expected: str
):
    def change(values: dict[str, Any]):
        values |= COLOUR | {"layers": []}
        values["network"] = {"name": name, "options": options}

    assert_refused(changed(copied, change), expected)


def test_deeply_nested_json_is_refused(copied: Path):
    (copied / "architecture.json").write_text("[" * 200_000)
    assert_refused(copied, "architecture.json: nested too deeply")


def test_a_file_that_cannot_be_read_is_named(copied: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_: Path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert_refused(copied, "architecture.json: cannot be read: Permission denied")
