from __future__ import annotations

import torch
from torch import Tensor

from trp_search.workloads import augment
from trp_search.workloads.seeds import seeded


def one_by_one(images: Tensor, moves: augment.Moves, *, padding: int) -> Tensor:
    _, channels, height, width = images.shape
    out = []
    for image, down, right, mirrored in zip(images, *moves, strict=True):
        canvas = torch.zeros(channels, height + 2 * padding, width + 2 * padding).byte()
        canvas[:, padding : padding + height, padding : padding + width] = image
        window = canvas[:, down : down + height, right : right + width]
        out.append(window.flip(2) if mirrored else window)
    return torch.stack(out)


def test_a_batch_moves_as_its_images_do_one_by_one():
    images = torch.randint(0, 256, (50, 3, 8, 6), generator=seeded("pixels")).byte()
    before = images.clone()
    moves = augment.draw(50, padding=2, mirror=True, generator=seeded("moves"))
    moved = augment.moved(images, moves, padding=2)
    assert torch.equal(moved, one_by_one(images, moves, padding=2))
    assert torch.equal(images, before)


def test_every_shift_and_both_sides_are_drawn():
    moves = augment.draw(2000, padding=4, mirror=True, generator=seeded("moves"))
    assert set(moves.down.tolist()) == set(moves.right.tolist()) == set(range(9))
    assert 900 < int(moves.mirrored.sum()) < 1100


def test_nothing_is_mirrored_where_that_would_change_the_label():
    moves = augment.draw(2000, padding=1, mirror=False, generator=seeded("moves"))
    assert not moves.mirrored.any()
