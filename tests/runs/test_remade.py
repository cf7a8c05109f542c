"""What makes a live network again, and what is refused because nothing does."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.records import DataSpec, NetworkSpec, Workload
from trp_search.runs.remade import remade
from trp_search.workloads import networks

DIGITS = Workload(network=NetworkSpec(name="any"), data=DataSpec(name="digits"))
COLOURS = dataclasses.replace(
    DIGITS, data=DataSpec(name="images", root="/none", classes=10, channels=3, image_size=32)
)


class Own(nn.Module):
    """A network as users write it: arguments are kept under their names."""

    def __init__(self, widths: tuple[int, ...], *, drop: float = 0.0, act: type = nn.ReLU) -> None:
        super().__init__()
        self.widths, self.drop = widths, drop
        pairs = zip((1, *widths), widths, strict=False)
        self.body = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(a, b, 3), nn.BatchNorm2d(b), act()) for a, b in pairs)
        )
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, images: Tensor) -> Tensor:
        found = self.body(images).mean((2, 3))
        return self.head(nn.functional.dropout(found, self.drop, self.training))


class Forgetful(Own):
    """It keeps no trace of an argument."""

    def __init__(self, depth: int) -> None:
        super().__init__((4,) * depth)


class Tied(Own):
    """Its two blocks share a weight."""

    def __init__(self) -> None:
        super().__init__((4, 4))
        self.extra = nn.Conv2d(4, 4, 3)
        self.extra.weight = self.body[1][0].weight


def kept() -> nn.Module:
    """One weight is a buffer: nothing trains it."""
    network = Own((4, 6))
    weight = network.head.weight
    del network.head.weight
    network.head.register_buffer("weight", weight.detach())
    return network


def untied() -> nn.Module:
    network = Tied()
    network.extra.weight = nn.Parameter(network.extra.weight.detach().clone())
    return network


NAME = f"{__name__}:Own"
VIT = "vit_tiny_patch16_224"
SMALL = {"num_classes": 10}


@pytest.mark.parametrize(
    ("make", "name", "options"),
    [
        (lambda: Own((4, 6)), NAME, {"widths": [4, 6]}),
        (lambda: Own((4, 6), drop=0.5), NAME, {"widths": [4, 6], "drop": 0.5}),
        (lambda: torchvision.models.squeezenet1_1(**SMALL), "squeezenet1_1", {}),
        (lambda: torchvision.models.mobilenet_v3_small(**SMALL), "mobilenet_v3_small", {}),
        (lambda: timm.create_model("resnet10t", **SMALL), "timm:resnet10t.c3_in1k", {}),
        (
            lambda: timm.create_model("resnet10t", drop_rate=0.1, **SMALL),
            "timm:resnet10t.c3_in1k",
            {"drop_rate": 0.1},
        ),
        (
            lambda: timm.create_model(VIT, img_size=32, **SMALL),
            f"timm:{VIT}.augreg_in21k_ft_in1k",
            {"img_size": [32, 32]},
        ),
    ],
)
def test_what_is_found_makes_the_network_again(
    make: Callable[[], nn.Module], name: str, options: dict
):
    live = make()
    before, drawn = copy.deepcopy(live.state_dict()), torch.random.get_rng_state()
    workload = DIGITS if name == NAME else COLOURS
    spec = remade(live, workload)
    assert spec == NetworkSpec(name=name, options=options)
    assert live.training
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in live.state_dict().items())
    made = networks.build(spec, channels=1 if workload is DIGITS else 3, classes=10)
    made.load_state_dict(live.state_dict())
    assert str(made) == str(live)


def changed(change: Callable[[nn.Module], object], network: nn.Module | None = None) -> nn.Module:
    network = network or Own((4, 6))
    change(network)
    return network


def headed(network: Own) -> None:
    network.head = nn.Linear(6, 10, bias=False)


def smooth(network: Own) -> None:
    network.body[0][2] = nn.GELU()


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (changed(headed), "its weights do not fit: it has no head.bias"),
        (changed(smooth), "its part 'body.0.2' is ReLU, not GELU"),
        (changed(lambda own: setattr(own.body[0][0], "padding", (1, 1))), "padding is [0, 0], not"),
        (changed(lambda own: setattr(own.body[1][1], "momentum", 0.5)), "momentum is 0.1, not 0.5"),
        (changed(lambda own: own.register_forward_hook(lambda *x: 2 * x[2])), "answers otherwise"),
        (
            changed(lambda own: own.body.requires_grad_(False)),
            "its body.0.0.bias is trained, not frozen",
        ),
        (kept(), "its head.weight is trained, not frozen"),
        (untied(), "its body.1.0.weight and extra.weight share a weight in one of the two alone"),
        (Own((4,), act=nn.GELU), "its part 'body.0.2' is ReLU, not GELU"),
        (Forgetful(2), "the argument 'depth' of its class is kept in no attribute"),
        (nn.DataParallel(Own((4,))), "the argument 'module' of its class is Own, and a number"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "its part '0' is NoneType, not Flatten"),
    ],
)
def test_a_network_that_nothing_makes_again_is_refused(network: nn.Module, why: str):
    with pytest.raises(InputError, match=re.escape(why)) as caught:
        remade(network, DIGITS)
    said = str(caught.value)
    assert said.startswith(f"network: a live {type(network).__name__} cannot be made again")
    assert said.endswith("give the function or class that makes it, and its weights as "
                         "workload.weights")  # fmt: skip
    assert "\n" not in said


def test_a_class_that_stands_in_no_module_is_refused():
    class Local(Own):
        pass

    with pytest.raises(InputError, match="cannot be imported by other processes"):
        remade(Local((4,)), DIGITS)


def test_a_network_for_other_images_is_refused():
    with pytest.raises(InputError, match="its num_classes is 10, not 1000"):
        remade(torchvision.models.squeezenet1_1(), COLOURS)


def test_weights_of_the_space_and_of_the_network_exclude_each_other():
    with pytest.raises(InputError, match=r"workload\.weights: a live Own has its own: null"):
        remade(Own((4,)), dataclasses.replace(DIGITS, weights="some.safetensors"))


def test_a_network_of_another_precision_than_images_is_refused():
    with pytest.raises(InputError, match="its weights are float16 and images float32: give it"):
        remade(Own((4,)).half(), DIGITS)


def test_what_has_no_layers_to_replace_is_refused_first():
    with pytest.raises(InputError, match="a live Linear: it is on the meta device"):
        remade(nn.Linear(1, 1, device="meta"), DIGITS)
