import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import Joint
from trp_search.training.joint import JointTraining

SCHEME_NAMES = ["channel", "spatial"]
FIXED = {"lowest": 0.4, "highest": 0.4, "rank_min": 2}
NESTEROV = {"lr": 0.05, "momentum": 0.9, "nesterov": True}
WEIGHTS = ["0.weight", "3.weight", "5.weight", "9.weight"]
EXAMPLE = torch.zeros(1, 3, 7, 7)


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


def batch(number=0):
    generator = torch.Generator().manual_seed(number)
    return (
        torch.randn(6, 3, 7, 7, generator=generator),
        torch.randint(5, (6,), generator=generator),
    )


def passes(network, number=0):
    images, labels = batch(number)
    network.zero_grad()
    loss = functional.cross_entropy(network(images), labels)
    loss.backward()
    return loss


def train(network, joint, steps, *, first=0, **options):
    """The weights that each of the low-rank passes saw."""
    optimizer = torch.optim.SGD(network.parameters(), **(options or NESTEROV))
    seen = []

    def watched(number):
        seen.append([p.detach().clone() for p in network.parameters()])
        return passes(network, number)

    for number in range(first, first + steps):
        joint.backward(lambda number=number: watched(number))
        optimizer.step()
    return seen[1::2]


def joint_for(network, *, example=EXAMPLE, seed=0, **options):
    return JointTraining(network, example, Joint(layers="all", **options), seed=seed)


def shape_of(weight):
    return (*weight.shape, *[1] * (4 - weight.dim()))


def pooled_ranks(weights, scheme, ratio, least):
    """By float64 SVDs, straight from the paper."""
    values = [
        torch.linalg.svdvals(SCHEMES[scheme].matrices(w.double().reshape(shape_of(w)))[0])
        for w in weights
    ]
    pooled = sorted(torch.cat(values).tolist(), reverse=True)
    last = pooled[round(ratio * len(pooled)) - 1]
    return [max(min(least, len(v)), int((v >= last).sum())) for v in values]


def truncated(weight, scheme, rank):
    u, s, vh = torch.linalg.svd(
        SCHEMES[scheme].matrices(weight.reshape(shape_of(weight)))[0], full_matrices=False
    )
    low = ((u[:, :rank] * s[:rank]) @ vh[:rank]).unsqueeze(0)
    return SCHEMES[scheme].weight(low, shape_of(weight)).reshape(weight.shape)


def gradients_of(network):
    return {name: p.grad.clone() for name, p in network.named_parameters()}


def expected(network, scheme, alpha, ratio, least):
    """The joint gradient in float64, autograd going through each weight's SVD."""
    double = copy.deepcopy(network).double()
    parameters = dict(double.named_parameters())
    images, labels = batch()

    def gradients(replaced):
        loss = functional.cross_entropy(
            functional_call(double, replaced, (images.double(),)), labels
        )
        found = torch.autograd.grad(loss, list(parameters.values()))
        return dict(zip(parameters, found, strict=True))

    full = gradients({})
    ranks = pooled_ranks([parameters[name].detach() for name in WEIGHTS], scheme, ratio, least)
    low = gradients(
        {
            name: truncated(parameters[name], scheme, rank)
            for name, rank in zip(WEIGHTS, ranks, strict=True)
        }
    )
    for name in WEIGHTS:
        low[name] *= full[name].norm() / low[name].norm()
    return {name: (1 - alpha) * full[name] + alpha * low[name] for name in full}


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_the_gradient_is_the_papers(scheme, alpha):
    network = small()
    wanted = expected(network, scheme, alpha, 0.4, 2)
    joint_for(network, scheme=scheme, alpha=alpha, **FIXED).backward(lambda: passes(network))
    for name, found in gradients_of(network).items():
        torch.testing.assert_close(found.double(), wanted[name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
@pytest.mark.parametrize(("ratio", "least"), [(0.4, 2), (0.05, 5), (0.05, 100)])
def test_ranks_are_what_is_left_of_all_layers_largest_singular_values(scheme, ratio, least):
    network = small()
    weights = [network.get_parameter(name).detach() for name in WEIGHTS]
    ranks = pooled_ranks(weights, scheme, ratio, least)
    wanted = [truncated(w, scheme, rank) for w, rank in zip(weights, ranks, strict=True)]
    joint = joint_for(network, scheme=scheme, lowest=ratio, highest=ratio, rank_min=least)
    low = []
    joint.backward(
        lambda: (
            low.append([network.get_parameter(name).detach().clone() for name in WEIGHTS])
            or passes(network)
        )
    )
    for found, one in zip(low[1], wanted, strict=True):  # of the second pass
        torch.testing.assert_close(found, one, atol=1e-5, rtol=1e-4)


def test_without_the_low_rank_loss_it_is_plain_training_bit_for_bit():
    network, plain = small(), small()
    train(network, joint_for(network, alpha=0.0), 4)
    optimizer = torch.optim.SGD(plain.parameters(), **NESTEROV)
    for number in range(4):
        passes(plain, number)
        optimizer.step()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
@pytest.mark.parametrize("full", [{"lowest": 1.0, "highest": 1.0}, {"rank_min": 100}], ids=str)
def test_at_full_rank_both_gradients_are_one(scheme, full):
    network, plain = small(), small()
    joint_for(network, scheme=scheme, **full).backward(lambda: passes(network))
    passes(plain)
    for name, wanted in gradients_of(plain).items():
        torch.testing.assert_close(gradients_of(network)[name], wanted, atol=1e-5, rtol=1e-4)


def test_the_low_rank_gradient_of_a_truncated_weight_has_the_norm_of_the_full_one():
    network, plain = small(), small()
    joint_for(network, alpha=1.0, **FIXED).backward(lambda: passes(network))
    passes(plain)
    for name in WEIGHTS:
        found, wanted = network.get_parameter(name).grad, plain.get_parameter(name).grad
        assert not torch.allclose(found, wanted, rtol=0.01)
        torch.testing.assert_close(found.norm(), wanted.norm())


def test_a_step_is_the_passes_it_says_and_its_loss_is_the_full_networks():
    network, plain = small(), small()
    losses = []
    joint = joint_for(network)
    loss = joint.backward(lambda: losses.append(passes(network)) or losses[-1])
    assert len(losses) == 2
    assert torch.equal(loss, passes(plain).detach())
    assert not loss.requires_grad


def test_weights_and_running_averages_are_as_the_full_pass_leaves_them():
    network, plain = small(), small()
    joint_for(network, **FIXED).backward(lambda: passes(network))
    passes(plain)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_passes_that_write_loss_and_gradients_where_they_were_give_the_same():
    # As a replayed CUDA graph does.
    network, eager = small(), small()
    loss = passes(network).detach()
    places = {name: p.grad for name, p in network.named_parameters()}

    def replayed():
        loss.copy_(passes(network).detach())
        for name, parameter in network.named_parameters():
            parameter.grad = places[name].copy_(parameter.grad)
        return loss

    network.load_state_dict(small().state_dict())
    found = joint_for(network, **FIXED).backward(replayed)
    assert torch.equal(found, joint_for(eager, **FIXED).backward(lambda: passes(eager)))
    for name, parameter in eager.named_parameters():
        assert network.get_parameter(name).grad is places[name]
        assert torch.equal(places[name], parameter.grad)


def test_a_pass_that_fails_leaves_the_weights_in_place():
    network, calls = small(), []

    def failing():
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("no memory")
        return passes(network)

    with pytest.raises(ValueError, match="no memory"):
        joint_for(network, **FIXED).backward(failing)
    for left, right in zip(network.parameters(), small().parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_resumed_training_draws_what_an_uninterrupted_one_does():
    options = {"lowest": 0.1, "highest": 0.9, "rank_min": 1, "seed": 3}
    whole, parts = small(), small()
    plain = {"lr": 0.05}  # so that the optimiser has no state of its own
    seen = train(whole, joint_for(whole, **options), 4, **plain)
    first = joint_for(parts, **options)
    again = train(parts, first, 2, **plain)
    second = joint_for(parts, **options)
    second.load_state_dict(first.state_dict())
    again += train(parts, second, 2, first=2, **plain)
    assert second.iteration == 4
    for left, right in zip(seen, again, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def test_ratios_differ_by_iteration_and_by_seed():
    def ranks(seed):
        network = small()
        joint = joint_for(network, lowest=0.05, highest=1.0, rank_min=1, seed=seed)
        low = train(network, joint, 5)
        return [int(torch.linalg.matrix_rank(w[4].flatten(1), rtol=1e-4)) for w in low]

    assert len(set(ranks(0))) > 1
    assert ranks(0) == ranks(0)
    assert ranks(0) != ranks(1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_half_precision_around_both_passes_is_as_within_each(layout):
    def gradients(*, around):
        network = small().to(memory_format=layout)
        joint = joint_for(network, **FIXED)

        def half():
            images, labels = batch()
            network.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = network(images.contiguous(memory_format=layout))
                loss = functional.cross_entropy(output, labels)
            loss.backward()
            return loss

        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=around):
            joint.backward(half)
        assert network[3].weight.is_contiguous(memory_format=layout)
        return gradients_of(network)

    within, around = gradients(around=False), gradients(around=True)
    for name, gradient in within.items():
        assert gradient.isfinite().all()
        assert torch.equal(gradient, around[name]), name


class WithSpare(nn.Sequential):
    """A sequence beside a layer that it never calls."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.extra = nn.Linear(4, 4)

    def forward(self, images):
        for layer in list(self)[:-1]:
            images = layer(images)
        return images


def test_frozen_and_unused_weights_have_no_gradient():
    network = WithSpare(*small())
    network[3].weight.requires_grad_(False)
    joint = joint_for(network, **FIXED)
    joint.backward(lambda: passes(network))
    assert network[3].weight.grad is None
    assert network.extra.weight.grad is None
    assert network[0].weight.grad is not None


@pytest.mark.parametrize("skipped", [0, 1])
def test_a_layer_that_one_pass_skips_has_the_other_ones_share(skipped):
    network, calls = small(), []

    def skipping():
        loss = passes(network)
        if len(calls) == skipped:
            network[1].weight.grad = None
        calls.append(network[1].weight.grad)
        return loss

    joint_for(network, alpha=0.25, **FIXED).backward(skipping)
    share = 0.25 if skipped == 0 else 0.75
    plain = small()
    joint_for(plain, alpha=1.0 if skipped == 0 else 0.0, **FIXED).backward(lambda: passes(plain))
    torch.testing.assert_close(network[1].weight.grad, share * plain[1].weight.grad)


def blobs(seed):
    """More classes than the rank that is left of a layer."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(20, 24, generator=torch.Generator().manual_seed(9))
    labels = torch.randint(20, (256,), generator=generator)
    return centres[labels] + 0.8 * torch.randn(256, 24, generator=generator), labels


def low_rank_loss(seed, *, jointly, ratio=0.3):
    """On other images than 120 steps were trained on, after a truncation."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 20)
    )
    joint = joint_for(
        network, example=torch.zeros(1, 24), lowest=0.1, highest=0.4, rank_min=1, seed=seed
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)
    images, labels = blobs(0)

    def fit():
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        return loss

    for _ in range(120):
        if jointly:
            joint.backward(fit)
        else:
            fit()
        optimizer.step()
    weights = [network[place].weight.detach() for place in (0, 2, 4)]
    for weight, rank in zip(weights, pooled_ranks(weights, "channel", ratio, 1), strict=True):
        weight.copy_(truncated(weight, "channel", rank))
    images, labels = blobs(1)
    return float(functional.cross_entropy(network(images), labels).detach())


@pytest.mark.parametrize("seed", range(2))
def test_a_network_trained_for_low_ranks_is_better_at_them_than_a_plain_one(seed):
    assert low_rank_loss(seed, jointly=True) < 0.6 * low_rank_loss(seed, jointly=False)


def test_a_network_without_a_weight_to_cut_is_one_line():
    network = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(InputError, match="layers: kxk: no weight that trains can be cut"):
        JointTraining(network, torch.zeros(1, 2), Joint(layers="kxk"))
