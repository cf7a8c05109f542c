from __future__ import annotations

import functools

import pytest
import torch
import torchvision
from torch import nn

from trp_search.errors import InputError
from trp_search.records import NetworkSpec
from trp_search.workloads import networks
from trp_search.workloads.live import specification

RESNET = functools.partial(torchvision.models.resnet18, num_classes=3)


@pytest.mark.parametrize(
    ("network", "spec"),
    [
        ("timm:resnet10t", NetworkSpec(name="timm:resnet10t")),
        (nn.Conv2d, NetworkSpec(name="torch.nn.modules.conv:Conv2d")),
        (
            RESNET,
            NetworkSpec(name="torchvision.models.resnet:resnet18", options={"num_classes": 3}),
        ),
    ],
)
def test_a_network_is_given_by_name_function_or_class(network, spec):
    assert specification(network) == spec


def test_what_is_specified_is_what_the_function_makes():
    torch.manual_seed(0)
    made = RESNET().state_dict()
    torch.manual_seed(0)
    built = networks.build(specification(RESNET), channels=3, classes=3).state_dict()
    assert all(torch.equal(made[key], built[key]) for key in made)


def refused(network: object) -> str:
    with pytest.raises(InputError) as caught:
        specification(network)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("network", [lambda: nn.Linear(1, 1), functools.partial(RESNET, False)])
def test_what_other_processes_cannot_import_is_refused(network):
    assert "cannot be imported by other processes" in refused(network)


def test_arguments_that_no_file_can_hold_are_refused():
    assert "its arguments are not plain values" in refused(
        functools.partial(nn.Conv2d, padding=object())
    )
