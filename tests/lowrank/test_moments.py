import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tests.lowrank.drawn import convolutions
from trp_search.errors import InputError
from trp_search.lowrank import moments, truncation
from trp_search.lowrank.analysis import analyse
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.moments import collect
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.truncation import Moments, spectra, weighted_spectra, wide
from trp_search.records import Cut, Energy
from trp_search.training.regulariser import TrainedRankPruning

names = st.sampled_from(list(SCHEMES))
SIZES = [(5, 12), (12, 5), (7, 7), (1, 6), (6, 1)]


def randn(*size, seed=0, dtype=torch.float64):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def correlated(*size, seed=0):
    """Random images whose channels are far from independent and have a mean."""
    mixing = randn(size[1], size[1], seed=seed) * 0.5 ** torch.arange(size[1])
    mixed = torch.einsum("ij,bj...->bi...", mixing, randn(*size, seed=seed + 1))
    return (mixed + 0.3).float()


def moments_of(layer, scheme, *batches):
    """What is collected of a network of one layer."""
    found = collect(nn.Sequential(layer), batches, {"0": (layer, [SCHEMES[scheme]])})
    return found["0", scheme]


def taps_of(convolution, images):
    """(C, kh, kw, s) float64 pixels under every tap of the kernel, wherever it lands."""
    kh, kw = convolution.kernel_size
    vertical, horizontal = convolution.padding
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    sides = (horizontal, horizontal, vertical, vertical)
    padded = functional.pad(images.double(), sides, mode=mode)
    patches = functional.unfold(
        padded, (kh, kw), stride=convolution.stride, dilation=convolution.dilation
    )
    return patches.movedim(1, 0).reshape(images.shape[1], kh, kw, -1)


def inputs_of(convolution, scheme, images):
    """The second moments of what the scheme's first layer reads, tap by tap."""
    taps = taps_of(convolution, images)
    _, kh, kw, _ = taps.shape
    read = {
        "channel": [taps.flatten(0, 2)],
        "spatial": [taps[:, :, j].flatten(0, 1) for j in range(kw)],
        "decoupled": [taps[:, i, j] for i in range(kh) for j in range(kw)],
    }[scheme]
    return sum(rows @ rows.mT for rows in read)


@given(settings_=convolutions(read=4, written=20), scheme=names, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=150)
def test_moments_of_a_convolution_are_those_of_its_unfolded_inputs(settings_, scheme, seed):
    convolution = nn.Conv2d(**settings_)
    convolution.weight.data = randn(*convolution.weight.shape, seed=seed).float()
    images = correlated(3, settings_["in_channels"], 11, 10, seed=seed)
    found = moments_of(convolution, scheme, images)
    expected = inputs_of(convolution, scheme, images)
    if found.of_outputs:
        weight = convolution.weight.detach().double().flatten(1)
        expected = weight @ expected @ weight.mT
    scale = float(expected.diagonal().max())
    torch.testing.assert_close(found.matrix / scale, expected / scale, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("scheme", "size", "of_outputs"),
    [
        ("channel", (8, 2, 3, 3), True),
        ("channel", (19, 2, 3, 3), False),
        ("spatial", (6, 2, 3, 1), True),
        ("spatial", (6, 2, 3, 3), False),
        ("spatial", (6, 8, 1, 1), True),
        ("decoupled", (6, 8, 3, 3), False),
    ],
)
def test_outputs_stand_for_inputs_where_they_are_fewer_and_the_kernel_is_read_at_once(
    scheme, size, of_outputs
):
    n, c, kh, kw = size
    found = moments_of(nn.Conv2d(c, n, (kh, kw)), scheme, correlated(2, c, 6, 6))
    assert found.of_outputs == of_outputs
    inputs = {"channel": c * kh * kw, "spatial": c * kh, "decoupled": c}[scheme]
    assert len(found.matrix) == (n if of_outputs else inputs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(12, 5), (5, 12)])
@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_moments_of_a_linear_layer_are_without_its_bias(scheme, size, bias):
    layer = nn.Linear(*size, bias=bias)
    tokens = correlated(4, size[0], 3).mT
    rows = tokens.double().flatten(0, 1)
    expected = rows.mT @ rows
    found = moments_of(layer, scheme, tokens)
    assert found.of_outputs == (size == (12, 5))
    if found.of_outputs:
        weight = layer.weight.detach().double()
        expected = weight @ expected @ weight.mT
    torch.testing.assert_close(found.matrix, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_several_batches_are_one(scheme):
    convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    images = correlated(10, 3, 9, 9)
    whole = moments_of(convolution, scheme, images).matrix
    parts = moments_of(convolution, scheme, *images.split(4)).matrix
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 40, 3, stride=2), nn.Linear(3, 8)])
def test_patches_made_a_few_images_at_a_time_are_all_of_them(layer, monkeypatch):
    images = correlated(5, 3, 9, 9) if isinstance(layer, nn.Conv2d) else correlated(5, 3)
    whole = moments_of(layer, "channel", images).matrix
    monkeypatch.setattr(moments, "_PATCHES", 2 * images[0].numel() * layer.weight[0, 0].numel())
    few = moments_of(layer, "channel", images).matrix
    torch.testing.assert_close(few, whole, atol=1e-4, rtol=1e-5)


def test_a_layer_that_is_not_called_has_no_moments():
    network = nn.Sequential(nn.Linear(4, 3))
    layers = {"0": (network[0], [SCHEMES["channel"]]), "idle": (nn.Linear(4, 3), [])}
    assert collect(network, [correlated(2, 4)], layers).keys() == {("0", "channel")}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_white_inputs_give_the_plain_spectra(size, count):
    matrices = randn(count, *size)
    found = weighted_spectra(
        matrices, Moments(matrix=3 * torch.eye(size[1]).double(), of_outputs=False)
    )
    plain = spectra(wide(matrices)[0])
    torch.testing.assert_close(found.squares, plain.squares, atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", [(5, 12), (7, 7), (1, 6)])
def test_outputs_for_white_inputs_give_the_plain_spectra(size):
    matrices = randn(1, *size)
    outputs = 7 * matrices[0] @ matrices[0].mT
    found = weighted_spectra(matrices, Moments(matrix=outputs, of_outputs=True))
    torch.testing.assert_close(found.squares, spectra(matrices).squares, atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_layers_together_have_the_spectra_of_each_alone(size, count):
    matrices = randn(4 * count, *size)
    inputs = torch.stack([correlated(30, size[1], seed=seed).double() for seed in range(4)])
    known = (inputs.mT @ inputs).unsqueeze(1)
    known[2] = 0  # of a layer that is not known
    together = weighted_spectra(matrices, Moments(matrix=known, of_outputs=False))
    for layer, part in enumerate(matrices.chunk(4)):
        alone = weighted_spectra(part, Moments(matrix=known[layer, 0], of_outputs=False))
        own = slice(layer * count, (layer + 1) * count)
        torch.testing.assert_close(together.squares[own], alone.squares, atol=1e-9, rtol=1e-9)
        kept = alone.last(torch.full((count,), 1))
        torch.testing.assert_close(
            together.truncated(together.last(torch.full((4 * count,), 1)))[own],
            alone.truncated(kept),
            atol=1e-9,
            rtol=1e-9,
        )


def shares_lost(weight, inputs, factors):
    """The error of the outputs that each rank's factors leave, over the outputs."""
    errors = [((weight - left @ right) @ inputs).square().sum() for left, right in factors]
    return torch.stack(errors) / (weight @ inputs).square().sum()


@given(size=st.sampled_from(SIZES), seed=st.integers(0, 999), of_outputs=st.booleans())
@settings(deadline=None, max_examples=60)
def test_weighted_factors_lose_the_predicted_share_and_no_more_than_plain_ones(
    size, seed, of_outputs
):
    height, width = size
    of_outputs = of_outputs and height <= width
    weight, inputs = randn(height, width, seed=seed), correlated(50, width, seed=seed).double().mT
    known = weight @ inputs if of_outputs else inputs
    moments = Moments(matrix=known @ known.mT, of_outputs=of_outputs)
    weighted = weighted_spectra(weight.unsqueeze(0), moments)
    white = weight if of_outputs else torch.eye(width).double()
    inputs = inputs * (white.square().sum() / known.square().sum()).sqrt()
    inputs = torch.cat(
        [inputs, torch.eye(width).double()], 1
    )  # as much white as there is of the images
    ranks = range(1, min(size) + 1)
    lost = shares_lost(weight, inputs, [pair(weighted, k) for k in ranks])
    torch.testing.assert_close(lost, weighted.lost(layers=1)[0][1:], atol=1e-5, rtol=0)
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    plain = [(left[:, :k] * values[:k], right[:k]) for k in ranks]
    assert (lost <= shares_lost(weight, inputs, plain) + 1e-5).all()


def pair(found, rank):
    left, right = found.factors(rank)
    return left[0], right[0]


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 3, padding=1), nn.Linear(3, 8), nn.Linear(8, 3)])
def test_a_layer_cut_with_calibration_loses_the_predicted_share_of_its_outputs(layer, monkeypatch):
    monkeypatch.setattr(truncation, "_WHITE", 1e-9)  # the images alone
    layer = copy.deepcopy(layer).double()
    wide_in = layer.weight.shape[1]
    sides = (9, 9) if isinstance(layer, nn.Conv2d) else ()
    images = correlated(40, wide_in, *sides).double()
    network = nn.Sequential(layer)
    wanted = Cut(scheme="channel", keep=Energy(1.0))
    known = analyse(network, images, DECOMPOSITIONS["channel"], wanted, [images])
    (candidate,) = known.layers[0].candidates
    ranks = torch.arange(1 + candidate.layer.full_ranks[0]).unsqueeze(1)
    predicted = candidate.losses(ranks)["error"]
    with torch.no_grad():
        dense = network(images)
        plain_outputs = dense - layer.bias.reshape(-1, *[1] * len(sides))
        for rank in range(1, len(predicted)):
            results = [
                decompose(network, images, keep={"0": rank}, calibration=calibration)
                for calibration in ([images], None)
            ]
            aware, blind = (
                (dense - result.network(images)).square().sum() / plain_outputs.square().sum()
                for result in results
            )
            torch.testing.assert_close(aware, predicted[rank], atol=1e-5, rtol=0)
            assert aware <= blind + 1e-5


SINGULAR = {
    "fewer images than inputs": lambda rows: rows[:, :2],
    "constant inputs": torch.ones_like,
    "zero channels": lambda rows: rows * (torch.arange(len(rows)) % 2).unsqueeze(1),
    "no inputs but zero": torch.zeros_like,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("inputs", SINGULAR.values(), ids=SINGULAR.keys())
@pytest.mark.parametrize("of_outputs", [True, False])
def test_at_full_rank_weighted_factors_are_the_weight(size, inputs, of_outputs):
    height, width = size
    of_outputs = of_outputs and height <= width
    weights = randn(1 if of_outputs else 3, height, width)
    rows = inputs(randn(width, 20, seed=1))
    known = weights[0] @ rows if of_outputs else rows
    found = weighted_spectra(weights, Moments(matrix=known @ known.mT, of_outputs=of_outputs))
    left, right = found.factors(min(size))
    torch.testing.assert_close(left @ right, weights, atol=1e-9, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_a_weight_with_zero_rows_and_columns_survives_full_rank(size):
    weights = randn(2, *size)
    weights[:, 0] = 0
    weights[:, :, 0] = 0
    rows = randn(size[1], 20, seed=1)
    found = weighted_spectra(weights, Moments(matrix=rows @ rows.mT, of_outputs=False))
    left, right = found.factors(min(size))
    torch.testing.assert_close(left @ right, weights, atol=1e-9, rtol=0)


@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("images", [torch.zeros(1, 4, 6, 6), torch.ones(2, 4, 6, 6)])
def test_at_full_rank_a_calibrated_network_is_the_network(scheme, images):
    network = nn.Sequential(nn.Conv2d(4, 9, 3, stride=2, padding=1)).double().eval()
    other = randn(2, 4, 6, 6)
    ranks = {"0": SCHEMES[scheme].full_ranks((9, 4, 3, 3))[0]}
    calibration = [images.double()]
    result = decompose(network, other, scheme=scheme, keep=ranks, calibration=calibration)
    torch.testing.assert_close(result.network(other), network(other), atol=1e-9, rtol=0)


def small():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.LazyLinear(4))


def test_an_image_that_is_not_finite_names_the_first_layer_it_meets():
    images = randn(2, 3, 6, 6, dtype=torch.float32)
    network = small()
    network(images)
    spoiled = images.clone()
    spoiled[1, 2, 3, 3] = torch.nan
    with pytest.raises(InputError, match=r"^calibration: layer '0' meets a value .* not finite$"):
        decompose(network, images, keep=Energy(0.5), calibration=[images, spoiled])
    assert not any(module._forward_hooks for module in network.modules())
    assert network.training


def test_a_weight_that_is_not_finite_is_not_blamed_on_the_images():
    images = randn(2, 3, 6, 6, dtype=torch.float32)
    network = small()
    network(images)
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"^layer '0': its weight is not finite$"):
        decompose(network, images, keep=Energy(0.5), calibration=[images])


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        (
            DataLoader(TensorDataset(torch.zeros(4, 3, 8, 8), torch.zeros(4)), 2),
            "batch 0 is no tensor of images but a list",
        ),
        (
            [torch.zeros(2, 3, 8, 8), torch.zeros(2, 5, 8, 8)],
            "the network does not run on batch 1: RuntimeError: ",
        ),
    ],
    ids=["with labels", "other channels"],
)
def test_batches_that_a_training_cannot_calibrate_with_are_one_clear_line(batches, said):
    images = torch.zeros(2, 3, 8, 8)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    pruning = TrainedRankPruning(network, images, Energy(0.5), calibration=batches)
    with pytest.raises(InputError, match=rf"^calibration: {said}"):
        pruning.before_forward()


def test_calibration_without_images_is_one_clear_line():
    network = small()
    images = randn(2, 3, 6, 6, dtype=torch.float32)
    network(images)
    with pytest.raises(InputError, match=r"^calibration: there are no images$"):
        decompose(network, images, keep=Energy(0.5), calibration=[])


@pytest.mark.parametrize("scheme", [*SCHEMES, "per-layer"])
def test_calibration_leaves_the_network_and_the_images_as_they_were(scheme):
    images = randn(4, 3, 6, 6, dtype=torch.float32)
    network = small()
    network(images)
    network[1].eval()
    before, seen = copy.deepcopy(network.state_dict()), images.clone()
    decompose(network, images, scheme=scheme, keep=Energy(0.5), calibration=[images])
    assert [module.training for module in network] == [True, False, True, True]
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(images, seen)
