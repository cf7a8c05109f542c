"""Random shifts and mirrors of a whole batch at once, on the batch's device."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Moves(NamedTuple):
    """The shift and mirror of each of n images."""

    down: Tensor
    right: Tensor
    mirrored: Tensor


def draw(count: int, *, padding: int, mirror: bool, generator: torch.Generator) -> Moves:
    """Shifts of up to `padding` pixels each way; with `mirror`, half the images are mirrored."""
    shifts = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    mirrored = torch.rand(count, generator=generator) < (0.5 if mirror else 0.0)
    return Moves(shifts[0], shifts[1], mirrored)


def moved(images: Tensor, moves: Moves, *, padding: int) -> Tensor:
    """`images` (n, c, h, w) after `moves`; pixels shifted in from outside are black."""
    count, channels, height, width = images.shape
    place = images.device
    padded = functional.pad(images, (padding,) * 4)
    across = torch.arange(width, device=place).expand(count, width)
    across = torch.where(moves.mirrored[:, None], width - 1 - across, across)
    rows = moves.down[:, None] + torch.arange(height, device=place)
    columns = moves.right[:, None] + across
    return padded[
        torch.arange(count, device=place)[:, None, None, None],
        torch.arange(channels, device=place)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
