"""Networks as a run leaves them, small."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trp_search import decompose
from trp_search.records import Ratio


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Residual(nn.Module):
    """Two blocks and a classifier. The package's own network checks types here, so no tracing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.body = nn.Sequential(
            *(nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 8, 3, padding=1), nn.BatchNorm2d(8)),
        )
        self.fc = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images).relu()
        return self.fc((stem + self.body(stem)).relu().mean((2, 3)))


@pytest.fixture
def plain(images: Tensor) -> nn.Module:
    """A residual network whose batch norms have seen images."""
    torch.manual_seed(0)
    network = Residual()
    for _ in range(5):
        network(images * 2 + 1)
    return network.eval()


@pytest.fixture
def pairs(plain: nn.Module, images: Tensor) -> nn.Module:
    """The same with every convolution that saves by it cut in two."""
    cut = decompose(plain, images[:1], scheme="spatial", keep=Ratio(0.3))
    assert sum(layer.rank is not None for layer in cut.layers) >= 2
    return cut.network.eval()


class Untraceable(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("not in\nthis life")


@pytest.fixture
def untraceable() -> nn.Module:
    return Untraceable()
