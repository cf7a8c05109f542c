"""A network whose weights are replaced while it trains keeps being truncated, or says why not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.records import Energy, Joint
from trp_search.training.joint import JointTraining
from trp_search.training.regulariser import TrainedRankPruning

EXAMPLE = torch.zeros(1, 8)


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 4))


def step(network):
    images = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    network.zero_grad()
    loss = functional.cross_entropy(network(images), torch.arange(6) % 4)
    loss.backward()
    return loss


def rank(network):
    return int(torch.linalg.matrix_rank(network[2].weight.detach(), rtol=1e-4))


def assigned(network):
    network.load_state_dict(copy.deepcopy(small().state_dict()), assign=True)


def set_by_hand(network):
    network[2].weight = nn.Parameter(small()[2].weight.detach().clone())


def layer_replaced(network):
    network[2] = small()[2]


def made_double(network):
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        network.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


@pytest.mark.parametrize("change", [assigned, set_by_hand, layer_replaced, made_double])
def test_weights_that_were_put_in_the_place_of_others_are_truncated(change):
    network = small()
    pruning = TrainedRankPruning(
        network, EXAMPLE, layers="all", keep=Energy(0.5), period=1, nuclear_weight=0.1
    )
    before = network[2].weight
    change(network)
    assert network[2].weight is not before
    assert rank(network) == 16
    pruning.before_forward()
    assert rank(network) < 10
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    pruning.before_step()
    assert network[2].weight.grad.abs().sum() > 0


def test_joint_training_finds_them_too():
    network, seen = small(), []
    settings = Joint(layers="all", lowest=0.2, highest=0.2, rank_min=1)
    joint = JointTraining(network, EXAMPLE, settings)
    assigned(network)

    def passes():
        seen.append(rank(network))
        return step(network)

    joint.backward(passes)
    assert seen[0] == 16
    assert seen[1] < 10
    assert rank(network) == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda network: network.pop(3), "the network no longer has layer '3'"),
        (
            lambda network: setattr(network, "2", nn.Linear(16, 8)),
            "layer '2' no longer has the weight of shape (16, 16) that was chosen",
        ),
        (
            lambda network: nn.utils.parametrizations.weight_norm(network[2]),
            "layer '2' no longer has the weight of shape (16, 16) that was chosen",
        ),
        (lambda network: setattr(network, "2", nn.ReLU()), "layer '2' no longer has the weight"),
    ],
)
@pytest.mark.parametrize("kind", [TrainedRankPruning, JointTraining])
def test_a_layer_that_is_gone_or_another_is_one_line(kind, change, message):
    network = small()
    training = kind(network, EXAMPLE, *([Joint()] if kind is JointTraining else []))
    change(network)
    with pytest.raises(InputError) as caught:
        if isinstance(training, JointTraining):
            training.backward(lambda: torch.zeros(()))
        else:
            training.before_forward()
    assert str(caught.value).startswith(f"{kind.__name__}: {message}")


def iterations(pruning, trained, count):
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    for _ in range(count):
        pruning.before_forward()
        step(trained)
        pruning.before_step()
        optimizer.step()


def test_a_copy_that_is_trained_in_the_networks_place_is_one_line():
    network = small()
    pruning = TrainedRankPruning(network, EXAMPLE, layers="all", keep=Energy(0.5), period=2)
    with pytest.raises(InputError, match="a copy that is trained in its place needs"):
        iterations(pruning, copy.deepcopy(network), 3)


def test_a_copy_of_both_goes_on_with_the_copied_network():
    network = small()
    copied, pruning = copy.deepcopy(
        (network, TrainedRankPruning(network, EXAMPLE, layers="all", keep=Energy(0.5), period=2))
    )
    iterations(pruning, copied, 3)
    assert rank(network) == 16
    pruning.load_state_dict({"iteration": 0})
    pruning.before_forward()
    assert rank(copied) < 10


def test_an_optimiser_that_steps_in_the_backward_pass_leaves_no_gradient_and_trains():
    network = small()

    def apply(parameter):
        with torch.no_grad():
            parameter -= 0.1 * parameter.grad
        parameter.grad = None

    for parameter in network.parameters():
        parameter.register_post_accumulate_grad_hook(apply)
    pruning = TrainedRankPruning(network, EXAMPLE, layers="all", keep=Energy(0.5), period=2)
    for _ in range(5):
        pruning.before_forward()
        step(network)
        pruning.before_step()
    assert pruning.iteration == 5


def test_complex_weights_are_refused_where_there_are_no_others():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, dtype=torch.complex64))
    image = torch.zeros(1, 3, 8, 8, dtype=torch.complex64)
    with pytest.raises(InputError, match="no layer can be truncated: their weights are complex"):
        TrainedRankPruning(network, image, layers="all", keep=Energy(0.5), period=1)
