"""Seeded choices of images that keep every class's share."""

from __future__ import annotations

import torch
from torch import Tensor


def balanced(labels: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """A mask (n,) of `count` of the images with `labels` (n,), each class by its share.

    With one generator state a smaller choice is part of a larger one.
    """
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[labels[order].argsort(stable=True)]
    sizes = labels.bincount()
    rank = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[labels[by_class]]
    position = torch.empty(len(labels), dtype=torch.float64)
    position[by_class] = (rank.double() + 0.5) / sizes[labels[by_class]]
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[order[position[order].argsort(stable=True)[:count]]] = True
    return mask
