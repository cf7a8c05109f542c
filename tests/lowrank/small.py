"""A small network of convolutions of several kinds, and how much a network holds."""

from __future__ import annotations

import torch
from torch import nn


def small(*, circular: bool = False) -> nn.Sequential:
    """The network, with a wide circular convolution more if that is asked for."""
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


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
