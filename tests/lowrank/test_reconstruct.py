import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.lowrank import reconstruct
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.followers import followers
from trp_search.lowrank.reconstruct import reconstruct_
from trp_search.workloads.residual import ResidualNetwork

IMAGES = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BATCHES = IMAGES.split(10)
either = pytest.mark.parametrize("relu", [False, True])


def settled(network):
    """In evaluation mode, its weights uneven and its batch norms past their first values."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                shape = module.weight.shape
                decay = 0.7 ** torch.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
                mixing = torch.randn(shape[0], shape[0], generator=generator)
                uneven = mixing @ (decay * torch.randn(shape, generator=generator)).flatten(1)
                module.weight.copy_(uneven.reshape(shape) / shape[1:].numel() ** 0.5)
                if module.bias is not None:
                    module.bias.copy_(0.3 * torch.randn(shape[0], generator=generator))
            if isinstance(module, nn.BatchNorm2d):
                for parameter in module.parameters():
                    parameter.copy_(torch.randn(len(parameter), generator=generator))
        network.train()
        for _ in range(8):
            network(IMAGES)
    return network.eval()


def plain():
    """Convolution and ReLU; one more without a bias; linear layers."""
    return settled(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 10, 3, stride=2, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(90, 12),
            nn.ReLU(),
            nn.Linear(12, 5),
        )
    )


def normalised():
    """Convolution, batch norm and ReLU, twice."""
    return settled(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 5),
        )
    )


def residual():
    return settled(ResidualNetwork(blocks=1, widths=(4, 8, 8), channels=3, classes=10))


NETWORKS = {"plain": plain, "normalised": normalised, "residual": residual}
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


def cut(network, share, **options):
    """Every layer at this share of its full rank."""
    ranks = {
        name: max(1, int(share * min(module.weight.flatten(1).shape)))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    return decompose(network, IMAGES[:1], keep=ranks, **options)


def fitted(network, share, *, relu, batches=BATCHES):
    """The network cut and then fitted."""
    result = cut(network, share)
    reconstruct_(result, network, batches, relu=relu)
    return result.network


@torch.no_grad()
def error(network, original):
    return float((network(IMAGES) - original(IMAGES)).square().sum())


def assert_same_weights(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], atol=1e-4, rtol=1e-4)


@pytest.fixture
def every_position(monkeypatch):
    """The sample is everything."""
    monkeypatch.setattr(reconstruct, "_PER_IMAGE", 64)
    monkeypatch.setattr(reconstruct, "_COLUMNS", 10**6)


@either
@networks
def test_at_full_rank_outputs_stay_as_they_were(network, relu):
    network = network()
    other = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    result = fitted(network, 1, relu=relu)
    torch.testing.assert_close(result(other), network(other), atol=1e-5, rtol=1e-4)


@either
@networks
def test_at_equal_ranks_outputs_are_nearer_than_before(network, relu):
    network = network()
    before = error(cut(network, 0.4).network, network)
    assert error(fitted(network, 0.4, relu=relu), network) < 0.8 * before


LAYERS = {
    "with a bias": [nn.Conv2d(3, 8, 3, stride=2, padding=1, dilation=2)],
    "without": [nn.Conv2d(3, 8, 3, bias=False, padding_mode="circular", padding=1)],
    "batch norm": [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)],
    "batch norm, no bias": [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)],
    "batch norm, no weights": [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False)],
    "linear": [nn.Flatten(), nn.Linear(192, 8)],
    "linear, of tokens": [nn.Linear(8, 6, bias=False)],
}
layers = pytest.mark.parametrize("parts", LAYERS.values(), ids=LAYERS.keys())


@layers
def test_no_other_factors_of_one_layer_are_nearer(parts, every_position):
    network = settled(nn.Sequential(*copy.deepcopy(parts)))
    for share in (0.2, 0.5, 0.9):
        found = error(fitted(network, share, relu=False), network)
        for calibration in (None, BATCHES):
            other = cut(network, share, calibration=calibration)
            assert found <= error(other.network, network) * (1 + 1e-3)


@layers
def test_after_a_relu_the_fit_for_it_is_never_worse(parts, every_position):
    network = settled(nn.Sequential(*copy.deepcopy(parts), nn.ReLU()))
    for share in (0.2, 0.5):
        errors = [error(fitted(network, share, relu=relu), network) for relu in (True, False)]
        assert errors[0] <= errors[1] * (1 + 1e-4)


def test_on_a_common_block_the_fit_for_the_relu_is_nearer(every_position):
    network = settled(
        nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    )
    relu, linear = (error(fitted(network, 0.3, relu=relu), network) for relu in (True, False))
    assert relu < 0.95 * linear


@either
def test_batches_are_only_a_way_to_hand_images_over(relu, every_position):
    network = normalised()
    split, whole = (
        fitted(network, 0.5, relu=relu, batches=batches) for batches in (iter(BATCHES), [IMAGES])
    )
    torch.testing.assert_close(split(IMAGES), whole(IMAGES), atol=1e-3, rtol=1e-3)


def test_the_order_is_that_of_calls_and_not_that_of_names():
    class Reversed(nn.Module):
        def __init__(self, first, second):
            super().__init__()
            self.second, self.first = second, first

        def forward(self, images):
            return self.second(functional.relu(self.first(images)))

    first, second = plain()[0], plain()[2]
    named = Reversed(first, second).eval()
    found = fitted(named, 0.4, relu=True)
    expected = fitted(nn.Sequential(first, nn.ReLU(), second).eval(), 0.4, relu=True)
    assert_same_weights(found.first, expected[0])
    assert_same_weights(found.second, expected[2])


def test_a_constant_goes_where_there_is_room_for_one():
    network = normalised()
    result = fitted(network, 0.5, relu=True)
    assert result[0][1].bias is None
    assert not torch.equal(result[1].running_mean, network[1].running_mean)
    assert not torch.equal(result[3][1].bias, network[3].bias)
    assert torch.equal(result[4].running_mean, network[4].running_mean)
    for place in (1, 4):
        assert torch.equal(result[place].running_var, network[place].running_var)
        assert torch.equal(result[place].bias, network[place].bias)
    assert fitted(plain(), 0.5, relu=True)[2][1].bias is None


class Block(nn.Module):
    """A convolution, then what a test is about."""

    def __init__(self, forward):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.unfixed = nn.BatchNorm2d(3, track_running_stats=False)
        self.relu = nn.ReLU()
        self.relu6 = nn.ReLU6()
        self.does = forward

    def forward(self, images):
        return self.does(self, images)


@pytest.mark.parametrize(
    ("forward", "norm", "relu"),
    [
        (lambda m, x: m.relu(m.conv(x)), None, True),
        (lambda m, x: functional.relu(m.conv(x), inplace=True), None, True),
        (lambda m, x: m.conv(x).relu_() + x, None, True),
        (lambda m, x: torch.relu(m.norm(m.conv(x))), "norm", True),
        (lambda m, x: m.relu(m.norm(m.conv(x)) + x), "norm", False),
        (lambda m, x: m.relu(m.conv(m.relu(x))), None, True),
        (lambda m, x: m.conv(x), None, False),
        (lambda m, x: m.relu6(m.conv(x)), None, False),
        (lambda m, x: m.relu(m.unfixed(m.conv(x))), None, False),
        (lambda m, x: m.norm(m.relu(m.norm(m.conv(x)))), None, False),
        (lambda m, x: (y := m.conv(x)) + m.relu(y), None, False),
        (lambda m, x: (y := m.norm(m.conv(x))) * m.relu(y), "norm", False),
    ],
)
def test_what_directly_follows_a_layer_is_seen(forward, norm, relu):
    found = followers(Block(forward))["conv"]
    assert (found.norm, found.relu) == (norm, relu)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.relu(m.conv(m.relu(m.conv(x)))),
        lambda m, x: m.relu(m.conv(x)) if x.sum() > 0 else x,
    ],
    ids=["called twice", "cannot be traced"],
)
def test_where_it_cannot_be_seen_the_fit_is_linear(forward):
    network = settled(Block(forward))
    assert "conv" not in followers(network)
    relu, linear = (fitted(network, 0.7, relu=relu) for relu in (True, False))
    assert_same_weights(relu, linear)
    assert not torch.equal(linear.conv[0].weight, cut(network, 0.7).network.conv[0].weight)


@either
@pytest.mark.parametrize("dead", [slice(2, 5), slice(None)], ids=["some", "all"])
def test_channels_that_batch_norm_makes_constant_stay_constant(dead, relu):
    network = normalised()
    with torch.no_grad():
        network[1].weight[dead] = 0
    result = fitted(network, 1, relu=relu)
    torch.testing.assert_close(result(IMAGES), network(IMAGES), atol=1e-4, rtol=1e-4)
    assert all(tensor.isfinite().all() for tensor in result.state_dict().values())


@either
@networks
def test_a_network_of_zero_weights_stays_one(network, relu):
    network = network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    result = fitted(network, 0.5, relu=relu)
    torch.testing.assert_close(result(IMAGES), network(IMAGES), atol=1e-6, rtol=0)


@either
def test_images_that_are_all_alike_leave_the_factors_of_the_weights(relu):
    network = settled(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    result = cut(network, 0.4)
    before = copy.deepcopy(result.network)
    reconstruct_(result, network, [torch.full((9, 3, 8, 8), 0.3)], relu=relu)
    was, now = (
        n[0][1].weight.flatten(1) @ n[0][0].weight.flatten(1) for n in (before, result.network)
    )
    torch.testing.assert_close(now, was, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scheme", ["spatial", "decoupled"])
def test_layers_of_other_schemes_are_left_alone(scheme):
    network = settled(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    result = decompose(network, IMAGES[:1], scheme=scheme, keep={"0": 2})
    before = copy.deepcopy(result.network.state_dict())
    reconstruct_(result, network, BATCHES, relu=True)
    assert all(torch.equal(before[name], t) for name, t in result.network.state_dict().items())


def test_layers_that_stayed_dense_are_left_alone():
    network = plain()
    result = decompose(network, IMAGES[:1], keep={"5": 3})
    before = copy.deepcopy(result.network.state_dict())
    reconstruct_(result, network, BATCHES, relu=True)
    after = result.network.state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    assert changed == {"5.0.weight", "5.1.weight", "5.1.bias"}


def test_a_pair_that_no_image_reaches_is_left_alone():
    network = settled(Block(lambda m, x: m.conv(x) if len(x) == 1 else x))
    result = cut(network, 0.5)
    before = copy.deepcopy(result.network)
    reconstruct_(result, network, [IMAGES], relu=True)
    assert all(map(torch.equal, before.parameters(), result.network.parameters()))


def test_layers_that_a_cut_no_longer_calls_are_one_clear_line():
    def forward(block, x):
        pair = isinstance(block.conv, nn.Sequential) and len(block.conv) == 2
        return x if pair else block.relu(block.conv(x))

    network = Block(forward).eval()
    with pytest.raises(InputError, match=r"^layer 'conv': 0 multiply-adds for an image"):
        fitted(network, 0.5, relu=False)


@pytest.mark.parametrize(("images", "columns"), [(4, 40), (1000, 8000), (3000, 6000), (9000, 9000)])
def test_few_positions_of_each_image_are_looked_at(images, columns):
    network = nn.Sequential(nn.Conv2d(1, 2, 1)).eval()
    batches = torch.rand(images, 1, 4, 4).split(900)
    found = reconstruct._columns(network, "0", network[0], batches, seed=0)
    assert found.shape == (2, columns)


def test_the_seed_alone_says_which_positions():
    network, results = normalised(), []
    for seed in (0, 0, 1):
        torch.manual_seed(len(results))
        result = cut(network, 0.5)
        reconstruct_(result, network, BATCHES, relu=True, seed=seed)
        results.append(result.network(IMAGES))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("name", ["0", "5"])
def test_an_image_that_is_not_finite_names_the_first_fitted_layer_that_meets_it(name):
    network = plain().train()
    result = decompose(network, IMAGES[:1], keep={name: 2, "7": 2})
    images = IMAGES.clone()
    images[1, 1, 5, 5] = torch.nan
    with pytest.raises(InputError, match=rf"^calibration: layer '{name}' meets a .* not finite$"):
        reconstruct_(result, network, [IMAGES, images], relu=True)
    for one in (network, result.network):
        assert one.training
        assert not any(module._forward_hooks for module in one.modules())


@pytest.mark.parametrize("batches", [[], [IMAGES[:0]]])
def test_calibration_without_images_is_one_clear_line(batches):
    network = plain()
    with pytest.raises(InputError, match=r"^calibration: there are no images$"):
        reconstruct_(cut(network, 0.5), network, batches, relu=False)


@either
@networks
def test_all_but_the_factors_are_left_as_they_were(network, relu):
    network = network()
    next(network.children()).train()
    modes = [module.training for module in network.modules()]
    before, images = copy.deepcopy(network.state_dict()), IMAGES.clone()
    result = cut(network, 0.5)
    cut_modes = [module.training for module in result.network.modules()]
    state = torch.random.get_rng_state()
    reconstruct_(result, network, BATCHES, relu=relu)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert [module.training for module in result.network.modules()] == cut_modes
    for one in (network, result.network):
        assert not any(module._forward_hooks for module in one.modules())
        assert all(parameter.grad is None for parameter in one.parameters())
        assert all(parameter.requires_grad for parameter in one.parameters())
    assert torch.equal(images, IMAGES)
