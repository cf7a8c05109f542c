from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

from trp_search.errors import InputError
from trp_search.records import DataSpec, NetworkSpec, Workload
from trp_search.workloads import networks
from trp_search.workloads.configured import added, configured
from trp_search.workloads.images import Shape

RESNET = {"stem_width": 8, "channels": [8, 8, 16, 16], "stem_type": ""}
VIT = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 3}


def built(
    name: str, options: dict[str, object], *, channels: int = 3, classes: int = 10
) -> nn.Module:
    spec = NetworkSpec(name=name, options=options)
    return networks.build(spec, channels=channels, classes=classes).eval()


def problem(name: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        built(name, options)
    return str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "options"), [("timm:resnet10t", RESNET), ("timm:vit_tiny_patch16_224", VIT)]
)
def test_a_timm_network_takes_the_images_and_options(name, options, channels):
    network = built(name, options, channels=channels, classes=7)
    assert network(torch.zeros(2, channels, 8, 8)).shape == (2, 7)


def test_a_timm_network_is_drawn_from_the_global_generator():
    torch.manual_seed(1)
    first = built("timm:resnet10t", RESNET).state_dict()
    torch.manual_seed(1)
    second = built("timm:resnet10t", RESNET).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet10t", "'resnet10t' is not known; did you mean timm:resnet10t? There are"),
        ("timm:resnet10tt", "'timm:resnet10tt' is not known to timm; did you mean timm:resnet10t?"),
        ("timm:hf-hub:me/mine", "'timm:hf-hub:me/mine' is not known to timm"),
        ("timm:resnet10t.none", "of resnet10t there are the weights c3_in1k"),
        ("timm:resnet10t.", "of resnet10t there are the weights c3_in1k"),
    ],
)
def test_an_unknown_name_is_answered_with_the_one_that_timm_has(name, hint):
    assert hint in problem(name)


@pytest.mark.parametrize(
    "option",
    ["pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"],
)
def test_options_that_would_read_files_are_refused(option):
    assert problem("timm:resnet10t", **{option: "x"}) == (
        f"workload.network.options.{option}: is not passed on; weights come from workload.weights"
    )


def test_an_option_that_timm_does_not_take_is_named():
    assert problem("timm:resnet10t", wide=2) == (
        "workload.network.options: timm:resnet10t raised TypeError: "
        "ResNet.__init__() got an unexpected keyword argument 'wide'"
    )


def test_without_timm_a_name_says_how_to_install_it(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "timm" else found(name)
    )
    assert problem("timm:resnet10t") == (
        "workload.network: 'timm:resnet10t' is timm's, which is not installed:  "
        "pip install 'trp_search[timm]'"
    )
    assert "(timm's need  pip install 'trp_search[timm]')" in problem("resnet10t")


def workload(
    network: str = "timm:resnet10t", weights: str | None = None, **data: object
) -> Workload:
    options = data.pop("options", {})
    given = DataSpec(**{"name": "images", "root": "nowhere", **data})
    return Workload(network=NetworkSpec(name=network, options=options), data=given, weights=weights)


def test_a_folder_s_size_and_normalisation_are_the_network_s():
    now = configured(workload()).data
    assert (now.image_size, now.mean, now.std) == (
        176,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )
    assert configured(workload(options={"img_size": 32})).data.image_size == 32
    assert configured(workload("timm:vit_tiny_patch16_224")).data.mean == (0.5, 0.5, 0.5)
    assert added(workload(), configured(workload())) == (
        "workload.data: image_size 176, mean 0.485 0.456 0.406, std 0.229 0.224 0.225, "
        "as timm:resnet10t has them"
    )


@pytest.mark.parametrize(
    "given",
    [
        workload("resnet18"),
        workload(name="digits", root=None),
        workload(name="cifar10"),
        workload(name="mine:images", root=None),
        workload(image_size=64, mean=(0.0,) * 3, std=(1.0,) * 3),
    ],
    ids=["torchvision", "digits", "cifar10", "a callable", "stated"],
)
def test_what_a_space_states_and_data_of_their_own_size_are_kept(given):
    assert configured(given) == given
    assert added(given, given) == ""


def test_grey_images_get_no_normalisation_for_colour():
    now = configured(workload(channels=1)).data
    assert (now.image_size, now.mean) == (176, None)


def checked(network: str, weights: str, *, classes: int) -> None:
    given = workload(network, weights)
    shape = Shape(channels=3, height=8, width=8, classes=classes)
    networks.check_weights(nn.Identity(), given, shape)


@pytest.mark.parametrize(
    ("network", "weights"), [("timm:resnet10t", "timm"), ("resnet18", "torchvision")]
)
def test_published_weights_are_for_their_own_classes(network, weights):
    checked(network, weights, classes=1000)
    with pytest.raises(InputError, match="a head of 1000 classes, and the network here has 10: "):
        checked(network, weights, classes=10)


@pytest.mark.parametrize(
    ("network", "weights"),
    [
        ("timm:resnet10t", "torchvision"),
        ("resnet18", "timm"),
        ("timm:beit3_giant_patch14_224", "timm"),
    ],
)
def test_weights_that_a_library_does_not_publish_are_refused(network, weights):
    with pytest.raises(InputError) as caught:
        checked(network, weights, classes=1000)
    assert str(caught.value) == (
        f"workload.weights: {weights!r} has none for {network}; give null or a file of weights"
    )


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """The Hub's cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("cache")
def test_weights_that_cannot_be_downloaded_are_told_of_in_one_line():
    spec = NetworkSpec(name="timm:resnet10t")
    with pytest.raises(InputError) as caught:
        networks.load_weights(nn.Identity(), "timm", spec=spec, channels=3)
    assert str(caught.value).startswith(
        "workload.weights: 'timm': those of timm:resnet10t cannot be fetched: "
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [1000, 10])
def test_weights_in_the_hub_s_cache_are_the_network_s_with_their_own_head(cache, classes):
    spec = NetworkSpec(name="timm:test_resnet", options={"num_classes": classes})
    torch.manual_seed(1)
    published = networks.build(NetworkSpec(name=spec.name), channels=3, classes=1000).state_dict()
    place = cache / "models--timm--test_resnet.r160_in1k"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    (place / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(published, place / "snapshots" / ("0" * 40) / "model.safetensors")
    network = networks.build(spec, channels=3, classes=classes)
    if classes == 1000:
        networks.load_weights(network, "timm", spec=spec, channels=3)
        found = network.state_dict()
        assert all(torch.equal(found[key], published[key]) for key in published)
    else:
        with pytest.raises(InputError, match="a head of 1000 classes, and the network here has 10"):
            networks.load_weights(network, "timm", spec=spec, channels=3)
