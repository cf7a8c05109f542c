"""A user's images: one file, four classes of noise with a bright quarter each."""

from __future__ import annotations

import torch
from torch import Tensor


def load() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 4
    images = torch.randint(0, 99, (120, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for index, label in enumerate(labels.tolist()):
        row, column = divmod(label, 2)
        images[index, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 100
    return (images[:80], labels[:80]), (images[80:], labels[80:])
