"""Small networks, and what is asked of them and of their cuts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trp_search.lowrank.decompose import Decomposed


def small(*, circular: bool = False) -> nn.Sequential:
    """Convolutions of several kinds, with a wide circular one more if that is asked for."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(32, 32, 1),
    ]
    if circular:
        wide = nn.Conv2d(32, 48, (3, 5), padding=2, dilation=2, padding_mode="circular")
        layers.append(wide)
    last = nn.Linear(48 if circular else 32, 10)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last).eval()


class Pair(nn.Module):
    """Two convolutions, the second of which is used in one way or another."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.held = [self.second]


class Called(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)).mean((2, 3))


def linear_only() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.ReLU(), nn.Linear(32, 8))


def reasons(cut: Decomposed) -> dict[str, str | None]:
    """Why each layer is dense, and None where it was cut."""
    return {layer.name: layer.reason for layer in cut.layers}


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
