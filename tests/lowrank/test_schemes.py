import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.lowrank.drawn import convolutions
from trp_search.errors import InputError
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import Energy

shapes = st.tuples(st.integers(1, 7), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))


@given(shape=shapes, name=st.sampled_from(list(SCHEMES)))
@settings(deadline=None)
def test_a_kernel_unfolded_and_folded_is_the_kernel(shape, name):
    weight = torch.randn(shape)
    scheme = SCHEMES[name]
    matrices = scheme.matrices(weight)
    assert torch.equal(scheme.weight(matrices, shape), weight)
    assert scheme.full_ranks(shape) == (min(matrices.shape[1:]),)


def full_rank_of(scheme, convolution):
    return SCHEMES[scheme].full_ranks(tuple(convolution.weight.shape))[0]


@given(
    settings_=convolutions(side=5), scheme=st.sampled_from(list(SCHEMES)), seed=st.integers(0, 99)
)
@settings(deadline=None, max_examples=150)
def test_at_full_rank_a_convolution_is_itself(settings_, scheme, seed):
    torch.manual_seed(seed)
    convolution = nn.Conv2d(**settings_)
    if scheme == "decoupled" and convolution.kernel_size == (1, 1):
        return
    network = nn.Sequential(convolution).double().eval()
    images = torch.randn(2, settings_["in_channels"], 12, 11).double()
    ranks = {"0": full_rank_of(scheme, convolution)}
    result = decompose(network, images, scheme=scheme, keep=ranks)
    torch.testing.assert_close(result.network(images), network(images), atol=1e-10, rtol=0)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_at_full_rank_a_float32_network_agrees_to_rounding(scheme):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(8, 24, 3, padding="same"), nn.ReLU(), nn.Conv2d(24, 16, 5)
    ).eval()
    images = torch.randn(4, 8, 14, 14)
    ranks = {name: full_rank_of(scheme, network.get_submodule(name)) for name in ("0", "2")}
    result = decompose(network, images, scheme=scheme, keep=ranks)
    torch.testing.assert_close(result.network(images), network(images), atol=2e-6, rtol=1e-5)


def written_out(weight, scheme, rank):
    """The rank-`rank` kernel built independently, in float64, one SVD at a time."""
    n, c, kh, kw = weight.shape
    if scheme == "decoupled":
        filters = []
        for kernel in weight.double():
            u, s, vh = torch.linalg.svd(kernel.reshape(c, kh * kw), full_matrices=False)
            filters.append(((u[:, :rank] * s[:rank]) @ vh[:rank]).reshape(c, kh, kw))
        return torch.stack(filters)
    if scheme == "channel":
        u, s, vh = torch.linalg.svd(weight.double().reshape(n, -1), full_matrices=False)
        return ((u[:, :rank] * s[:rank]) @ vh[:rank]).reshape(n, c, kh, kw)
    rows = weight.double().permute(1, 2, 0, 3).reshape(c * kh, n * kw)
    u, s, vh = torch.linalg.svd(rows, full_matrices=False)
    return ((u[:, :rank] * s[:rank]) @ vh[:rank]).reshape(c, kh, n, kw).permute(2, 0, 1, 3)


@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_a_cut_convolution_is_the_convolution_with_the_truncated_kernel(scheme, rank, stride):
    torch.manual_seed(1)
    options = {"stride": stride, "padding": (1, 2), "dilation": (1, 2)}
    convolution = nn.Conv2d(5, 6, (3, 4), **options)
    images = torch.randn(2, 5, 16, 15)
    result = decompose(nn.Sequential(convolution), images, scheme=scheme, keep={"0": rank})
    low = written_out(convolution.weight.detach(), scheme, rank)
    expected = nn.functional.conv2d(images.double(), low, convolution.bias.double(), **options)
    torch.testing.assert_close(result.network(images).double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_a_linear_layer_is_cut_like_its_matrix(scheme):
    torch.manual_seed(2)
    layer = nn.Linear(12, 9)
    inputs = torch.randn(3, 12)
    result = decompose(nn.Sequential(layer), inputs, scheme=scheme, keep={"0": 4})
    u, s, vh = torch.linalg.svd(layer.weight.double())
    expected = inputs.double() @ ((u[:, :4] * s[:4]) @ vh[:4]).T + layer.bias
    torch.testing.assert_close(result.network(inputs).double(), expected, atol=1e-5, rtol=1e-4)
    first, second = result.network[0]
    assert (first.out_features, second.in_features) == (4, 4)


@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_multiply_adds_follow_the_formulae_per_output_pixel(scheme, stride):
    n, c, kh, kw, rank = 10, 6, 3, 5, 2
    sh, sw = stride
    convolution = nn.Conv2d(c, n, (kh, kw), stride=stride, padding=(kh // 2, kw // 2), bias=False)
    images = torch.zeros(1, c, 12, 12)
    result = decompose(nn.Sequential(convolution), images, scheme=scheme, keep={"0": rank})
    per_pixel = {
        "channel": rank * (c * kh * kw + n),
        "spatial": rank * (c * kh * sw + n * kw),
        "decoupled": rank * (n * c * sh * sw + n * kh * kw),
    }[scheme]
    pixels = (12 // sh) * (12 // sw)
    assert result.layers[0].macs == per_pixel * pixels
    assert result.layers[0].dense_macs == n * c * kh * kw * pixels
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        result.network(images)
    assert counter.get_total_flops() == 2 * per_pixel * pixels


def test_strides_sit_where_they_save_most():
    convolution = nn.Conv2d(4, 6, 3, stride=(2, 3), padding=1)
    images = torch.zeros(1, 4, 12, 12)

    def strides(scheme):
        network = decompose(
            nn.Sequential(convolution), images, scheme=scheme, keep={"0": 1}
        ).network
        return [layer.stride for layer in network[0]]

    assert strides("channel") == [(2, 3), (1, 1)]
    assert strides("spatial") == [(2, 1), (1, 3)]
    assert strides("decoupled") == [(1, 1), (2, 3)]


def test_an_unknown_scheme_is_one_clear_line():
    with pytest.raises(InputError, match=r"^scheme: 'svd' is not one of channel, spatial, "):
        decompose(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2), scheme="svd", keep=Energy(0.9))
