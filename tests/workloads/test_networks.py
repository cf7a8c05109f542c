from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trp_search.errors import InputError
from trp_search.records import NetworkSpec
from trp_search.workloads import networks


def built(name: str, *, channels: int = 3, classes: int = 10, **options: object) -> nn.Module:
    spec = NetworkSpec(name=name, options=options)
    return networks.build(spec, channels=channels, classes=classes).eval()


@pytest.mark.parametrize(
    ("name", "parameters", "convolutions"),
    [("resnet20", 269_722, 19), ("resnet32", 464_154, 31), ("resnet56", 853_018, 55)],
)
def test_a_cifar_resnet_has_basic_blocks_at_every_depth(name, parameters, convolutions):
    network = built(name)
    kernels = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(3, 3)] * convolutions
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_resnet20_takes_its_published_multiply_adds():
    network = built("resnet20")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))
    # 0.41e8 in He et al.: convolutions by width x in x out x pixels x 9, and the linear layer
    by_formula = 3 * 16 * 1024 * 9 + 6 * 16 * 16 * 1024 * 9
    by_formula += (16 * 32 + 5 * 32 * 32) * 256 * 9 + (32 * 64 + 5 * 64 * 64) * 64 * 9 + 640
    assert counter.get_total_flops() == 2 * by_formula


def test_a_shortcut_halves_the_picture_and_adds_empty_channels():
    network = built("small_resnet", channels=1)
    block = network.get_submodule("stages.1.0")
    nn.init.zeros_(block.bn2.weight)
    images = torch.rand(2, 32, 8, 8)
    out = block(images)
    assert out.shape == (2, 64, 4, 4)
    assert torch.equal(out[:, 16:48], images[:, :, ::2, ::2])
    assert not out[:, :16].any()
    assert not out[:, 48:].any()


def test_a_network_is_drawn_from_the_global_generator():
    torch.manual_seed(1)
    first = built("small_resnet").state_dict()
    torch.manual_seed(1)
    second = built("small_resnet").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet"])
def test_a_torchvision_classifier_has_the_classes_of_the_images(name):
    network = built(name, classes=7)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_a_callable_gets_its_options_and_nothing_else():
    network = built("torch.nn:Conv2d", in_channels=3, out_channels=4, kernel_size=2)
    assert isinstance(network, nn.Conv2d)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "resnet21",
            "workload.network: 'resnet21' is not known; did you mean resnet32? There are "
            "resnet20, resnet32, resnet56, small_resnet, every torchvision.models classifier, "
            "timm:NAME and package.module:callable",
        ),
        ("nowhere.nets:make", "workload.network: 'nowhere.nets:make': there is no module nowhere"),
        ("torch.nn:Convv", "workload.network: 'torch.nn:Convv': torch.nn has no Convv"),
        ("torch:pi", "workload.network: 'torch:pi': pi is not callable"),
        ("builtins:list", "workload.network: builtins:list returned list, not an nn.Module"),
        (
            "torch.nn:ReLU6",
            "workload.network: torch.nn:ReLU6 raised TypeError: ReLU6.__init__() got an "
            "unexpected keyword argument 'depth'",
        ),
        ("resnet20", "workload.network.options: resnet20 takes none"),
    ],
)
def test_a_network_that_cannot_be_made_is_told_of_in_one_line(name, problem):
    options = {"depth": 3} if name in ("torch.nn:ReLU6", "resnet20") else {}
    with pytest.raises(InputError) as caught:
        built(name, **options)
    assert str(caught.value) == problem


@pytest.mark.parametrize("name", ["resnet18", "torchvision.models:resnet18"])
def test_weights_from_outside_are_no_option_of_a_network(name):
    where = "workload.network.options.weights: is not passed on"
    with pytest.raises(InputError, match=re.escape(where)):
        built(name, weights="DEFAULT")


def test_a_module_that_fails_to_import_is_told_of_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken_nets.py").write_text("import not_installed\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as caught:
        built("broken_nets:make")
    assert str(caught.value) == (
        "workload.network: 'broken_nets:make': importing it raised "
        "ModuleNotFoundError: No module named 'not_installed'"
    )


def test_torchvision_networks_take_colour_images_only():
    with pytest.raises(InputError) as caught:
        built("resnet18", channels=1)
    assert str(caught.value) == (
        "workload.network: resnet18 takes images of 3 channels, these have 1"
    )


def test_an_option_that_a_torchvision_network_does_not_take_is_named():
    with pytest.raises(InputError) as caught:
        built("resnet18", wide=2)
    assert str(caught.value) == (
        "workload.network.options: resnet18 raised TypeError: "
        "ResNet.__init__() got an unexpected keyword argument 'wide'"
    )


def loaded(weights: Path | str) -> nn.Module:
    spec = NetworkSpec(name="small_resnet")
    network = networks.build(spec, channels=1, classes=10)
    networks.load_weights(network, str(weights), spec=spec, channels=1)
    return network


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "w.safetensors"
    save_file(built("small_resnet", channels=1).state_dict(), path)
    return path


def test_weights_from_a_file_are_the_network_s(weights):
    images = torch.rand(2, 1, 8, 8)
    first, second = (loaded(weights).eval()(images) for _ in range(2))
    assert torch.equal(first, second)


def test_weights_that_are_not_there_are_told_of_in_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        loaded(tmp_path / "none")
    assert str(caught.value) == (
        f"workload.weights: '{tmp_path / 'none'}' is no file, and not torchvision or timm"
    )


def test_half_a_file_of_weights_is_told_of_in_one_line(weights):
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError) as caught:
        loaded(weights)
    message = str(caught.value)
    assert message.startswith(
        f"workload.weights: '{weights}' is no whole file of safetensors or torch.save: "
    )
    assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("fc.bias"), "it has no fc.bias"),
        (
            lambda state: state.update(a=torch.ones(1), b=torch.ones(1)),
            "it has a foreign a and 1 more",
        ),
        (
            lambda state: state.update({"bn1.bias": torch.ones(3)}),
            "bn1.bias is (3,) there and (32,) here",
        ),
    ],
)
def test_weights_of_another_network_are_told_of_in_one_line(weights, change, problem):
    state = built("small_resnet", channels=1).state_dict()
    change(state)
    save_file(state, weights)
    with pytest.raises(InputError) as caught:
        loaded(weights)
    assert str(caught.value) == (
        f"workload.weights: '{weights}' does not fit small_resnet: {problem}"
    )


def test_torchvision_has_no_weights_for_a_built_in_network():
    with pytest.raises(InputError) as caught:
        loaded("torchvision")
    assert str(caught.value) == (
        "workload.weights: 'torchvision' has none for small_resnet; give null or a file of weights"
    )


def test_a_network_of_torchvision_is_known_by_its_class_and_size():
    names = (
        "vgg16",
        "vgg16_bn",
        "resnet34",
        "wide_resnet50_2",
        "vit_b_32",
        "swin_v2_s",
        "maxvit_t",
    )
    for name in names:
        with torch.device("meta"):
            network = torchvision.models.get_model(name, num_classes=7)
        assert networks.builder_of(network) == name
    assert networks.builder_of(nn.Linear(1, 1)) is None
