"""TensorLy unfolds and truncates by its own means; our layers compute what its kernels do."""

import pytest
import tensorly
import torch
from tensorly.tenalg import svd_interface
from torch import nn
from torch.nn import functional

from trp_search.lowrank.decompose import decompose

tensorly.set_backend("pytorch")


def truncated(matrix, rank):
    left, values, right = svd_interface(matrix, n_eigenvecs=rank, method="truncated_svd")
    return (left * values) @ right


def by_channel(kernel, rank):
    """N x C kh kw: the unfolding along the first mode."""
    return tensorly.fold(truncated(tensorly.unfold(kernel, 0), rank), 0, kernel.shape)


def by_space(kernel, rank):
    """C kh x N kw: a matricisation that sets two modes against two."""
    turned = kernel.permute(1, 2, 0, 3)
    c, kh, n, kw = turned.shape
    low = truncated(tensorly.base.matricize(turned, [0, 1], [2, 3]), rank)
    return low.reshape(c, kh, n, kw).permute(2, 0, 1, 3)


def decoupled(kernel, rank):
    """C x kh kw for each output channel."""
    return torch.stack([by_channel(one, rank) for one in kernel])


KERNELS = {"channel": by_channel, "spatial": by_space, "decoupled": decoupled}


@pytest.mark.parametrize("scheme", KERNELS)
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_a_decomposed_layer_computes_with_tensorlys_truncated_kernel(scheme, rank):
    layer = nn.Conv2d(6, 8, (3, 5), stride=(2, 1), padding=1)
    generator = torch.Generator().manual_seed(rank)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    network = nn.Sequential(layer).double().eval()
    images = torch.randn(2, 6, 11, 12, generator=generator, dtype=torch.float64)
    found = decompose(network, images, scheme=scheme, keep={"0": rank}).network(images)
    kernel = KERNELS[scheme](layer.weight.detach(), rank)
    expected = functional.conv2d(images, kernel, layer.bias, layer.stride, layer.padding)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
