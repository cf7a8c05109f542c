"""The other file."""

from __future__ import annotations

import time
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
    """Notes this node; at its second network waits for the other one, which may start late."""
    folder = Path(marks)
    own = folder / ray.get_runtime_context().get_node_id()
    left = 600 if own.exists() else 0
    own.write_text(file)
    while left and len(list(folder.iterdir())) < 2:
        time.sleep(0.1)
        left -= 1
