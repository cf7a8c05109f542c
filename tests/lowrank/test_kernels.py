"""Laws of every kind of layer under every scheme."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trp_search import Energy, Speedup, TrainedRankPruning, decompose
from trp_search.errors import InputError
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.kernels import kernel, shape_of
from trp_search.lowrank.rebuild import rebuild
from trp_search.lowrank.reconstruct import reconstruct_
from trp_search.lowrank.schemes import SCHEMES

# Strides, paddings and dilations differ by axis.
LAYERS = {
    "linear": (nn.Linear(12, 9), (5, 3, 12)),
    "conv1d": (nn.Conv1d(6, 8, 3, stride=2, padding=1, padding_mode="circular"), (6, 9)),
    "conv2d": (nn.Conv2d(6, 8, (3, 4), stride=(2, 1), padding=(1, 2)), (6, 8, 7)),
    "conv3d": (nn.Conv3d(4, 6, (3, 2, 3), stride=(1, 2, 1), padding=(1, 0, 2)), (4, 4, 6, 5)),
    "grouped": (nn.Conv2d(12, 9, 3, padding=1, dilation=(2, 1), groups=3), (12, 6, 7)),
    "grouped 1d": (nn.Conv1d(8, 12, 3, groups=2, bias=False), (8, 9)),
    "grouped 3d": (nn.Conv3d(6, 6, 3, groups=2, padding="same"), (6, 3, 4, 3)),
    "transposed 1d": (nn.ConvTranspose1d(7, 5, 4, stride=2, padding=1), (7, 6)),
    "transposed": (
        nn.ConvTranspose2d(8, 6, (3, 4), stride=(2, 3), padding=(1, 0), output_padding=(1, 2)),
        (8, 4, 5),
    ),
    "transposed grouped": (nn.ConvTranspose2d(8, 6, 3, groups=2, dilation=(1, 2)), (8, 4, 5)),
    "transposed 3d": (nn.ConvTranspose3d(4, 5, (2, 3, 2), stride=(1, 2, 1)), (4, 3, 2, 3)),
}
FACTORABLE = [
    (kind, scheme)
    for kind, (layer, _) in LAYERS.items()
    for scheme in SCHEMES
    if SCHEMES[scheme].unfit(layer) is None
]


def network_of(kind):
    """A network of one layer of this kind, with weights of its own, and a batch of inputs."""
    torch.manual_seed(3)
    layer, shape = LAYERS[kind]
    return nn.Sequential(copy.deepcopy(layer)), torch.randn(4, *shape)


def full_rank(network, scheme):
    return SCHEMES[scheme].full_ranks(shape_of(network[0]))[0]


def flops(network, inputs):
    with FlopCounterMode(display=False) as counter:
        network(inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize(("kind", "scheme"), FACTORABLE)
def test_at_full_rank_a_layer_of_any_kind_is_itself(kind, scheme):
    network, inputs = network_of(kind)
    cut = decompose(network, inputs, {"0": full_rank(network, scheme)}, scheme=scheme)
    expected = network(inputs)
    assert len(cut.network[0]) == 2
    scale = expected.abs().max().item()
    torch.testing.assert_close(cut.network(inputs), expected, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize(("kind", "scheme"), FACTORABLE)
@pytest.mark.parametrize("rank", [1, 2])
def test_a_record_has_the_counts_of_the_layers_and_rebuilds_them(kind, scheme, rank):
    network, inputs = network_of(kind)
    rank = min(rank, full_rank(network, scheme))
    cut = decompose(network, inputs, {"0": rank}, scheme=scheme)
    (record,) = cut.layers
    assert record.macs * 2 * len(inputs) == flops(cut.network, inputs)
    assert record.dense_macs * 2 * len(inputs) == flops(network, inputs)
    assert record.parameters == sum(p.numel() for p in cut.network.parameters())
    assert record.dense_parameters == sum(p.numel() for p in network.parameters())
    again, _ = network_of(kind)
    rebuild(again, cut.layers)
    again.load_state_dict(cut.network.state_dict())
    assert torch.equal(again(inputs), cut.network(inputs))
    assert str(again) == str(cut.network)


@pytest.mark.parametrize(("kind", "scheme"), FACTORABLE)
def test_a_kernel_of_any_kind_unfolded_and_folded_is_the_kernel(kind, scheme):
    layer, _ = LAYERS[kind]
    matrices = SCHEMES[scheme].unfolded(kernel(layer), shape_of(layer))
    folded = SCHEMES[scheme].folded(matrices, layer.weight, shape_of(layer))
    assert torch.equal(folded, layer.weight)


@pytest.mark.parametrize(("kind", "scheme"), FACTORABLE)
def test_a_cut_at_the_energy_of_the_truncation_in_training_loses_nothing(kind, scheme):
    network, inputs = network_of(kind)
    before = network(inputs)
    TrainedRankPruning(network, inputs, Energy(0.6), scheme=scheme, layers="all").before_forward()
    expected = network(inputs)
    assert not torch.allclose(before, expected, rtol=1e-2)
    matrices = SCHEMES[scheme].unfolded(kernel(network[0]), shape_of(network[0]))
    rank = int(torch.linalg.matrix_rank(matrices, rtol=1e-4).max())
    assert rank < full_rank(network, scheme)
    cut = decompose(network, inputs, {"0": rank}, scheme=scheme)
    torch.testing.assert_close(cut.network(inputs), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scheme", ["tucker", "cp"])
@pytest.mark.parametrize("kind", ["conv1d", "conv3d", "transposed", "transposed 3d"])
def test_longer_chains_factor_convolutions_of_any_dimension(kind, scheme):
    network, inputs = network_of(kind)
    decomposition = DECOMPOSITIONS[scheme]
    cut = decompose(network, inputs, Energy(0.2), scheme=scheme)
    (record,) = cut.layers
    assert record.scheme == scheme, record.reason
    assert decomposition.factorings[0].name == scheme
    assert record.macs * 2 * len(inputs) == flops(cut.network, inputs)
    assert record.parameters == sum(p.numel() for p in cut.network.parameters())


@pytest.mark.parametrize("scheme", [*SCHEMES, "tucker", "cp"])
def test_depthwise_convolutions_stay_dense(scheme):
    network = nn.Sequential(nn.Conv2d(6, 6, 5, groups=6), nn.Conv2d(6, 12, 3, groups=2))
    images = torch.randn(2, 6, 9, 9)
    one, two = decompose(network, images, Energy(0.1), scheme=scheme).layers
    assert one.reason == "depthwise convolution"
    assert (two.rank is None) == (scheme in ("tucker", "cp"))
    if two.rank is None:
        assert two.reason == f"grouped convolution, which {scheme} does not factor"


def test_a_transposed_convolution_is_1x1_at_the_resolution_of_its_input_and_then_transposed():
    network, inputs = network_of("transposed")
    n, c, r, pixels = 6, 8, 3, 4 * 5
    (record,) = decompose(network, inputs, {"0": r}).layers
    assert record.macs == (c + n * 3 * 4) * r * pixels


@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_at_full_rank_a_calibrated_layer_of_any_kind_is_itself(scheme):
    for kind in LAYERS:
        network, inputs = network_of(kind)
        ranks = {"0": full_rank(network, scheme)}
        cut = decompose(network, inputs, ranks, scheme=scheme, calibration=[inputs])
        torch.testing.assert_close(cut.network(inputs), network(inputs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", list(LAYERS))
def test_a_truncation_towards_a_speedup_keeps_what_a_cut_at_that_speedup_needs(kind):
    network, inputs = network_of(kind)
    TrainedRankPruning(network, inputs, Speedup(1.4), layers="all").before_forward()
    expected = network(inputs)
    cut = decompose(network, inputs, Speedup(1.4), layers="all")
    assert flops(network, inputs) >= 1.4 * flops(cut.network, inputs)
    torch.testing.assert_close(cut.network(inputs), expected, atol=1e-4, rtol=1e-4)


def test_output_sizes_that_are_asked_for_keep_a_layer_dense():
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(4, 4, 3, stride=2)

        def forward(self, images):
            return self.up(images, output_size=(8, 8))

    network = Asks()
    (record,) = decompose(network, torch.randn(1, 4, 3, 3), Energy(0.1)).layers
    assert record.reason is not None
    assert "needs it" in record.reason


def test_a_group_rank_above_the_full_one_is_refused_at_rebuilding():
    network, inputs = network_of("grouped")
    (record,) = decompose(network, inputs, {"0": 3}).layers
    assert record.full_rank == 3
    too_much = [type(record)(**{**vars(record), "rank": 4, "full_rank": 4})]
    with pytest.raises(InputError, match=r"rank 4 is not in 1\.\.3"):
        rebuild(network_of("grouped")[0], too_much)


@pytest.mark.parametrize("kind", list(LAYERS))
def test_the_best_pair_of_each_layer_is_one_of_its_kind_and_counted(kind):
    network, inputs = network_of(kind)
    cut = decompose(network, inputs, Energy(0.2), scheme="per-layer")
    (record,) = cut.layers
    assert record.scheme in SCHEMES
    if kind == "linear" or "1d" in kind:
        assert "spatial" not in record.kept
    assert record.macs * 2 * len(inputs) == flops(cut.network, inputs)


def flat_and_tall():
    """A 1-d network and the 2-d network of width 1 that computes the same, with sequences."""
    torch.manual_seed(5)
    flat = nn.Sequential(nn.Conv1d(4, 9, 3, padding=2, dilation=2), nn.BatchNorm1d(9), nn.ReLU())
    flat.append(nn.Conv1d(9, 7, 5, stride=2, padding=1, padding_mode="reflect"))
    tall = nn.Sequential(
        nn.Conv2d(4, 9, (3, 1), padding=(2, 0), dilation=(2, 1)), nn.BatchNorm2d(9), nn.ReLU()
    )
    tall.append(nn.Conv2d(9, 7, (5, 1), stride=(2, 1), padding=(1, 0), padding_mode="reflect"))
    inputs = torch.randn(20, 4, 16) * torch.rand(4, 1)
    flat(inputs)
    weights = {
        name: value if value.dim() < 3 else value.unsqueeze(-1)
        for name, value in flat.state_dict().items()
    }
    tall.load_state_dict(weights)
    return flat.eval(), tall.eval(), inputs


@pytest.mark.parametrize("scheme", ["channel", "decoupled"])
def test_calibration_and_responses_treat_a_line_as_an_image_one_pixel_wide(scheme):
    flat, tall, inputs = flat_and_tall()
    images = inputs.unsqueeze(-1)
    ranks = {"0": 2, "3": 3}
    short = decompose(flat, inputs, ranks, scheme=scheme, calibration=[inputs])
    plain = decompose(flat, inputs, ranks, scheme=scheme)
    long = decompose(tall, images, ranks, scheme=scheme, calibration=[images])
    found, expected = short.network(inputs), long.network(images).squeeze(-1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, plain.network(inputs), rtol=1e-2)
    if scheme == "channel":
        reconstruct_(short, flat, [inputs], relu=True)
        reconstruct_(long, tall, [images], relu=True)
        refitted, expected = short.network(inputs), long.network(images).squeeze(-1)
        torch.testing.assert_close(refitted, expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(found, refitted, rtol=1e-2)


@pytest.mark.parametrize("kind", ["grouped", "transposed"])
def test_responses_leave_grouped_and_transposed_pairs_as_they_are(kind):
    network, inputs = network_of(kind)
    cut = decompose(network, inputs, {"0": 2})
    before = cut.network(inputs)
    reconstruct_(cut, network, [inputs], relu=False)
    assert torch.equal(cut.network(inputs), before)
