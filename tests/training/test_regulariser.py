import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import Energy, Error, Evbmf, GavishDonoho, Value
from trp_search.training.regulariser import TrainedRankPruning

SCHEME_NAMES = list(SCHEMES)
EXAMPLE = torch.zeros(1, 2, 9, 9)


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, (3, 5), stride=2),
        nn.Flatten(),
        nn.LazyLinear(4),
    )


def batches(count):
    generator = torch.Generator().manual_seed(7)
    for _ in range(count):
        yield (
            torch.randn(5, 2, 9, 9, generator=generator),
            torch.randint(4, (5,), generator=generator),
        )


def ready(seed=0):
    network = small(seed)
    network(next(batches(1))[0])
    return network


def train(network, pruning, steps, *, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True
    )
    for images, labels in batches(steps):
        if pruning:
            pruning.before_forward()
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        if pruning:
            pruning.before_step()
        optimizer.step()
    return network


def truncated(weight, scheme, energy):
    """(low-rank weight, U V^T) by float64 SVDs, one matrix at a time, straight from the paper."""
    method = SCHEMES[scheme]
    shape = (*weight.shape, *[1] * (4 - weight.dim()))
    low, polar = [], []
    for matrix in method.matrices(weight.detach().double().reshape(shape)):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        total, kept, rank = float((s**2).sum()), 0.0, 0
        while kept < energy * total:
            kept += float(s[rank]) ** 2
            rank += 1
        low.append((u[:, :rank] * s[:rank]) @ vh[:rank])
        polar.append(u[:, :rank] @ vh[:rank])
    fold = lambda parts: method.weight(torch.stack(parts), shape).reshape(weight.shape).float()  # noqa: E731
    return fold(low), fold(polar)


def selected(network, scheme):
    skip = () if scheme != "decoupled" else (nn.Linear,)
    return [m for m in network if isinstance(m, nn.Conv2d | nn.Linear) and not isinstance(m, skip)]


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
def test_a_due_weight_is_replaced_by_its_truncated_svd_before_the_forward_pass(scheme):
    network = ready()
    expected = [truncated(m.weight, scheme, 0.8)[0] for m in selected(network, scheme)]
    TrainedRankPruning(
        network, EXAMPLE, layers="all", scheme=scheme, keep=Energy(0.8), period=4
    ).before_forward()
    for module, low in zip(selected(network, scheme), expected, strict=True):
        torch.testing.assert_close(module.weight.detach(), low, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
@pytest.mark.parametrize("projection", [True, False])
@pytest.mark.parametrize("every_step", [True, False])
def test_training_follows_the_paper_step_by_step(scheme, projection, every_step):
    period, weight, energy = 3, 0.02, 0.8
    ours, theirs = ready(), ready()
    pruning = TrainedRankPruning(
        ours,
        EXAMPLE,
        layers="all",
        scheme=scheme,
        keep=Energy(energy),
        period=period,
        projection=projection,
        nuclear_weight=weight,
        nuclear_every_step=every_step,
    )
    train(ours, pruning, 7)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for t, (images, labels) in enumerate(batches(7)):
        pulls = {}
        for module in selected(theirs, scheme):
            low, polar = truncated(module.weight, scheme, energy)
            if t % period == 0 and projection:
                module.weight.data = low
            if t % period == 0 or every_step:
                pulls[module] = polar
        optimizer.zero_grad()
        functional.cross_entropy(theirs(images), labels).backward()
        for module, polar in pulls.items():
            module.weight.grad += weight * (1 if every_step else period) * polar
        optimizer.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=2e-4, rtol=1e-3)


def test_never_without_a_nuclear_term_is_plain_training_bit_for_bit():
    network = ready()
    pruned = train(network, TrainedRankPruning(network, EXAMPLE, layers="all", period=None), 5)
    plain = train(ready(), None, 5)
    for left, right in zip(pruned.parameters(), plain.parameters(), strict=True):
        assert torch.equal(left, right)


def test_iterations_count_over_the_whole_run_and_are_taken_up_again():
    whole, parts = ready(), ready()
    train(whole, TrainedRankPruning(whole, EXAMPLE, layers="all", keep=Energy(0.7), period=3), 4)
    first = TrainedRankPruning(parts, EXAMPLE, layers="all", keep=Energy(0.7), period=3)
    train(parts, first, 4)
    assert first.iteration == 4
    second = TrainedRankPruning(parts, EXAMPLE, layers="all", keep=Energy(0.7), period=3)
    second.load_state_dict(first.state_dict())
    before = copy.deepcopy(parts.state_dict())
    second.before_forward()  # t = 4 is not due
    assert all(torch.equal(before[name], t) for name, t in parts.state_dict().items())


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
@pytest.mark.parametrize("keep", [Evbmf(), GavishDonoho(), Value(9.0)])
def test_a_rule_that_would_keep_nothing_keeps_one(keep, scheme):
    network = ready()
    TrainedRankPruning(network, EXAMPLE, keep, scheme=scheme, layers="all").before_forward()
    for module in selected(network, scheme):
        shape = (*module.weight.shape, *[1] * (4 - module.weight.dim()))
        for matrix in SCHEMES[scheme].matrices(module.weight.detach().reshape(shape)):
            assert torch.linalg.matrix_rank(matrix) >= 1


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
def test_strided_convolutions_are_projected_like_the_others(scheme):
    network = ready()
    before = network[4].weight.detach().clone()
    TrainedRankPruning(
        network, EXAMPLE, layers="all", scheme=scheme, keep=Energy(0.6), period=1
    ).before_forward()
    assert not torch.equal(network[4].weight, before)


def test_a_projection_does_not_look_at_break_even():
    # 6 x 18: factoring saves up to rank 4 only, and losing the smallest value still happens.
    network = ready()
    squares = torch.linalg.svdvals(network[0].weight.detach().flatten(1).double()).square()
    energy = float(1 - squares[-1] / squares.sum() * 1.01)
    TrainedRankPruning(
        network, EXAMPLE, layers="all", scheme="channel", keep=Energy(energy), period=1
    ).before_forward()
    rank = torch.linalg.matrix_rank(network[0].weight.detach().flatten(1), rtol=1e-4)
    assert int(rank) == 5


def test_the_nuclear_pull_has_unit_singular_values():
    network = ready()
    pruning = TrainedRankPruning(
        network,
        EXAMPLE,
        layers="all",
        projection=False,
        keep=Energy(1.0),
        period=1,
        nuclear_weight=0.5,
        scheme="channel",
    )
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    pruning.before_forward()
    pruning.before_step()
    values = torch.linalg.svdvals(network[2].weight.grad.flatten(1))
    torch.testing.assert_close(values, torch.full_like(values, 0.5), atol=1e-3, rtol=0)


def test_layers_without_a_gradient_are_left_alone():
    network = ready()
    network[0].weight.requires_grad_(False)
    train(
        network, TrainedRankPruning(network, EXAMPLE, layers="all", period=1, nuclear_weight=0.1), 2
    )
    assert network[0].weight.grad is None


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"keep": Error(0.5)}, "keep: error"),
        ({"period": 0}, "period"),
        ({"scheme": "cp"}, "scheme"),
        ({"nuclear_weight": -1.0}, "nuclear_weight"),
        ({"nuclear_weight": float("nan")}, "nuclear_weight"),
    ],
)
def test_a_setting_out_of_range_is_one_line_that_names_it(options, part):
    with pytest.raises(InputError) as caught:
        TrainedRankPruning(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2), **options)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet"])
def test_torchvision_networks_train_with_it(name):
    extra = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, num_classes=4, **extra)
    pruning = TrainedRankPruning(
        network, torch.zeros(1, 3, 64, 64), Energy(0.9), layers="all", period=2, nuclear_weight=1e-3
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    for _ in range(2):
        pruning.before_forward()
        output = network(torch.randn(2, 3, 64, 64))
        logits = output if isinstance(output, torch.Tensor) else output.logits
        optimizer.zero_grad()
        logits.square().mean().backward()
        pruning.before_step()
        optimizer.step()
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_half_precision_around_the_call_changes_nothing():
    plain, cast = ready(), ready()
    options = {"keep": Energy(0.8), "period": 1, "nuclear_weight": 0.1}
    train(plain, TrainedRankPruning(plain, EXAMPLE, layers="all", **options), 1)
    pruning = TrainedRankPruning(cast, EXAMPLE, layers="all", **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pruning.before_forward()
    images, labels = next(batches(1))
    optimizer = torch.optim.SGD(cast.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    functional.cross_entropy(cast(images), labels).backward()
    pruning.before_step()
    optimizer.step()
    for left, right in zip(plain.parameters(), cast.parameters(), strict=True):
        assert torch.equal(left, right)


def test_frozen_weights_are_not_truncated():
    network = ready()
    network[2].weight.requires_grad_(False)
    before = network[2].weight.clone()
    TrainedRankPruning(network, EXAMPLE, layers="all", keep=Energy(0.5), period=1).before_forward()
    assert torch.equal(network[2].weight, before)
