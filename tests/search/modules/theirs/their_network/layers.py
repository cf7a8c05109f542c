"""The other file."""

from __future__ import annotations

from pathlib import Path

import ray
from torch import nn


def classifier() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


def note(marks: str, file: str) -> None:
    (Path(marks) / ray.get_runtime_context().get_node_id()).write_text(file)
