"""Loading a bundle: no code of its own is run, and what is wrong with it is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from trp_search.errors import InputError
from trp_search.export.load import load
from trp_search.export.weightless import Weightless
from trp_search.records import NetworkSpec
from trp_search.workloads import networks

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


def test_whole_numbers_for_weights_are_refused(copied: Path):
    weights = load_file(copied / "weights.safetensors")
    save_file(weights | {"fc.bias": weights["fc.bias"].int()}, copied / "weights.safetensors")
    with pytest.raises(InputError, match=r"fc\.bias is torch\.int32 there and"):
        load(copied)


def test_an_unreadable_architecture_is_refused(copied: Path):
    (copied / "architecture.json").write_text('{"format": 1,')
    assert_refused(copied, "architecture.json: not JSON")


def test_json_of_something_else_is_refused(copied: Path):
    (copied / "architecture.json").write_text("[1, 2]")
    assert_refused(copied, "architecture.json: not a file of a bundle")


def test_a_later_format_is_refused_before_anything_else_is_read(copied: Path):
    (copied / "architecture.json").write_text('{"format": 3, "everything": "new"}')
    assert_refused(copied, "architecture.json: format 3; this version reads 1 and 2")


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


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        (-1, "rank: -1 is not in [0, "),
        (0, "rank 0 is not in 1.."),
        (10**9, "rank 1000000000 is not in 1.."),
    ],
)
def test_a_rank_that_the_layer_does_not_have_is_refused(copied: Path, rank: int, said: str):
    def change(values: dict[str, Any]):
        layer = next(layer for layer in values["layers"] if layer["rank"])
        layer |= {"rank": rank, "full_rank": 10**9}  # what a file says of itself proves nothing

    assert_refused(changed(copied, change), said)


def test_a_scheme_that_the_layer_refuses_is_named(copied: Path):
    def change(values: dict[str, Any]):
        layer = next(layer for layer in values["layers"] if layer["name"] == "fc")
        layer |= {"rank": 1, "full_rank": 1, "scheme": "decoupled", "kept": {}}

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


class Largest(TorchDispatchMode):
    """Notes the elements of the largest tensor that was given memory."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not result.is_meta:
            self.elements = max(self.elements, result.numel())
        return result


EMPTY = {"a": torch.zeros(0, 4_000_000), "b": torch.zeros(0, 128), "c": torch.zeros(0, 1)}
GREEDY = {
    "extents of tensors that hold nothing": ({"classes": 4_000_000}, EMPTY),
    "a large network": (COLOUR | {"network": {"name": "vit_h_14"}}, None),
    "one whose widths are computed": (COLOUR | {"network": {"name": "regnet_y_128gf"}}, None),
    "an option": (
        COLOUR | {"network": {"name": "resnet50", "options": {"width_per_group": 10**6}}},
        None,
    ),
    "an option that overflows": (
        COLOUR | {"network": {"name": "resnet50", "options": {"width_per_group": 10**17}}},
        None,
    ),
    "layers without end": (
        COLOUR
        | {
            "network": {
                "name": "mobilenet_v2",
                "options": {"inverted_residual_setting": [[1, 16, 10**12, 1]]},
            }
        },
        None,
    ),
}


@pytest.mark.parametrize(("change", "weights"), GREEDY.values(), ids=GREEDY)
def test_a_network_whose_weights_are_not_there_takes_no_memory(
    copied: Path, change: dict[str, Any], weights: dict[str, torch.Tensor] | None
):
    if weights is not None:
        save_file(weights, copied / "weights.safetensors")
    with Largest() as seen:
        assert_refused(changed(copied, lambda v: v.update({"layers": []} | change)), "bundle/")
    assert seen.elements < 10_000


def test_the_layers_that_factors_stand_for_take_no_memory(copied: Path):
    classes = 1_000_000
    weights = load_file(copied / "weights.safetensors")
    weights["fc.0.weight"] = torch.rand(1, 128)
    weights["fc.1.weight"] = torch.rand(classes, 1)
    weights["fc.1.bias"] = torch.rand(classes)
    del weights["fc.weight"], weights["fc.bias"]
    save_file(weights, copied / "weights.safetensors")

    def factor(values: dict[str, Any]):
        values["classes"] = classes
        layer = next(layer for layer in values["layers"] if layer["name"] == "fc")
        layer |= {"rank": 1, "full_rank": 1, "scheme": "channel", "kept": {}}

    with Largest() as seen:
        network = load(changed(copied, factor))
    assert seen.elements <= 4 * classes  # the file is read as bytes
    torch.testing.assert_close(network.fc[1].weight, weights["fc.1.weight"])


def test_a_network_of_ones_own_is_not_given_layers_whose_weights_are_not_there(copied: Path):
    network = nn.Sequential(nn.Conv2d(1, 900, 9, bias=False)).eval()

    def factor(values: dict[str, Any]):
        layer = values["layers"][0] | {"name": "0", "rank": 1, "full_rank": 1, "kept": {}}
        layer |= {"scheme": "decoupled"}
        values |= {"layers": [layer], "network": {"name": "mine:network"}}

    with Largest() as seen:
        assert_refused(changed(copied, factor), "not this network's weights", network=network)
    assert seen.elements <= network[0].weight.numel()


def test_loading_draws_nothing_from_the_global_generator(bundle: Path):
    before = torch.get_rng_state()
    load(bundle)
    assert torch.equal(before, torch.get_rng_state())


def test_torchvision_s_classifiers_are_built_without_memory_but_for_what_their_state_holds():
    names = torchvision.models.list_models(module=torchvision.models)
    for name in {name.partition("_")[0].rstrip("0123456789"): name for name in names}.values():
        with Weightless(most=10_000):
            network = networks.build(NetworkSpec(name=name), channels=3, classes=10)
        state = network.state_dict()
        assert all(parameter.is_meta for parameter in network.parameters()), name
        assert all(key in state for key, buffer in network.named_buffers() if buffer.is_meta), name
        held = [v for module in network.modules() for v in vars(module).values()]
        assert not any(isinstance(value, torch.Tensor) for value in held), name


def test_deeply_nested_json_is_refused(copied: Path):
    (copied / "architecture.json").write_text("[" * 200_000)
    assert_refused(copied, "architecture.json: nested too deeply")


def test_a_file_that_cannot_be_read_is_named(copied: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_: Path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert_refused(copied, "architecture.json: cannot be read: Permission denied")
